"""What a folder of photos holds: a folder for each subject, and whatever else lies there."""

import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

_DROPPINGS = {".DS_Store", "Thumbs.db", "desktop.ini"}
"""Files that file managers leave in every folder, and nobody put there."""


@dataclass(frozen=True, slots=True)
class SubjectPhoto:
    """A file that may be a photo, and of whom: the name of its folder."""

    subject_id: str
    path: Path


@dataclass(frozen=True, slots=True)
class LeftOut:
    """What is not looked at, and why.

    Attributes:
        path: file or folder.
        reason: UPPER_SNAKE_CASE.
        message: for people.
    """

    path: Path
    reason: str
    message: str


def look_through(folder: Path) -> tuple[list[SubjectPhoto], list[LeftOut]]:
    """All files in the folders of a folder, by subject and name, and all that is none of them.

    Whether a file is a photo is for its content to say, not for its name.

    Raises:
        OSError: the folder itself cannot be read.
    """
    found = [item for entry in sorted(folder.iterdir()) for item in _in_folder(entry)]
    photos = [item for item in found if isinstance(item, SubjectPhoto)]
    return photos, [item for item in found if isinstance(item, LeftOut)]


def _in_folder(entry: Path) -> Iterator[SubjectPhoto | LeftOut]:
    if entry.name in _DROPPINGS:
        return
    if entry.name.startswith("."):
        yield LeftOut(entry, "HIDDEN", "its name begins with a dot")
    elif entry.is_dir():
        yield from _in_subject(entry)
    else:
        yield LeftOut(entry, "LOOSE_FILE", "it lies in no subject's folder")


def _in_subject(subject: Path) -> Iterator[SubjectPhoto | LeftOut]:
    try:
        entries = sorted(entry for entry in subject.iterdir() if entry.name not in _DROPPINGS)
    except OSError as error:
        yield LeftOut(subject, "UNREADABLE_FOLDER", error.strerror or str(error))
        return
    if not entries:
        yield LeftOut(subject, "EMPTY_FOLDER", "it holds no photo")
    for entry in entries:
        if entry.name.startswith("."):
            yield LeftOut(entry, "HIDDEN", "its name begins with a dot")
        elif entry.is_dir():
            yield LeftOut(entry, "NESTED_FOLDER", "folders in a subject's folder are not entered")
        elif _is_special(entry):
            yield LeftOut(entry, "NO_FILE", "it is no file with a content")
        else:
            yield SubjectPhoto(subject.name, entry)


def _is_special(path: Path) -> bool:
    """Whether it is a pipe, a socket or a device: reading one may never end."""
    try:
        return not stat.S_ISREG(path.stat().st_mode)
    except OSError:
        return False  # reading it says what is wrong
