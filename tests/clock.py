"""A clock that tests set forward."""

from datetime import UTC, datetime


class Clock:
    """Gives `time` until that is changed."""

    def __init__(self, time: datetime = datetime(2025, 1, 1, 12, tzinfo=UTC)) -> None:
        self.time = time

    def __call__(self) -> datetime:
        """The time."""
        return self.time

    def elapsed_s(self) -> float:
        """The monotonic clock of a machine whose clock is right."""
        return self.time.timestamp()
