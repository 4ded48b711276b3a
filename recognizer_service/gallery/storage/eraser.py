"""Erases deleted bytes from disk in the background, in bounded steps.

Deleted bytes remain in two places: the write-ahead log until it is truncated, and stale copies in
the free space of pages (see `scrub`). A step truncates the log and scrubs the pages that were in
it; those are the pages written since the previous step, so all others are already clean. A step
holds the writer's lock for some tens of milliseconds; readers are not blocked.

The set of unclean pages is kept in memory. A row in the database marks that a process has it open.
If a process was killed, the next one finds the row and scrubs the whole file, also in steps.

Pages of an encrypted file cannot be changed in place: a reader or a crash would find half of one.
There a step with new erasures writes the whole file anew (VACUUM), followed by a long rest.
"""

import os
import sqlite3
import threading
import time
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, suppress
from pathlib import Path

import structlog
from sqlalchemy import Connection, delete, func, insert, select

from recognizer_service.gallery.storage import Prune, schema
from recognizer_service.gallery.storage.scrub import Scrubber, UnknownLayoutError, logged_pages
from shared.sqlite_files import errors, write_anew

PAGES_PER_STEP = 1024
_LOG_BYTES = 8 << 20  # a writer truncates a longer log
_MOST_UNCLEAN = 1 << 17  # tracked individually; beyond this the whole file is scrubbed
_PATIENCE_S = 0.1  # wait for readers of the log, while writers wait
_REST = 4  # pause after a step, as a multiple of its duration: leaves most of the time to writers
_SHORTEST_REST_S, _IDLE_REST_S, _FAILED_REST_S = 0.05, 0.5, 1.0
_REST_ANEW = 20  # pause after the whole file was written: writers wait a twentieth of the time
_LAST_STEPS_S = 3.0
_MOST_BYTES_LAST = 64 << 20  # of a file that is written anew on closing; it takes about 2 s

_notes = schema.erasures.c.key
_NOTE = insert(schema.erasures).values().returning(_notes)
_log = structlog.get_logger(__name__)


class Eraser:
    """The erasures of one file, and the thread that executes them.

    Args:
        path: path of the database.
        file: its file descriptor, see `Scrubber`.
        connect: opens a connection that does not wait for locks.
        encrypted: whether the pages are encrypted.
        exclusive: the writer's lock.
        reading: as `Database.reading`.
        writing: opens one transaction.
        forget: makes writers drop their page caches.
    """

    def __init__(
        self,
        path: Path,
        file: int,
        *,
        connect: Callable[[], sqlite3.Connection],
        encrypted: bool = False,
        exclusive: threading.Lock,
        reading: Callable[[], AbstractContextManager[Connection]],
        writing: Callable[[], AbstractContextManager[Connection]],
        forget: Callable[[], None],
    ) -> None:
        self._log_path = path.with_name(f"{path.name}-wal")
        self._file = file
        self._exclusive = exclusive
        self._reading, self._writing, self._forget = reading, writing, forget
        self._unclean = _Unclean()
        self._encrypted = encrypted
        self._written_anew = 0  # the last erasure that this covers
        self._next_anew = 0.0  # by the monotonic clock
        self._longest_log = _LOG_BYTES
        self._marked = False
        self._wake, self._stop = threading.Event(), threading.Event()
        self._done = threading.Condition()
        self._thread: threading.Thread | None = None
        self._prune: Prune = lambda _: False
        with writing() as connection:
            # The previous process was killed, or left work to do.
            unfinished = connection.scalar(select(func.count()).select_from(schema.erasures))
            if unfinished and not encrypted:
                self._unclean.add_whole_file()
            self._session = self.mark(connection)
        self._connection = connect()

    def begin(self, prune: Prune) -> None:
        """Start the thread."""
        self._prune = prune
        self._thread = threading.Thread(target=self._run, name="eraser", daemon=True)
        self._thread.start()
        self._wake.set()

    def mark(self, connection: Connection) -> int:
        """Record an erasure; see `Database.mark_erasure`."""
        key: int = connection.execute(_NOTE).scalar_one()
        self._marked = True
        return key

    def committed(self) -> None:
        """Handle a committed transaction; writers call it under the lock."""
        if self._marked:
            self._marked = False
            self._wake.set()
        self._keep_log_short()

    def is_done(self, erasure: int, *, wait_s: float) -> bool:
        """Return whether an erasure is done, waiting at most `wait_s` seconds."""
        with self._done:
            return self._done.wait_for(lambda: not self.pending(erasure), wait_s)

    def pending(self, last: int | None = None) -> int:
        """Return the number of unfinished erasures, up to number `last`."""
        query = select(func.count()).where(_notes != self._session)
        if last is not None:
            query = query.where(_notes <= last)
        with self._reading() as connection:
            return connection.scalar(query) or 0

    def _keep_log_short(self) -> None:
        try:
            size = self._log_path.stat().st_size
        except FileNotFoundError:
            return
        if size > self._longest_log:
            # A reader or a full disk may prevent truncation. Raise the limit, so that not every
            # writer retries; the commit is unaffected.
            self._longest_log = size + _LOG_BYTES
            with suppress(*errors()):
                if self._cut_log(patience_s=0):
                    self._longest_log = _LOG_BYTES
            self._wake.set()

    def close(self) -> None:
        """Finish small erasures and stop; the next process to open the file does the rest."""
        self._stop.set()
        self._wake.set()
        if self._thread:
            self._thread.join()
        self._finish()
        self._connection.close()

    def _finish(self) -> None:
        deadline = time.monotonic() + _LAST_STEPS_S
        try:
            while self._may_finish() and not self._step() and time.monotonic() < deadline:
                pass
            if not self._unclean and not self.pending():
                with self._exclusive, self._writing() as connection:
                    connection.execute(delete(schema.erasures))
        except Exception:  # noqa: BLE001 - closing continues; the next process finds the row
            _log.exception("erasure_failed")

    def _run(self) -> None:
        while not self._stop.is_set():
            if self._encrypted and self._stop.wait(self._next_anew - time.monotonic()):
                return
            begun = time.monotonic()
            try:
                done = self._step() if self._is_needed() else True
            except Exception:  # noqa: BLE001 - e.g. a full disk; a later attempt may succeed
                _log.exception("erasure_failed")
                self._stop.wait(_FAILED_REST_S)
                continue
            if done:
                self._wake.wait()
                self._wake.clear()
            elif self.pending():
                self._stop.wait(max(_REST * (time.monotonic() - begun), _SHORTEST_REST_S))
            else:
                self._stop.wait(_IDLE_REST_S)

    def _is_needed(self) -> bool:
        return bool(self._unclean or self.pending())

    def _may_finish(self) -> bool:
        size = os.fstat(self._file).st_size
        return not self._encrypted or size <= _MOST_BYTES_LAST or not self.pending()

    def _step(self) -> bool:
        """Execute one step; return whether nothing is left."""
        with self._exclusive:
            with self._writing() as connection:
                more = self._prune(connection)
                last = connection.scalar(select(func.max(_notes)))
            if not self._cut_log(patience_s=_PATIENCE_S):
                return False
            if self._encrypted:
                more = more or not self._renew(last)
            else:
                self._scrub()
            # SQLite drops its caches itself if the log was truncated, but not if it was empty.
            self._forget()
            more |= bool(self._unclean)
        os.fsync(self._file)
        if more:
            return False
        with self._exclusive, self._writing() as connection:
            done = (_notes <= last) & (_notes != self._session)
            connection.execute(delete(schema.erasures).where(done))
        with self._done:
            self._done.notify_all()
        return not self.pending()

    def _cut_log(self, *, patience_s: float) -> bool:
        """Checkpoint and truncate the log; return False if readers held it too long."""
        if not self._encrypted:
            self._unclean.add(logged_pages(self._log_path))
        deadline = time.monotonic() + patience_s
        while self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]:
            if time.monotonic() >= deadline:
                return False
            time.sleep(0.002)
        return True

    def _scrub(self) -> None:
        try:
            self._unclean.scrub_some(Scrubber(self._file))
        except UnknownLayoutError:
            if self._write_anew():
                self._unclean.clear()

    def _renew(self, last: int) -> bool:
        """Write an encrypted file anew, unless that covers erasure `last`; return if it does."""
        if last <= self._written_anew or not self.pending():
            return True
        begun = time.monotonic()
        try:
            log_is_cut = self._write_anew()
        finally:
            now = time.monotonic()
            self._next_anew = now + _REST_ANEW * (now - begun)
        self._written_anew = last
        return log_is_cut

    def _write_anew(self) -> bool:
        """Rewrite the file, all at once; return False if readers held the log too long."""
        if self._encrypted:
            write_anew(self._connection, self._log_path.parent)
        else:
            self._connection.execute("PRAGMA auto_vacuum = NONE")
            self._connection.execute("VACUUM")
        return self._cut_log(patience_s=_PATIENCE_S)


class _Unclean:
    """The pages that may hold stale copies: a set, or a range."""

    def __init__(self) -> None:
        self._pages: set[int] = set()
        self._rest = range(0)
        self._free: set[int] = set()
        self._whole_file = False

    def __bool__(self) -> bool:
        """Return whether there are any."""
        return bool(self._whole_file or self._rest or self._pages)

    def add(self, numbers: Iterable[int]) -> None:
        """Add pages that were written."""
        if self._whole_file:
            return
        numbers = set(numbers)
        self._free -= numbers
        self._pages.update(number for number in numbers if number not in self._rest)
        if len(self._pages) > _MOST_UNCLEAN:
            self.add_whole_file()

    def add_whole_file(self) -> None:
        """Add all pages."""
        self.clear()
        self._whole_file = True

    def clear(self) -> None:
        """Remove all pages."""
        self._pages, self._rest, self._free, self._whole_file = set(), range(0), set(), False

    def scrub_some(self, scrubber: Scrubber) -> None:
        """Scrub as many pages as one step may."""
        if self._whole_file:
            self._free = scrubber.free_pages()
            self._rest, self._whole_file = range(1, scrubber.pages + 1), False
        some = sorted(self._pages)[:PAGES_PER_STEP]
        scrubber.scrub(some)
        self._pages.difference_update(some)
        more = PAGES_PER_STEP - len(some)
        scrubber.scrub(self._rest[:more], free=self._free)
        self._rest = self._rest[more:]
