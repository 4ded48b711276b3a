"""Who calls, as the gallery writes it down."""

from recognizer_service.gallery.texts import unwanted
from shared.serving.authorization import current_caller


def caller_name() -> str:
    """The name of the caller's token or certificate; "" where nothing tells.

    What no name may hold is replaced.
    """
    name = current_caller().name
    return "".join("\ufffd" if unwanted(character) else character for character in name)
