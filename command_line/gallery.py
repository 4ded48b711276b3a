"""`compactface gallery`: who is known."""

from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import TYPE_CHECKING, Annotated, Any

import typer

from command_line.options import Collection, RecognizerOptions, TlsOptions, with_options
from command_line.output import show_table

if TYPE_CHECKING:
    from google.protobuf.timestamp_pb2 import Timestamp

app = typer.Typer(no_args_is_help=True, help="See and change who is known.")

CollectionId = Annotated[str, typer.Argument(help="Id of the collection.")]
SubjectId = Annotated[str, typer.Argument(help="Id of the subject.")]
FaceId = Annotated[str, typer.Argument(help="Id of the face, as `show` lists it.")]


@app.command()
@with_options
def collections(*, recognizer: RecognizerOptions, tls: TlsOptions) -> None:
    """List the collections."""
    with recognizer.connect(tls) as client:
        rows = [
            [
                item.collection_id,
                str(item.subject_count),
                str(item.face_count),
                f"{item.max_fpir:g}",
                f"{item.max_fmr:g}",
                _retention_text(item.sighting_retention.ToTimedelta()),
            ]
            for page in _pages(client.list_collections)
            for item in page.collections
        ]
    columns = ["collection", ">subjects", ">faces", ">max FPIR", ">max FMR", "sightings"]
    show_table(columns, rows)


@app.command()
@with_options
def create(
    collection: CollectionId,
    *,
    max_fpir: Annotated[
        float, typer.Option(help="Default threshold of identify, in (0, 1).")
    ] = 0.01,
    max_fmr: Annotated[float, typer.Option(help="Default threshold of verify, in (0, 1).")] = 0.001,
    sighting_hours: Annotated[
        float, typer.Option(min=0, help="How long streamed maps are kept; 0: not at all.")
    ] = 0,
    recognizer: RecognizerOptions,
    tls: TlsOptions,
) -> None:
    """Create a collection."""
    with recognizer.connect(tls) as client:
        client.create_collection(
            collection,
            max_fpir=max_fpir,
            max_fmr=max_fmr,
            sighting_retention=timedelta(hours=sighting_hours),
        )
    typer.echo(f"created {collection}")


@app.command()
@with_options
def subjects(
    *, collection: Collection = "default", recognizer: RecognizerOptions, tls: TlsOptions
) -> None:
    """List the subjects of a collection."""
    with recognizer.connect(tls) as client:
        rows = [
            [item.subject_id, item.display_name, str(item.face_count), _time_text(item.create_time)]
            for page in _pages(client.list_subjects, collection=collection)
            for item in page.subjects
        ]
    show_table(["subject", "name", ">faces", "enrolled"], rows)


@app.command()
@with_options
def show(
    subject: SubjectId,
    *,
    collection: Collection = "default",
    recognizer: RecognizerOptions,
    tls: TlsOptions,
) -> None:
    """Show a subject with its faces."""
    with recognizer.connect(tls) as client:
        answer = client.get_subject(subject, collection=collection)
    rows = [
        [
            face.face_id,
            face.codec_id,
            str(face.size_bytes),
            f"{face.quality:.2f}" if face.HasField("quality") else "",
            _time_text(face.create_time),
        ]
        for face in answer.faces
    ]
    title = f"{answer.subject.subject_id} {answer.subject.display_name}".strip()
    show_table(["face", "codec", ">bytes", ">quality", "enrolled"], rows, title=title)


@app.command()
@with_options
def delete_subject(
    subject: SubjectId,
    *,
    collection: Collection = "default",
    recognizer: RecognizerOptions,
    tls: TlsOptions,
) -> None:
    """Delete a subject with its faces."""
    with recognizer.connect(tls) as client:
        answer = client.delete_subject(subject, collection=collection)
    _report_deletion(f"{subject} with {answer.faces_deleted} faces", erased=answer.erased)


@app.command()
@with_options
def delete_face(
    face: FaceId,
    *,
    collection: Collection = "default",
    recognizer: RecognizerOptions,
    tls: TlsOptions,
) -> None:
    """Delete one face."""
    with recognizer.connect(tls) as client:
        answer = client.delete_face(face, collection=collection)
    _report_deletion(f"face {face}", erased=answer.erased)


@app.command()
@with_options
def delete_collection(
    collection: CollectionId,
    *,
    force: Annotated[bool, typer.Option("--force", help="Even if it holds subjects.")] = False,
    recognizer: RecognizerOptions,
    tls: TlsOptions,
) -> None:
    """Delete a collection with all it holds."""
    with recognizer.connect(tls) as client:
        answer = client.delete_collection(collection, force=force)
    _report_deletion(f"{collection} with {answer.faces_deleted} faces", erased=answer.erased)


def _pages(fetch: Callable[..., Any], **arguments: str) -> Iterator[Any]:
    """Every page of a list, as long as an answer names another."""
    token = ""
    while True:
        page = fetch(**arguments, page_token=token)
        yield page
        token = page.next_page_token
        if not token:
            return


def _report_deletion(what: str, *, erased: bool) -> None:
    bytes_left = "" if erased else "; its bytes leave the disk with the next checkpoint"
    typer.echo(f"deleted {what}{bytes_left}")


def _retention_text(retention: timedelta) -> str:
    return f"kept {retention.total_seconds() / 3600:g} h" if retention else "not kept"


def _time_text(timestamp: "Timestamp") -> str:
    return f"{timestamp.ToDatetime():%Y-%m-%d %H:%M UTC}"
