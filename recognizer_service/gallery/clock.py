"""The clock of the gallery, by which data expire.

A wrong system clock must not delete anything, so expiry has a time of its own. That time follows
the system clock while both agree:

- within an hour, while the process runs, by the monotonic clock;
- within seven days at the start of a process, by the time last written to the database.

Otherwise the system clock is doubted. The time of expiry then advances with the monotonic clock
until the system clock has run evenly for 24 hours, or the operator confirms it. Data thus never
expire early by more than these bounds, and late by as long as the doubt lasts.
"""

import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import structlog
from sqlalchemy import Connection, insert, select, update

from recognizer_service.gallery.storage import Database
from recognizer_service.gallery.storage.schema import clock

JUMP = timedelta(hours=1)
"""How far the system clock may deviate from the monotonic clock."""
ABSENCE = timedelta(days=7)
"""How far the system clock may deviate from the last known time when a process starts."""
EVEN_RUN = timedelta(hours=24)
"""How long a doubted clock must run evenly until it is believed."""
CONFIRMED_FOR = timedelta(days=1)
"""How long after the time that the operator confirmed a system clock is believed."""

_log = structlog.get_logger(__name__)


class GalleryClock:
    """Times for the gallery; thread-safe."""

    def __init__(
        self,
        database: Database,
        *,
        system: Callable[[], datetime],
        elapsed_s: Callable[[], float],
        confirmed: datetime | None = None,
    ) -> None:
        """Read the last known time from the database.

        Args:
            database: the gallery's database.
            system: the system clock, UTC.
            elapsed_s: the monotonic clock, in seconds.
            confirmed: a time that the operator read from a right clock; the system clock is
                believed from an hour before until a day after it.
        """
        self._system = system
        self._elapsed_s = elapsed_s
        self._confirmed = confirmed
        self._lock = threading.Lock()
        self._bound = ABSENCE
        self._doubted_since: tuple[datetime, float] | None = None
        self._read_at = elapsed_s()
        with database.reading() as connection:
            known = connection.scalar(select(clock.c.time))
        self._time: datetime = system() if known is None else known

    @property
    def is_doubted(self) -> bool:
        """Whether the system clock is doubted."""
        with self._lock:
            self._read()
            return self._doubted_since is not None

    def now(self) -> datetime:
        """Return the time for new rows: the system clock, but not before the time of expiry.

        Rows of a clock that was set back would expire as soon as it is right again.
        """
        with self._lock:
            return max(self._read(), self._time)

    def expiry(self) -> datetime:
        """Return the time up to which data have expired."""
        with self._lock:
            return min(self._read(), self._time)

    def keep(self, connection: Connection) -> None:
        """Write the time to the database, for the next process."""
        with self._lock:
            self._read()
            time = self._time
        if not connection.execute(update(clock).values(time=time)).rowcount:
            connection.execute(insert(clock).values(time=time))

    def _read(self) -> datetime:
        """Return the system clock, and advance the time of expiry."""
        system, elapsed_s = self._system(), self._elapsed_s()
        self._time = _later(self._time, elapsed_s - self._read_at)
        self._read_at = elapsed_s
        agrees = abs(system - self._time) <= self._bound
        if agrees or self._is_confirmed(system) or self._ran_evenly(system, elapsed_s):
            if self._doubted_since:
                _log.info("clock_believed", system=system.isoformat())
            self._time, self._doubted_since, self._bound = system, None, JUMP
        return system

    def _is_confirmed(self, system: datetime) -> bool:
        return self._confirmed is not None and -JUMP <= system - self._confirmed <= CONFIRMED_FOR

    def _ran_evenly(self, system: datetime, elapsed_s: float) -> bool:
        """Whether the doubted system clock has run evenly for long enough."""
        if self._doubted_since:
            since, started_s = self._doubted_since
            if abs(system - _later(since, elapsed_s - started_s)) <= JUMP:
                return elapsed_s - started_s >= EVEN_RUN.total_seconds()
        self._doubted_since = (system, elapsed_s)
        _log.error(
            "clock_doubted",
            system=system.isoformat(),
            expected=self._time.isoformat(),
            effect="data expire by elapsed time, until the system clock has run evenly for 24 h "
            "or the setting clock_confirmed holds the right time",
        )
        return False


def _later(time: datetime, seconds: float) -> datetime:
    """Add seconds, up to the last possible time."""
    try:
        return time + timedelta(seconds=seconds)
    except OverflowError:
        return datetime.max.replace(tzinfo=UTC)
