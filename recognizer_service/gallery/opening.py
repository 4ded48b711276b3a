"""Opening a gallery that may have been embedded by a model before the present one."""

from collections.abc import Callable

from sqlalchemy.exc import DatabaseError

from recognizer_service.gallery.audit import Consistency
from recognizer_service.gallery.gallery import Gallery
from recognizer_service.gallery.storage.opening import Location
from shared.errors import FailedPrecondition


def open_gallery(open_in: Callable[[str, int | None], Gallery], space: str, size: int) -> Gallery:
    """The gallery in a space if all its faces are embedded in it, else in the space they are.

    Args:
        open_in: opens it in a space whose embeddings have so many numbers, or None where the
            gallery knows, as `Gallery` does.
        space: which is wanted.
        size: numbers in an embedding of it.

    Raises:
        FailedPrecondition: as `Gallery`, but for EMBEDDING_SPACE_MISMATCH.
    """
    try:
        return open_in(space, size)
    except FailedPrecondition as error:
        if error.reason != "EMBEDDING_SPACE_MISMATCH":
            raise
        return open_in(error.metadata["gallery"], None)


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
