"""Opening a gallery that may have been embedded by a model before the present one."""

from collections.abc import Callable

from recognizer_service.gallery.gallery import Gallery
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
