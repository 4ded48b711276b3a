"""An on-disk queue of maps for the recognizer.

The spool is one SQLite file in a folder of its own. Maps taken by `change` survive the end of the
process, and, if `durable`, a loss of power. Only one process may open the folder. An unreadable
file is set aside and replaced: a damaged disk must not stop a camera.

The age of a map counts only time during which a spool is open, by a monotonic clock. Jumps of the
wall clock neither expire maps nor extend their lifetime.
"""

import fcntl
import os
import sqlite3
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TypeVar

import structlog

from shared.errors import CompactfaceError, FailedPrecondition, Overloaded, Unavailable
from shared.private_files import make_private

T = TypeVar("T")

_log = structlog.get_logger(__name__)

FILE = "spool.sqlite"
SET_ASIDE = f"{FILE}.damaged"
"""Name under which an unreadable file is kept; it replaces the previous one."""

_SUFFIXES = ("", "-wal", "-shm")
_VERSION = 1
_SCHEMA = f"""
    BEGIN IMMEDIATE;
    CREATE TABLE maps (
        key INTEGER PRIMARY KEY AUTOINCREMENT,  -- the order in which they came
        id TEXT NOT NULL UNIQUE,
        message BLOB NOT NULL,
        taken_at REAL NOT NULL,  -- by the clock of this file
        failures INTEGER NOT NULL DEFAULT 0,
        aside INTEGER NOT NULL DEFAULT 0
    );
    CREATE INDEX maps_set_aside ON maps (key) WHERE aside;
    CREATE TABLE clock (seconds REAL NOT NULL);
    INSERT INTO clock VALUES (0);
    PRAGMA user_version = {_VERSION};
    COMMIT;
"""  # noqa: S608 - no input
_DROP_AT_ONCE = 64
_RETRY_AFTER_S = 5.0
_PRIMARY_CODE = 0xFF  # the other bits are the extended part of an error code
# The statements are valid, so a plain "error" means a file with other tables.
_DAMAGED = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_ERROR)


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
        damaged: number of files set aside since the spool was opened.
    """

    depth: int
    aside: int
    size: int

    def __init__(
        self,
        folder: Path,
        *,
        durable: bool,
        max_bytes: int,
        max_age_s: float,
        uptime: Callable[[], float] = uptime_s,
    ) -> None:
        """Open the spool, or create it.

        Args:
            folder: folder of its files; created with access for the owner only.
            durable: whether maps survive a loss of power.
            max_bytes: maximum total size of the maps; the oldest are dropped to stay within it.
            max_age_s: maximum age; older maps are dropped.
            uptime: the clock, in seconds.

        Raises:
            FailedPrecondition: another process uses it (SPOOL_IN_USE), or a later version created
                it (SPOOL_TOO_NEW).
            Unavailable: SPOOL_UNAVAILABLE; the folder is not usable.
            Overloaded: UPLINK_FULL; the disk is full.
        """
        self._folder = folder
        self._durable = durable
        self._max_bytes = max_bytes
        self._max_age_s = max_age_s
        self._uptime = uptime
        self.damaged = 0
        try:
            _make_folder(folder)
            self._lock = _lock(folder)
        except OSError as error:
            raise _unavailable(folder, error) from error
        try:
            with self._translated():
                self._open_or_begin_anew()
        except BaseException:
            self._lock.close()
            raise

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
        return self._try_twice(lambda: self._change(take, remove))

    def read(self, *, after: int, most: int) -> list[SpooledMap]:
        """Read up to `most` maps with keys above `after`, oldest first, without those set aside."""
        return self._try_twice(
            lambda: self._read("NOT aside AND key > ? ORDER BY key LIMIT ?", (after, most))
        )

    def oldest_aside(self, *, after: int = 0) -> SpooledMap | None:
        """The oldest map set aside with a key above `after`."""
        found = self._try_twice(
            lambda: self._read("aside AND key > ? ORDER BY key LIMIT 1", (after,))
        )
        return found[0] if found else None

    def blame(self, id_: str, *, aside_after: int) -> SpooledMap | None:
        """Count a failure of a map, and set it aside after `aside_after`; None: no such map."""
        return self._try_twice(lambda: self._blame(id_, aside_after))

    def tidy(self) -> Dropped:
        """Drop expired maps and erase removed ones from disk; call it regularly."""
        return self._try_twice(self._tidy)

    def close(self) -> None:
        """Tidy up, close the file and release the folder."""
        try:
            with self._translated():
                self._tidy()
        except CompactfaceError as error:
            _log.warning("spool_not_tidied", reason=error.reason, message=error.message)
        finally:
            self._database.close()
            self._lock.close()

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
            self._count()
            raise

    def _try_twice(self, work: Callable[[], T]) -> T:
        """Call `work`; if the file turns out to be damaged, replace it and call again."""
        with self._translated():
            try:
                return work()
            except sqlite3.DatabaseError as error:
                if not _is_damaged(error):
                    raise
                self._begin_anew(error)
                return work()

    def _open_or_begin_anew(self) -> None:
        try:
            self._open()
        except sqlite3.DatabaseError as error:
            if not _is_damaged(error):
                raise
            self._begin_anew(error)

    def _begin_anew(self, error: sqlite3.Error) -> None:
        """Set a damaged file aside and create a new one."""
        self._database.close()
        for suffix in _SUFFIXES:
            damaged = self._folder / f"{FILE}{suffix}"
            aside = self._folder / f"{SET_ASIDE}{suffix}"
            aside.unlink(missing_ok=True)
            if damaged.exists():
                damaged.replace(aside)
        self.damaged += 1
        _log.error("spool_damaged", set_aside=str(self._folder / SET_ASIDE), error=str(error))
        self._open()

    def _open(self) -> None:
        path = self._folder / FILE
        os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))  # SQLite's log inherits the mode
        for suffix in _SUFFIXES:
            make_private(path.with_name(f"{path.name}{suffix}"))
        self._database = sqlite3.connect(
            path, isolation_level=None, check_same_thread=False, timeout=0
        )
        for pragma in (
            "locking_mode = EXCLUSIVE",
            "journal_mode = WAL",
            f"synchronous = {'FULL' if self._durable else 'NORMAL'}",
            "secure_delete = ON",
            "temp_store = MEMORY",
        ):
            self._database.execute(f"PRAGMA {pragma}").close()
        self._check()
        _sync_folder(self._folder)
        (clock,) = self._database.execute(
            "SELECT max(coalesce((SELECT max(seconds) FROM clock), 0), "
            "coalesce((SELECT max(taken_at) FROM maps), 0))"
        ).fetchone()
        self._ahead_s = float(clock) - self._uptime()
        self._count()

    def _check(self) -> None:
        """Reject a damaged file or one of a later version; initialize an empty one."""
        (version,) = self._database.execute("PRAGMA user_version").fetchone()
        if version > _VERSION:
            raise FailedPrecondition(
                "SPOOL_TOO_NEW",
                f"the spool in {self._folder} has version {version}; this program knows versions "
                f"up to {_VERSION}: run a newer program, or take the folder away",
            )
        (finding,) = self._database.execute("PRAGMA quick_check(1)").fetchone()
        if finding != "ok":
            raise _damage(finding)
        if not version:
            self._database.executescript(_SCHEMA)

    def _count(self) -> None:
        row = self._database.execute(
            "SELECT count(*), coalesce(sum(length(message)), 0), coalesce(sum(aside), 0) FROM maps"
        ).fetchone()
        self.depth, self.size, self.aside = row
        self._oldest = _oldest(self._database)

    def _now(self) -> float:
        """Total time in seconds for which the spool has been open."""
        return self._uptime() + self._ahead_s

    @contextmanager
    def _translated(self) -> Iterator[None]:
        """Translate SQLite's errors to domain errors."""
        try:
            yield
        except (sqlite3.Error, OSError) as error:
            if getattr(error, "sqlite_errorcode", 0) & _PRIMARY_CODE == sqlite3.SQLITE_FULL:
                raise Overloaded(
                    "UPLINK_FULL",
                    f"the disk of the spool in {self._folder} is full; maps for the recognizer "
                    "cannot be kept",
                    retry_after_s=_RETRY_AFTER_S,
                ) from error
            raise _unavailable(self._folder, error) from error


def _oldest(database: sqlite3.Connection) -> float | None:
    """When the oldest map was added, by the clock of the file."""
    (taken_at,) = database.execute(
        "SELECT (SELECT taken_at FROM maps ORDER BY key LIMIT 1)"
    ).fetchone()
    return None if taken_at is None else float(taken_at)


def _is_damaged(error: sqlite3.DatabaseError) -> bool:
    return getattr(error, "sqlite_errorcode", 0) & _PRIMARY_CODE in _DAMAGED


def _damage(finding: str) -> sqlite3.DatabaseError:
    error = sqlite3.DatabaseError(finding)
    error.sqlite_errorcode = sqlite3.SQLITE_CORRUPT
    return error


def _unavailable(folder: Path, error: Exception) -> Unavailable:
    return Unavailable(
        "SPOOL_UNAVAILABLE",
        f"the spool in {folder} cannot be used: {error}",
        retry_after_s=_RETRY_AFTER_S,
    )


def _make_folder(folder: Path) -> None:
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    _sync_folder(folder.parent)


def _sync_folder(folder: Path) -> None:
    """Sync the folder, so that file names survive a loss of power."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _lock(folder: Path) -> IO[bytes]:
    """Lock the folder; the lock ends with the process."""
    path = folder / f"{FILE}.lock"
    file = os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT, 0o600), "r+b")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.close()
        raise FailedPrecondition(
            "SPOOL_IN_USE", f"another process has the spool in {folder} open"
        ) from None
    make_private(path)
    return file
