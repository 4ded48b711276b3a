"""How long the client still waits."""

from shared.service.interceptor import Context


def remaining_seconds(context: Context) -> float | None:
    """Seconds until the client's deadline, at least 0; None where it set none.

    The handler is cancelled when the deadline passes. Work that it handed to an executor is
    cancelled with it while it is queued there; once begun it runs to its end.
    """
    return context.time_remaining()
