"""Checking a gallery while nobody serves it."""

from sqlalchemy.exc import DatabaseError

from recognizer_service.gallery.databases.location import Location
from recognizer_service.gallery.events import Consistency
from recognizer_service.gallery.gallery import Gallery
from recognizer_service.gallery.opening import open_gallery


def check_gallery(location: Location, *, embedding_space: str, embedding_size: int) -> Consistency:
    """Open a gallery and look at everything; damage that keeps it from opening is a finding.

    Args:
        location: where it is.
        embedding_space: of the model it is served with, which may not have embedded it yet.
        embedding_size: numbers in an embedding of that model.

    Raises:
        FailedPrecondition: as `Gallery`.
    """

    def open_in(space: str, size: int | None) -> Gallery:
        return Gallery(location, embedding_space=space, embedding_size=size)

    try:
        opened = open_gallery(open_in, embedding_space, embedding_size)
        with opened as gallery:
            return gallery.check()
    except DatabaseError as error:
        problem = f"the gallery cannot be read: {error.orig}"
        return Consistency(problems=(problem,), subjects=0, faces=0, indexed=0)
