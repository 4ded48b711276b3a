"""`compactface gallery audit` and `check`: audit log and integrity of a gallery."""

from datetime import UTC, datetime
from typing import Annotated

import typer

from command_line.errors import EXIT_FAILED
from command_line.options import (
    SHIPPED_MODELS,
    GalleryOptions,
    Json,
    Models,
    RecognizerOptions,
    TlsOptions,
    with_options,
)
from command_line.output import as_json, show_json, show_table, time_text
from command_line.paging import pages

_DAY = "%Y-%m-%d"


@with_options
def audit(
    *,
    collection: Annotated[str, typer.Option(help="Only events of this collection.")] = "",
    subject: Annotated[str, typer.Option(help="Only events of this subject.")] = "",
    since: Annotated[
        datetime | None, typer.Option(formats=[_DAY], help="Only events from this day on, UTC.")
    ] = None,
    to_json: Json = False,
    recognizer: RecognizerOptions,
    tls: TlsOptions,
) -> None:
    """List enrollments, changes, deletions, exports and imports, oldest first."""
    from compactface.v1.gallery_pb2 import AuditOperation

    with recognizer.connect(tls) as client:
        events = [
            event
            for page in pages(
                client.audit_events.list,
                collection_id=collection,
                subject_id=subject,
                since=since.replace(tzinfo=UTC) if since else None,
            )
            for event in page.events
        ]
    if to_json:
        show_json([as_json(event) for event in events])
        return
    rows = [
        [
            time_text(event.time),
            event.caller or "-",
            _operation_text(AuditOperation.Name(event.operation)),
            event.collection_id,
            event.subject_id,
        ]
        for event in events
    ]
    show_table(["time", "caller", "operation", "collection", "subject"], rows)


@with_options
def check(
    *,
    gallery: GalleryOptions,
    models: Models = SHIPPED_MODELS,
    family: Annotated[str, typer.Option(help="Model family of the gallery.")] = ("default"),
) -> None:
    """Check the integrity of a gallery; exits with 1 if there are problems.

    It opens the gallery as the recognizer does, so no recognizer may be serving it.
    """
    from recognizer_service.gallery.opening import check_gallery
    from shared.model_directory import ModelDirectory

    manifest = ModelDirectory.load(models, family).manifest
    found = check_gallery(
        gallery.location(),
        embedding_space=manifest.embedding_space,
        embedding_size=manifest.extractor.embedding_size,
    )
    for problem in found.problems:
        typer.echo(problem, err=True)
    if not found.ok:
        typer.echo(f"{gallery.name}: {len(found.problems)} problems", err=True)
        raise typer.Exit(EXIT_FAILED)
    typer.echo(f"{gallery.name}: {found.subjects} subjects, {found.faces} faces, no problems")


def _operation_text(name: str) -> str:
    """An operation in words, e.g. "delete subject" for AUDIT_OPERATION_DELETE_SUBJECT."""
    return name.removeprefix("AUDIT_OPERATION_").replace("_", " ").lower()
