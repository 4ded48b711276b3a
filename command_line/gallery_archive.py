"""`compactface gallery` export, restore, snapshot and reembed."""

import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import chain
from pathlib import Path
from typing import IO, TYPE_CHECKING, Annotated

import typer

from command_line.options import (
    SHIPPED_MODELS,
    Collection,
    GalleryKey,
    GalleryOptions,
    Models,
    RecognizerOptions,
    TlsOptions,
    key_source,
    with_options,
)
from command_line.progress import open_speed_bar
from shared.private_files import PRIVATE

if TYPE_CHECKING:
    from recognizer_service.core.changeover import CrossCodecEmbedder
    from recognizer_service.gallery.gallery import Gallery

_CHUNK_BYTES = 1 << 20
_ERASURE_WAIT_S = 60.0

GalleryFile = Annotated[
    Path, typer.Option(exists=True, dir_okay=False, help="The recognizer's database file.")
]
NewFile = Annotated[Path, typer.Argument(metavar="FILE", help="File to write; must not exist.")]
GALLERY_FILE = Path("gallery.sqlite")


@with_options
def export(
    file: NewFile,
    *,
    collection: Collection = "default",
    recognizer: RecognizerOptions,
    tls: TlsOptions,
) -> None:
    """Export a collection to an archive: settings, subjects, maps and embeddings.

    The file contains faces. Deleting a subject from the gallery does not remove it from the file.
    """
    with recognizer.connect(tls) as client, _written_whole(file) as target:
        for chunk in client.collections.export(collection):
            target.write(chunk)
        size = target.tell()
    typer.echo(f"exported {collection} to {file}: {size:,} bytes")


@with_options
def restore(
    file: Annotated[
        Path, typer.Argument(exists=True, dir_okay=False, metavar="FILE", help="An archive.")
    ],
    *,
    collection: Annotated[
        str, typer.Option(help="Target collection, new or empty; default: its original id.")
    ] = "",
    recognizer: RecognizerOptions,
    tls: TlsOptions,
) -> None:
    """Restore a collection from an archive, atomically.

    If the archive has another model, its maps are embedded again.
    """
    with (
        recognizer.connect(tls) as client,
        file.open("rb") as source,
        open_speed_bar("restore", unit="bytes") as progress,
    ):
        size = file.stat().st_size

        def chunks() -> Iterator[bytes]:
            while chunk := source.read(_CHUNK_BYTES):
                yield chunk
                progress(source.tell(), size)

        answer = client.collections.restore(chunks(), collection=collection)
    typer.echo(
        f"restored {answer.subjects} subjects with {answer.faces} faces to {answer.collection}"
    )


def snapshot(
    file: NewFile, *, gallery: GalleryFile = GALLERY_FILE, gallery_key: GalleryKey = ""
) -> None:
    """Copy a gallery consistently, even while it is served.

    To restore the copy, serve it. A copy of an encrypted gallery has the same key. Deleting a
    subject from the gallery does not remove it from the copy.
    """
    from recognizer_service.gallery.storage.sqlite_file import snapshot as take_snapshot

    source = key_source(gallery_key, "--gallery-key")
    size = take_snapshot(gallery, file, key=source.read() if source else None)
    typer.echo(f"copied {gallery} to {file}: {size:,} bytes")


@with_options
def reembed(
    *,
    to: Annotated[
        str | None, typer.Option(metavar="VERSION", help="Model version; default: the current one.")
    ] = None,
    discard_old: Annotated[
        bool,
        typer.Option(
            "--discard-old", help="Delete the embeddings of other models; switching back is slow."
        ),
    ] = False,
    gallery: GalleryOptions,
    models: Models = SHIPPED_MODELS,
    family: Annotated[str, typer.Option(help="Model family.")] = "default",
    device: Annotated[str, typer.Option(help="Device for inference: cpu or cuda.")] = "cpu",
) -> None:
    """Embed every face of a gallery from its map with another version of the model.

    The gallery must not be served; a service does this itself when the current version changes.
    If interrupted, run it again to resume. To go back, name the old version.
    """
    from recognizer_service.core.changeover import CrossCodecEmbedder
    from recognizer_service.gallery.gallery import Gallery
    from recognizer_service.gallery.opening import open_gallery
    from shared.inference.map_decoder import MapDecoder
    from shared.model_directory import ModelDirectory

    model = ModelDirectory.load(models, family, to)
    version = model.manifest.version
    embedder = CrossCodecEmbedder(MapDecoder(model, device=device, precision="auto"))

    location = gallery.location()

    def open_in(space: str, size: int | None) -> Gallery:
        return Gallery(location, embedding_space=space, embedding_size=size)

    size = model.manifest.extractor.embedding_size
    with open_gallery(open_in, embedder.embedding_space, size) as opened:
        faces, seconds = _fill(opened, embedder)
        opened.spaces.serve(embedder.embedding_space)
        rate = f" at {faces / seconds:.1f} per second" if faces else ""
        typer.echo(f"embedded {faces} faces{rate}; all faces have embeddings of {family}/{version}")
        if discard_old:
            _discard_others(opened)


def _fill(gallery: "Gallery", embedder: "CrossCodecEmbedder") -> tuple[int, float]:
    """Embed what has no embedding; returns the number of faces and the seconds taken."""
    steps = gallery.spaces.fill(embedder)
    first = last = next(steps)
    began = time.monotonic()
    with open_speed_bar("re-embed", unit="faces") as progress:
        for step in chain([first], steps):
            progress(step.faces_done, step.faces_total)
            last = step
    return last.faces_done - first.faces_done, time.monotonic() - began


def _discard_others(gallery: "Gallery") -> None:
    erasure = gallery.spaces.discard_others()
    erased = bool(erasure) and gallery.database.erased(erasure, wait_s=_ERASURE_WAIT_S)
    bytes_left = (
        ""
        if erased
        else "; their data is erased in the background, or when the gallery is next opened"
    )
    typer.echo(f"deleted the embeddings of other models{bytes_left}")


@contextmanager
def _written_whole(path: Path) -> Iterator[IO[bytes]]:
    """A new private file that gets its name only if the block succeeds."""
    if path.exists():
        raise typer.BadParameter(f"{path} exists; choose another name or remove it")
    with tempfile.TemporaryDirectory(prefix=f".{path.name}.", dir=path.parent) as folder:
        partial = Path(folder) / "partial"
        with partial.open("xb") as file:
            os.fchmod(file.fileno(), PRIVATE)
            yield file
            file.flush()
            os.fsync(file.fileno())
        partial.rename(path)
