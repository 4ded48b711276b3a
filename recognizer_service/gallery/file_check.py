"""Checking a gallery's file while nobody serves it."""

from pathlib import Path

from sqlalchemy.exc import DatabaseError

from recognizer_service.gallery.events import Consistency
from recognizer_service.gallery.gallery import Gallery
from recognizer_service.gallery.opening import open_gallery


def check_file(path: Path, *, embedding_space: str) -> Consistency:
    """Open a gallery and look at everything; damage that keeps it from opening is a finding.

    Args:
        path: its database file.
        embedding_space: of the model it is served with, which may not have embedded it yet.

    Raises:
        FailedPrecondition: as `Gallery`.
    """
    try:
        opened = open_gallery(lambda space: Gallery(path, embedding_space=space), embedding_space)
        with opened as gallery:
            return gallery.check()
    except DatabaseError as error:
        problem = f"the file cannot be read: {error.orig}"
        return Consistency(problems=(problem,), subjects=0, faces=0, indexed=0)
