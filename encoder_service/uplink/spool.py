"""An on-disk queue of maps for the recognizer.

Maps taken by `change` survive the end of the process, and, if `durable`, a loss of power. They are
in a `SpoolFile`.

The age of a map counts only time during which a spool is open, by a monotonic clock. Jumps of the
wall clock neither expire maps nor extend their lifetime.
"""

import sqlite3
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import structlog

from encoder_service.uplink.spool_file import SpoolFile
from shared.errors import CompactfaceError
from shared.storage_key import StorageKey

_log = structlog.get_logger(__name__)

_DROP_AT_ONCE = 64


@dataclass(frozen=True, slots=True)
class SpooledMap:
    """A queued map.

    Attributes:
        key: rises in order of arrival.
        id: id of the sighting.
        message: the serialized StreamedMap.
        failures: number of times that the recognizer failed on it.
    """

    key: int
    id: str
    message: bytes
    failures: int = 0


@dataclass(frozen=True, slots=True)
class Dropped:
    """Numbers of maps dropped without delivery.

    Attributes:
        for_bytes: dropped because the spool reached its size limit.
        for_age: dropped because they expired.
    """

    for_bytes: int = 0
    for_age: int = 0


def uptime_s() -> float:
    """Seconds since boot, including sleep; this clock cannot be set."""
    clock: int = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)
    return float(time.clock_gettime(clock))


class Spool:
    """Stores maps. Not thread-safe: use it from one thread.

    Attributes:
        depth: number of queued maps, including those set aside.
        aside: number of maps set aside.
        size: total size of the maps in bytes.
    """

    depth: int
    aside: int
    size: int

    def __init__(
        self,
        folder: Path,
        *,
        key: StorageKey | None = None,
        durable: bool,
        max_bytes: int,
        max_age_s: float,
        uptime: Callable[[], float] = uptime_s,
    ) -> None:
        """Open the spool, or create it.

        Args:
            folder: folder of its files; created with access for the owner only.
            key: encrypts the file; None: it is not encrypted.
            durable: whether maps survive a loss of power.
            max_bytes: maximum total size of the maps; the oldest are dropped to stay within it.
            max_age_s: maximum age; older maps are dropped.
            uptime: the clock, in seconds.

        Raises:
            FailedPrecondition: another process uses it (SPOOL_IN_USE), or a later version created
                it (SPOOL_TOO_NEW); the key is not that of the file, as in `check_key`.
            Unavailable: SPOOL_UNAVAILABLE; the folder is not usable.
            Overloaded: UPLINK_FULL; the disk is full.
        """
        self._max_bytes = max_bytes
        self._max_age_s = max_age_s
        self._uptime = uptime
        self._file = SpoolFile(folder, key=key, durable=durable, opened=self._begin)

    @property
    def damaged(self) -> int:
        """Number of files set aside since the spool was opened."""
        return self._file.damaged

    @property
    def oldest_age_s(self) -> float | None:
        """Age of the oldest map in seconds; None: the spool is empty."""
        return None if self._oldest is None else max(0.0, self._now() - self._oldest)

    def change(
        self, *, take: Sequence[tuple[str, bytes]] = (), remove: Sequence[str] = ()
    ) -> tuple[list[str], Dropped]:
        """Add and remove maps in one transaction, which is on disk on return.

        Maps that are expired, or exceed the size limit, are dropped.

        Args:
            take: ids and serialized StreamedMaps; existing ids are ignored.
            remove: ids; missing ones are ignored.

        Returns:
            The removed ids that existed, and the dropped maps.

        Raises:
            Overloaded: UPLINK_FULL; the disk is full.
            Unavailable: SPOOL_UNAVAILABLE.
        """
        return self._file.try_twice(lambda: self._change(take, remove))

    def read(self, *, after: int, most: int) -> list[SpooledMap]:
        """Read up to `most` maps with keys above `after`, oldest first, without those set aside."""
        return self._file.try_twice(
            lambda: self._read("NOT aside AND key > ? ORDER BY key LIMIT ?", (after, most))
        )

    def oldest_aside(self, *, after: int = 0) -> SpooledMap | None:
        """The oldest map set aside with a key above `after`."""
        found = self._file.try_twice(
            lambda: self._read("aside AND key > ? ORDER BY key LIMIT 1", (after,))
        )
        return found[0] if found else None

    def blame(self, id_: str, *, aside_after: int) -> SpooledMap | None:
        """Count a failure of a map, and set it aside after `aside_after`; None: no such map."""
        return self._file.try_twice(lambda: self._blame(id_, aside_after))

    def tidy(self) -> Dropped:
        """Drop expired maps and erase removed ones from disk; call it regularly."""
        return self._file.try_twice(self._tidy)

    def close(self) -> None:
        """Tidy up, close the file and release the folder."""
        try:
            with self._file.translated():
                self._tidy()
        except CompactfaceError as error:
            _log.warning("spool_not_tidied", reason=error.reason, message=error.message)
        finally:
            self._file.close()

    @property
    def _database(self) -> sqlite3.Connection:
        return self._file.database

    def _change(
        self, take: Sequence[tuple[str, bytes]], remove: Sequence[str]
    ) -> tuple[list[str], Dropped]:
        with self._transaction() as database:
            removed = [id_ for id_ in remove if self._delete("id = ?", id_)]
            for id_, message in take:
                self._insert(database, id_, message)
            dropped = self._enforce_limits()
        return removed, dropped

    def _insert(self, database: sqlite3.Connection, id_: str, message: bytes) -> None:
        done = database.execute(
            "INSERT INTO maps (id, message, taken_at) VALUES (?, ?, ?) ON CONFLICT (id) DO NOTHING",
            (id_, message, self._now()),
        )
        if done.rowcount:
            self.depth += 1
            self.size += len(message)

    def _enforce_limits(self) -> Dropped:
        for_age = self._delete("taken_at <= ?", self._now() - self._max_age_s) if self.depth else 0
        for_bytes = 0
        while self.size > self._max_bytes:
            for_bytes += self._delete(
                "key IN (SELECT key FROM maps ORDER BY key LIMIT ?)",
                1 if self.depth <= _DROP_AT_ONCE else _DROP_AT_ONCE,
            )
        return Dropped(for_bytes=for_bytes, for_age=for_age)

    def _delete(self, which: str, value: object) -> int:
        gone = self._database.execute(
            f"DELETE FROM maps WHERE {which} RETURNING length(message), aside",  # noqa: S608
            (value,),
        ).fetchall()
        self.depth -= len(gone)
        self.size -= sum(size for size, _ in gone)
        self.aside -= sum(aside for _, aside in gone)
        return len(gone)

    def _read(self, which: str, values: tuple[int, ...]) -> list[SpooledMap]:
        rows = self._database.execute(
            f"SELECT key, id, message, failures FROM maps WHERE {which}",  # noqa: S608
            values,
        )
        return [SpooledMap(*row) for row in rows]

    def _blame(self, id_: str, aside_after: int) -> SpooledMap | None:
        with self._transaction() as database:
            row = database.execute(
                "UPDATE maps SET failures = failures + 1 WHERE id = ? "
                "RETURNING key, id, message, failures, aside",
                (id_,),
            ).fetchone()
            if row is None:
                return None
            *values, aside = row
            blamed = SpooledMap(*values)
            if blamed.failures >= aside_after and not aside:
                database.execute("UPDATE maps SET aside = 1 WHERE key = ?", (blamed.key,))
                self.aside += 1
        return blamed

    def _tidy(self) -> Dropped:
        with self._transaction():
            dropped = self._enforce_limits()
        if not self.depth:
            # secure_delete overwrites rows, but not copies left behind by moved rows.
            self._database.execute("VACUUM").close()
        self._database.execute("PRAGMA wal_checkpoint(TRUNCATE)").close()  # the log has copies, too
        return dropped

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        """Run a transaction at the clock's current time; after a failure, restore the counters.

        Unlike `with connection`, it also rolls back a failed commit.
        """
        database = self._database
        try:
            database.execute("BEGIN IMMEDIATE")
            yield database
            database.execute("UPDATE clock SET seconds = ?", (self._now(),))
            self._oldest = _oldest(database)
            database.execute("COMMIT")
        except BaseException:
            if database.in_transaction:
                database.execute("ROLLBACK")
            self._count(database)
            raise

    def _begin(self, database: sqlite3.Connection) -> None:
        """Continue with the maps and the clock of a file."""
        (clock,) = database.execute(
            "SELECT max(coalesce((SELECT max(seconds) FROM clock), 0), "
            "coalesce((SELECT max(taken_at) FROM maps), 0))"
        ).fetchone()
        self._ahead_s = float(clock) - self._uptime()
        self._count(database)

    def _count(self, database: sqlite3.Connection) -> None:
        row = database.execute(
            "SELECT count(*), coalesce(sum(length(message)), 0), coalesce(sum(aside), 0) FROM maps"
        ).fetchone()
        self.depth, self.size, self.aside = row
        self._oldest = _oldest(database)

    def _now(self) -> float:
        """Total time in seconds for which the spool has been open."""
        return self._uptime() + self._ahead_s


def _oldest(database: sqlite3.Connection) -> float | None:
    """When the oldest map was added, by the clock of the file."""
    (taken_at,) = database.execute(
        "SELECT (SELECT taken_at FROM maps ORDER BY key LIMIT 1)"
    ).fetchone()
    return None if taken_at is None else float(taken_at)
