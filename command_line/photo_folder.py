"""List the photos in a folder with one folder per subject."""

import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

_SYSTEM_FILES = {".DS_Store", "Thumbs.db", "desktop.ini"}
"""Files that file managers create; they are ignored."""


@dataclass(frozen=True, slots=True)
class SubjectPhoto:
    """A file that may be a photo; the name of its folder is the subject's id."""

    subject_id: str
    path: Path


@dataclass(frozen=True, slots=True)
class LeftOut:
    """A skipped file or folder.

    Attributes:
        path: file or folder.
        reason: UPPER_SNAKE_CASE.
        message: explanation for people.
    """

    path: Path
    reason: str
    message: str


def list_photos(folder: Path) -> tuple[list[SubjectPhoto], list[LeftOut]]:
    """List all files in the subfolders, sorted by subject and name, and everything skipped.

    Whether a file is a photo is decided later by its content.

    Raises:
        OSError: the folder cannot be read.
    """
    found = [item for entry in sorted(folder.iterdir()) for item in _in_folder(entry)]
    photos = [item for item in found if isinstance(item, SubjectPhoto)]
    return photos, [item for item in found if isinstance(item, LeftOut)]


def _in_folder(entry: Path) -> Iterator[SubjectPhoto | LeftOut]:
    if entry.name in _SYSTEM_FILES:
        return
    if entry.name.startswith("."):
        yield LeftOut(entry, "HIDDEN", "its name starts with a dot")
    elif entry.is_dir():
        yield from _in_subject(entry)
    else:
        yield LeftOut(entry, "LOOSE_FILE", "it is not in a subject's folder")


def _in_subject(subject: Path) -> Iterator[SubjectPhoto | LeftOut]:
    try:
        entries = sorted(entry for entry in subject.iterdir() if entry.name not in _SYSTEM_FILES)
    except OSError as error:
        yield LeftOut(subject, "UNREADABLE_FOLDER", error.strerror or str(error))
        return
    if not entries:
        yield LeftOut(subject, "EMPTY_FOLDER", "it contains no photo")
    for entry in entries:
        if entry.name.startswith("."):
            yield LeftOut(entry, "HIDDEN", "its name starts with a dot")
        elif entry.is_dir():
            yield LeftOut(entry, "NESTED_FOLDER", "subfolders of a subject's folder are not read")
        elif _is_special(entry):
            yield LeftOut(entry, "NO_FILE", "it is not a regular file")
        else:
            yield SubjectPhoto(subject.name, entry)


def _is_special(path: Path) -> bool:
    """Whether the path is a pipe, socket or device, which could block reading."""
    try:
        return not stat.S_ISREG(path.stat().st_mode)
    except OSError:
        return False  # reading it will report the error
