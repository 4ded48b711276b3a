"""The caller's name, as the gallery records it."""

from recognizer_service.gallery.limits import unwanted
from shared.serving.authorization import current_caller


def caller_name() -> str:
    """Return the name in the caller's token or certificate, or "" if there is none.

    Characters that a name must not contain are replaced.
    """
    name = current_caller().name
    return "".join("\ufffd" if unwanted(character) else character for character in name)
