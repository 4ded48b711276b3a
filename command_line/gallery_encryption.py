"""`compactface gallery` encrypt, decrypt and rekey."""

from pathlib import Path
from typing import Annotated

import typer

from command_line.gallery_archive import GALLERY_FILE, GalleryFile
from command_line.options import GalleryKey, key_source

_SOURCE = "file:PATH, env:NAME or command:COMMAND"
NewKey = Annotated[
    str, typer.Option(metavar="SOURCE", help=f"The new key: {_SOURCE}.", show_default=False)
]


def encrypt(*, gallery: GalleryFile = GALLERY_FILE, gallery_key: GalleryKey = "") -> None:
    """Encrypt a gallery that is not encrypted yet; then serve it with --gallery-key.

    The gallery must not be served. Its old file is overwritten; earlier copies of it are not.
    """
    if not gallery_key:
        raise typer.BadParameter("--gallery-key is missing: where the key is read from")
    _replace(gallery, old="", new=gallery_key, new_name="--gallery-key")
    typer.echo(f"encrypted {gallery}")


def decrypt(*, gallery: GalleryFile = GALLERY_FILE, gallery_key: GalleryKey = "") -> None:
    """Decrypt a gallery; then serve it without --gallery-key. It must not be served meanwhile."""
    if not gallery_key:
        raise typer.BadParameter("--gallery-key is missing: where the key is read from")
    _replace(gallery, old=gallery_key, new="")
    typer.echo(f"decrypted {gallery}")


def rekey(
    *, new_key: NewKey, gallery: GalleryFile = GALLERY_FILE, gallery_key: GalleryKey = ""
) -> None:
    """Change the key of an encrypted gallery; then serve it with the new one.

    The gallery must not be served. If interrupted, it has either key. Snapshots keep the old key.
    """
    if not gallery_key:
        raise typer.BadParameter("--gallery-key is missing: where the present key is read from")
    _replace(gallery, old=gallery_key, new=new_key)
    typer.echo(f"changed the key of {gallery}")


def _replace(gallery: Path, *, old: str, new: str, new_name: str = "--new-key") -> None:
    from recognizer_service.gallery.storage.replacement import replace_key

    present, following = key_source(old, "--gallery-key"), key_source(new, new_name)
    replace_key(
        gallery,
        present.read() if present else None,
        following.read() if following else None,
    )
