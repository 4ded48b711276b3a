"""Who calls, as far as a certificate says so."""

from recognizer_service.gallery.texts import unwanted
from shared.serving.interceptor import Context

_MAX_NAME_CHARACTERS = 128


def certified_name(context: Context) -> str | None:
    """The common name in the client's certificate; None without mutual TLS.

    Names are cut to 128 characters, and what no name holds is replaced.
    """
    names = list(context.auth_context().get("x509_common_name", []))
    if not names:
        return None
    name = names[0].decode(errors="replace")[:_MAX_NAME_CHARACTERS]
    return "".join("\ufffd" if unwanted(character) else character for character in name)
