"""How long the client still waits."""

from shared.service.interceptor import Context


def remaining_seconds(context: Context) -> float | None:
    """Seconds until the client's deadline, at least 0; None where it set none.

    The handler is cancelled when the deadline passes; work handed to an executor is not, so
    it takes this number along and is dropped if it is still queued by then.
    """
    return context.time_remaining()
