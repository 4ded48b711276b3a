"""Opening a gallery that may have been embedded by a model before the present one."""

from collections.abc import Callable

from recognizer_service.gallery.gallery import Gallery
from shared.errors import FailedPrecondition


def open_gallery(open_in: Callable[[str], Gallery], space: str) -> Gallery:
    """The gallery in a space if all its faces are embedded in it, else in the space they are.

    Args:
        open_in: opens it in a space, as `Gallery` does.
        space: which is wanted.

    Raises:
        FailedPrecondition: as `Gallery`, but for EMBEDDING_SPACE_MISMATCH.
    """
    try:
        return open_in(space)
    except FailedPrecondition as error:
        if error.reason != "EMBEDDING_SPACE_MISMATCH":
            raise
        return open_in(error.metadata["gallery"])
