"""`compactface gallery import`: enroll a folder of photos."""

from collections import Counter
from pathlib import Path
from typing import Annotated

import typer

from command_line.errors import EXIT_FAILED
from command_line.evaluation_output import open_progress
from command_line.options import (
    Collection,
    EncoderOptions,
    Largest,
    RecognizerOptions,
    TlsOptions,
    with_options,
)
from command_line.output import show_table
from command_line.photo_import import Outcome, PhotoImport, PhotoResult, find_photos
from command_line.photos import open_encoder


@with_options
def import_photos(
    folder: Annotated[
        Path,
        typer.Argument(
            exists=True, file_okay=False, metavar="DIR", help="Holds a folder for each subject."
        ),
    ],
    *,
    collection: Collection = "default",
    largest: Largest = False,
    allow_duplicate: Annotated[
        bool, typer.Option("--allow-duplicate", help="Even if another subject looks the same.")
    ] = False,
    encoder: EncoderOptions,
    recognizer: RecognizerOptions,
    tls: TlsOptions,
) -> None:
    """Enroll the photos in DIR: DIR/SUBJECT/PHOTO shows the subject of that id.

    Each photo is enrolled or rejected on its own; one with no face, or several, is rejected.
    Interrupted, run it again: what was enrolled is not enrolled twice within 7 days. Ends with
    1 if a photo was rejected.
    """
    photos = find_photos(folder)
    if not photos:
        raise typer.BadParameter(f"{folder} holds no folder with pictures")
    results: list[PhotoResult] = []
    with (
        open_encoder(encoder, tls, enrolling=True) as opened,
        recognizer.connect(tls) as client,
        open_progress("import") as progress,
    ):
        progress(0, len(photos))

        def done(result: PhotoResult) -> None:
            results.append(result)
            progress(len(results), len(photos))

        PhotoImport(
            opened,
            client,
            collection=collection,
            largest=largest,
            allow_duplicates=allow_duplicate,
            done=done,
        ).run(photos)
    _report(results, folder, collection)
    if any(result.outcome is Outcome.REJECTED for result in results):
        raise typer.Exit(EXIT_FAILED)


def _report(results: list[PhotoResult], folder: Path, collection: str) -> None:
    rows = [
        [
            str(result.photo.path.relative_to(folder)),
            result.reason or "warning",
            result.message,
        ]
        for result in sorted(results, key=lambda result: result.photo.path)
        if result.message
    ]
    if rows:
        show_table(["photo", "reason", "what"], rows)
    counts = Counter(result.outcome for result in results)
    subjects = {result.photo.subject_id for result in results if result.outcome is Outcome.ENROLLED}
    typer.echo(
        f"enrolled {counts[Outcome.ENROLLED]} faces of {len(subjects)} subjects in {collection}; "
        f"{counts[Outcome.PRESENT]} were there before, {counts[Outcome.REJECTED]} were rejected"
    )
