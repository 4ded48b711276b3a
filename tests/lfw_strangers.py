"""People with a single photograph, for the LFW for tests."""

import zipfile
from pathlib import Path

from PIL import Image

from tests.tiny_lfw import PEOPLE, photo


def add_strangers(data: Path, *, count: int) -> Path:
    """Add to what `write_lfw` wrote; their names come after all others."""
    with zipfile.ZipFile(data / "lfw112/lfw.zip", "a") as archive:
        for number in range(count):
            with archive.open(f"Guest{number}/Guest{number}_0001.jpg", "w") as member:
                Image.fromarray(photo(len(PEOPLE) + number, 1)).save(member, "PNG")
    return data
