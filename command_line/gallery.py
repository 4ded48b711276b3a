"""`compactface gallery`: list, show and delete collections, subjects and faces."""

from datetime import timedelta
from pathlib import Path
from typing import Annotated

import typer

from command_line.gallery_archive import export, reembed, restore, snapshot
from command_line.gallery_audit import audit, check
from command_line.gallery_changes import (
    CollectionId,
    SubjectId,
    create,
    update,
    update_subject,
)
from command_line.gallery_encryption import decrypt, encrypt, rekey
from command_line.gallery_import import import_photos
from command_line.gallery_quality import audit_quality, calibrate
from command_line.options import Collection, Json, RecognizerOptions, TlsOptions, with_options
from command_line.output import as_json, show_json, show_table, time_text, write_picture
from command_line.paging import pages

app = typer.Typer(
    no_args_is_help=True,
    help="View and change the gallery. Needs a recognizer service, except for check, reembed, "
    "snapshot, encrypt, decrypt and rekey, which open the gallery itself.",
)

ErasureWait = Annotated[
    float, typer.Option(min=0, max=60, help="Seconds to wait until the data is erased from disk.")
]
FaceId = Annotated[str, typer.Argument(help="Id of the face, from `show`.")]


@app.command()
@with_options
def collections(*, to_json: Json = False, recognizer: RecognizerOptions, tls: TlsOptions) -> None:
    """List the collections."""
    with recognizer.connect(tls) as client:
        found = [item for page in pages(client.collections.list) for item in page.collections]
    if to_json:
        show_json([as_json(item) for item in found])
        return
    rows = [
        [
            item.collection_id,
            _quota_text(item.subject_count, item.max_subjects),
            _quota_text(item.face_count, item.max_faces),
            f"{item.max_fpir:g}",
            f"{item.max_fmr:g}",
            _retention_text(item.sighting_retention.ToTimedelta()),
        ]
        for item in found
    ]
    columns = ["collection", ">subjects", ">faces", ">max FPIR", ">max FMR", "sightings"]
    show_table(columns, rows)


@app.command()
@with_options
def subjects(
    *,
    collection: Collection = "default",
    prefix: Annotated[str, typer.Option(help="Only ids with this prefix.")] = "",
    name: Annotated[str, typer.Option(help="Only names that contain this.")] = "",
    label: Annotated[
        list[str] | None, typer.Option(help="Only subjects with this label; repeatable.")
    ] = None,
    to_json: Json = False,
    recognizer: RecognizerOptions,
    tls: TlsOptions,
) -> None:
    """List the subjects of a collection."""
    with recognizer.connect(tls) as client:
        found = [
            item
            for page in pages(
                client.subjects.list,
                collection=collection,
                id_prefix=prefix,
                name_contains=name,
                labels=label or (),
            )
            for item in page.subjects
        ]
    if to_json:
        show_json([as_json(item) for item in found])
        return
    rows = [
        [
            item.subject_id,
            item.display_name,
            " ".join(item.labels),
            str(item.face_count),
            time_text(item.create_time),
            time_text(item.expire_time) if item.HasField("expire_time") else "",
        ]
        for item in found
    ]
    show_table(["subject", "name", "labels", ">faces", "enrolled", "expires"], rows)


@app.command()
@with_options
def show(
    subject: SubjectId,
    *,
    collection: Collection = "default",
    to_json: Json = False,
    recognizer: RecognizerOptions,
    tls: TlsOptions,
) -> None:
    """Show a subject with its labels, metadata and faces."""
    with recognizer.connect(tls) as client:
        answer = client.subjects.get(subject, collection=collection)
    if to_json:
        show_json(as_json(answer))
        return
    rows = [
        [
            face.face_id,
            face.codec_id,
            str(face.size_bytes),
            f"{face.quality:.2f}" if face.HasField("quality") else "",
            time_text(face.create_time),
        ]
        for face in answer.faces
    ]
    title = f"{answer.subject.subject_id} {answer.subject.display_name}".strip()
    show_table(["face", "codec", ">bytes", ">quality", "enrolled"], rows, title=title)
    if answer.subject.labels:
        typer.echo(f"labels: {' '.join(answer.subject.labels)}")
    for key, value in sorted(answer.subject.metadata.items()):
        typer.echo(f"{key}: {value}")


@app.command()
@with_options
def delete_subject(
    subject: SubjectId,
    *,
    collection: Collection = "default",
    wait: ErasureWait = 10.0,
    recognizer: RecognizerOptions,
    tls: TlsOptions,
) -> None:
    """Delete a subject and its faces."""
    with recognizer.connect(tls) as client:
        answer = client.subjects.delete(
            subject, collection=collection, erasure_wait=timedelta(seconds=wait)
        )
    _report_deletion(f"{subject} with {answer.faces_deleted} faces", erased=answer.erased)


@app.command()
@with_options
def delete_face(
    face: FaceId,
    *,
    collection: Collection = "default",
    wait: ErasureWait = 10.0,
    recognizer: RecognizerOptions,
    tls: TlsOptions,
) -> None:
    """Delete a face."""
    with recognizer.connect(tls) as client:
        answer = client.faces.delete(
            face, collection=collection, erasure_wait=timedelta(seconds=wait)
        )
    _report_deletion(f"face {face}", erased=answer.erased)


@app.command()
@with_options
def delete_collection(
    collection: CollectionId,
    *,
    force: Annotated[bool, typer.Option("--force", help="Even if it holds subjects.")] = False,
    wait: ErasureWait = 10.0,
    recognizer: RecognizerOptions,
    tls: TlsOptions,
) -> None:
    """Delete a collection and its contents."""
    with recognizer.connect(tls) as client:
        answer = client.collections.delete(
            collection, force=force, erasure_wait=timedelta(seconds=wait)
        )
    _report_deletion(f"{collection} with {answer.faces_deleted} faces", erased=answer.erased)


@app.command()
@with_options
def face(
    face: FaceId,
    *,
    out: Annotated[Path, typer.Option(help="Write the picture that its map holds, a PNG, here.")],
    collection: Collection = "default",
    recognizer: RecognizerOptions,
    tls: TlsOptions,
) -> None:
    """Look at an enrolled face: write its picture to a file."""
    with recognizer.connect(tls) as client:
        answer = client.faces.get(face, collection=collection, include_picture=True)
    write_picture(out, answer.picture_png)
    typer.echo(f"{out}: a face of {answer.face.subject_id}, from {answer.face.size_bytes} bytes")


def _report_deletion(what: str, *, erased: bool) -> None:
    bytes_left = "" if erased else "; its data will be erased from disk in the background"
    typer.echo(f"deleted {what}{bytes_left}")


def _quota_text(count: int, most: int) -> str:
    """A count and its quota, e.g. "7/100"."""
    return f"{count}/{most}" if most else str(count)


def _retention_text(retention: timedelta) -> str:
    return f"kept {retention.total_seconds() / 3600:g} h" if retention else "not kept"


app.command()(create)
app.command()(update)
app.command()(update_subject)
app.command("import")(import_photos)
app.command()(export)
app.command()(restore)
app.command()(snapshot)
app.command()(reembed)
app.command()(encrypt)
app.command()(decrypt)
app.command()(rekey)
app.command()(audit)
app.command()(check)
app.command()(calibrate)
app.command("audit-quality")(audit_quality)
