"""`compactface gallery` encrypt, decrypt and rekey."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from command_line.gallery_archive import GALLERY_FILE, GalleryFile
from command_line.options import GalleryKey, key_source

if TYPE_CHECKING:
    from shared.storage_key import KeySource

_SOURCE = "file:PATH, env:NAME or command:COMMAND"
NewKey = Annotated[
    str, typer.Option(metavar="SOURCE", help=f"The new key: {_SOURCE}.", show_default=False)
]


def encrypt(*, gallery: GalleryFile = GALLERY_FILE, gallery_key: GalleryKey = "") -> None:
    """Encrypt a gallery that is not encrypted yet; then serve it with --gallery-key.

    The gallery must not be served. Its old file is overwritten; earlier copies of it are not.
    """
    _replace(gallery, None, _given(gallery_key))
    typer.echo(f"encrypted {gallery}")


def decrypt(*, gallery: GalleryFile = GALLERY_FILE, gallery_key: GalleryKey = "") -> None:
    """Decrypt a gallery; then serve it without --gallery-key. It must not be served meanwhile."""
    _replace(gallery, _given(gallery_key), None)
    typer.echo(f"decrypted {gallery}")


def rekey(
    *, new_key: NewKey, gallery: GalleryFile = GALLERY_FILE, gallery_key: GalleryKey = ""
) -> None:
    """Change the key of an encrypted gallery; then serve it with the new one.

    The gallery must not be served. If interrupted, it has either key. Snapshots keep the old key.
    """
    _replace(gallery, _given(gallery_key), _given(new_key, "--new-key"))
    typer.echo(f"changed the key of {gallery}")


def _given(text: str, name: str = "--gallery-key") -> "KeySource":
    source = key_source(text, name)
    if source is None:
        raise typer.BadParameter(f"{name} is missing: where the key is read from")
    return source


def _replace(gallery: Path, old: "KeySource | None", new: "KeySource | None") -> None:
    from recognizer_service.gallery.storage.replacement import replace_key

    replace_key(gallery, old.read() if old else None, new.read() if new else None)
