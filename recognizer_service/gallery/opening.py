"""Opens a gallery that may still have the embeddings of an earlier model."""

from collections.abc import Callable

from sqlalchemy.exc import DatabaseError

from recognizer_service.gallery.audit import Consistency
from recognizer_service.gallery.gallery import Gallery
from recognizer_service.gallery.storage.locations import Location
from shared.errors import FailedPrecondition


def open_gallery(open_in: Callable[[str, int | None], Gallery], space: str, size: int) -> Gallery:
    """Open the gallery in a space if all its faces are embedded in it, else in its current space.

    Args:
        open_in: opens the gallery in a space, given the embeddings' dimension or None if the
            gallery records it, as `Gallery` does.
        space: the wanted space.
        size: its dimension.

    Raises:
        FailedPrecondition: as `Gallery`, except EMBEDDING_SPACE_MISMATCH.
    """
    try:
        return open_in(space, size)
    except FailedPrecondition as error:
        if error.reason != "EMBEDDING_SPACE_MISMATCH":
            raise
        return open_in(error.metadata["gallery"], None)


def check_gallery(location: Location, *, embedding_space: str, embedding_size: int) -> Consistency:
    """Open a gallery and check it; damage that prevents opening is reported as a problem.

    Args:
        location: the gallery's location.
        embedding_space: space of the model it is served with, which may not have embedded it yet.
        embedding_size: dimension of that model's embeddings.

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
