"""Write pictures of faces to files."""

from pathlib import Path

import typer

from shared.private_files import private_file


def write_picture(path: Path, png: bytes) -> None:
    """Write a PNG with private permissions; an unwritable path is a usage error."""
    try:
        with private_file(path) as file:
            file.write(png)
    except OSError as error:
        raise typer.BadParameter(f"--out {path}: {error.strerror}") from None
