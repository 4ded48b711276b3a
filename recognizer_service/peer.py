"""Who calls, as far as a certificate says so."""

from shared.service.interceptor import Context

_MAX_NAME_CHARACTERS = 128


def certified_name(context: Context) -> str | None:
    """The common name in the client's certificate; None without mutual TLS.

    Names are cut to 128 characters, and what is not printable is replaced.
    """
    names = list(context.auth_context().get("x509_common_name", []))
    if not names:
        return None
    name = names[0].decode(errors="replace")[:_MAX_NAME_CHARACTERS]
    return "".join(character if character.isprintable() else "\ufffd" for character in name)
