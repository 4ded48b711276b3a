"""`compactface gallery import`: enroll a folder of photos."""

from collections import Counter
from collections.abc import Sequence
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
from command_line.photo_folder import LeftOut, list_photos
from command_line.photo_import import Outcome, PhotoImport, PhotoResult
from command_line.photo_review import DoubtfulPair, doubtful_pairs, rows
from command_line.photos import open_encoder


@with_options
def import_photos(
    folder: Annotated[
        Path,
        typer.Argument(
            exists=True, file_okay=False, metavar="DIR", help="Folder with one folder per subject."
        ),
    ],
    *,
    collection: Collection = "default",
    largest: Largest = False,
    allow_duplicate: Annotated[
        bool, typer.Option("--allow-duplicate", help="Do not report subjects that look alike.")
    ] = False,
    review: Annotated[
        Path | None,
        typer.Option(
            dir_okay=False, metavar="FILE", help="Draw the doubtful pairs into this image file."
        ),
    ] = None,
    encoder: EncoderOptions,
    recognizer: RecognizerOptions,
    tls: TlsOptions,
) -> None:
    """Enroll the photos in DIR: DIR/SUBJECT/PHOTO shows the subject SUBJECT.

    Files are recognized by content and enrolled or rejected one by one. Photos without a face, or
    with several, are rejected. Faces that look like another subject, or unlike their own subject's
    other faces, are enrolled and reported in pairs, independent of the order. If interrupted, run
    it again: nothing is enrolled twice within 7 days. Exits with 1 if anything in DIR was left out
    or rejected.
    """
    _check_sheet(review)
    photos, left_out = list_photos(folder)
    if not photos:
        _report_left_out(left_out, [], folder)
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

        PhotoImport(opened, client, collection=collection, most_prominent=largest, done=done).run(
            photos
        )
        pairs = [
            pair
            for pair in doubtful_pairs(client, results, collection=collection)
            if not (pair.alike and allow_duplicate)
        ]
    _report_left_out(left_out, results, folder)
    _report_pairs(pairs, folder, review)
    _report_counts(results, left_out, collection)
    if left_out or any(result.outcome is Outcome.REJECTED for result in results):
        raise typer.Exit(EXIT_FAILED)


def _check_sheet(path: Path | None) -> None:
    """Check before the import that the review sheet can be written."""
    from PIL import Image

    if path is None:
        return
    Image.init()
    if Image.registered_extensions().get(path.suffix.lower()) not in Image.SAVE:
        raise typer.BadParameter(f"--review is {path}; it must have an image suffix, e.g. .png")


def _report_left_out(
    left_out: Sequence[LeftOut], results: Sequence[PhotoResult], folder: Path
) -> None:
    found = [(item.path, item.reason, item.message) for item in left_out]
    found += [
        (result.photo.path, result.reason or "note", result.message)
        for result in results
        if result.message
    ]
    if found:
        table = [
            [str(path.relative_to(folder)), reason, message]
            for path, reason, message in sorted(found)
        ]
        show_table(["photo", "reason", "what"], table)


def _report_pairs(pairs: Sequence[DoubtfulPair], folder: Path, sheet: Path | None) -> None:
    if pairs:
        columns = ["doubtful", "reason", "compared with", ">similarity", ">threshold"]
        show_table(columns, rows(pairs, folder))
    if sheet is None:
        return
    if not pairs:
        typer.echo(f"no doubtful pairs; {sheet} was not written")
        return
    from command_line.review_sheet import MAX_PAIRS, write_sheet

    write_sheet(pairs, folder, sheet)
    typer.echo(f"{min(len(pairs), MAX_PAIRS)} of {len(pairs)} doubtful pairs are shown in {sheet}")


def _report_counts(
    results: Sequence[PhotoResult], left_out: Sequence[LeftOut], collection: str
) -> None:
    counts = Counter(result.outcome for result in results)
    subjects = {result.photo.subject_id for result in results if result.outcome is Outcome.ENROLLED}
    typer.echo(
        f"enrolled {counts[Outcome.ENROLLED]} faces of {len(subjects)} subjects in {collection}; "
        f"{counts[Outcome.PRESENT]} were enrolled before, {counts[Outcome.REJECTED]} rejected, "
        f"{len(left_out)} left out"
    )
    faceless = {result.photo.subject_id for result in results} - {
        result.photo.subject_id for result in results if result.taken
    }
    if faceless:
        typer.echo(f"subjects without an enrolled face: {', '.join(sorted(faceless))}")
