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
from command_line.photo_folder import LeftOut, look_through
from command_line.photo_import import Outcome, PhotoImport, PhotoResult
from command_line.photo_review import DoubtfulPair, doubtful_pairs, rows
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
        bool, typer.Option("--allow-duplicate", help="Do not report subjects that look alike.")
    ] = False,
    review: Annotated[
        Path | None,
        typer.Option(
            dir_okay=False, metavar="FILE", help="Draw the doubtful pairs into this picture."
        ),
    ] = None,
    encoder: EncoderOptions,
    recognizer: RecognizerOptions,
    tls: TlsOptions,
) -> None:
    """Enroll the photos in DIR: DIR/SUBJECT/PHOTO shows the subject of that id.

    Each file is taken by its content, and enrolled or rejected on its own; one with no face, or
    several, is rejected. Faces that look like another subject, or unlike the others of their own,
    are enrolled and reported in pairs, whatever came first. Interrupted, run it again: what was
    enrolled is not enrolled twice within 7 days. Ends with 1 if anything in DIR was left out or
    rejected.
    """
    _check_sheet(review)
    photos, left_out = look_through(folder)
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
    """Refuse before the work what cannot be written after it."""
    from PIL import Image

    if path is None:
        return
    Image.init()
    if Image.registered_extensions().get(path.suffix.lower()) not in Image.SAVE:
        raise typer.BadParameter(f"--review is {path}; it must end like a picture, as in .png")


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
        typer.echo(f"nothing is doubtful; {sheet} was not written")
        return
    from command_line.review_sheet import MAX_PAIRS, write_sheet

    write_sheet(pairs, folder, sheet)
    typer.echo(f"{min(len(pairs), MAX_PAIRS)} of {len(pairs)} doubtful pairs are drawn in {sheet}")


def _report_counts(
    results: Sequence[PhotoResult], left_out: Sequence[LeftOut], collection: str
) -> None:
    counts = Counter(result.outcome for result in results)
    subjects = {result.photo.subject_id for result in results if result.outcome is Outcome.ENROLLED}
    typer.echo(
        f"enrolled {counts[Outcome.ENROLLED]} faces of {len(subjects)} subjects in {collection}; "
        f"{counts[Outcome.PRESENT]} were there before, {counts[Outcome.REJECTED]} were rejected, "
        f"{len(left_out)} left out"
    )
    faceless = {result.photo.subject_id for result in results} - {
        result.photo.subject_id for result in results if result.taken
    }
    if faceless:
        typer.echo(f"of these subjects nothing was enrolled: {', '.join(sorted(faceless))}")
