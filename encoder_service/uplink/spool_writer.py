"""Uses the spool from the event loop: one thread, and one transaction for all that waits."""

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field

import structlog

from encoder_service.metrics import UplinkMetrics
from encoder_service.uplink.spool import Dropped, Spool, SpooledMap
from shared.errors import CompactfaceError, Unavailable
from shared.threads import in_thread_of

_log = structlog.get_logger(__name__)
_RETRY_S = 1.0


@dataclass(slots=True)
class _Changes:
    """Changes for the next transaction of the spool.

    Attributes:
        take: ids and messages.
        remove: ids, and the outcome to count for those that existed.
        done: resolved when the changes are on disk.
    """

    take: list[tuple[str, bytes]] = field(default_factory=list)
    remove: dict[str, Callable[[], None]] = field(default_factory=dict)
    done: list[asyncio.Future[None]] = field(default_factory=list)


class SpoolWriter:
    """Reads and writes a spool; changes that arrive during a transaction share the next one.

    Attributes:
        arrived: set after each transaction, and by users who want the waiting maps looked at.
        dropped: number of maps dropped without delivery since the start.
    """

    def __init__(self, spool: Spool, metrics: UplinkMetrics) -> None:
        """Create a writer of a spool, which is closed with it; `keep_writing` must run."""
        self.arrived = asyncio.Event()
        self.dropped = 0
        self._spool = spool
        self._metrics = metrics
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="spool")
        self._in_thread = in_thread_of(self._thread)
        self._changes = _Changes()
        self._changed = asyncio.Event()

    @property
    def depth(self) -> int:
        """Number of maps, including those set aside."""
        return self._spool.depth

    @property
    def aside(self) -> int:
        """Number of maps set aside."""
        return self._spool.aside

    @property
    def oldest_age_s(self) -> float | None:
        """Age of the oldest map, in seconds; None: there is none."""
        return self._spool.oldest_age_s

    async def take(self, maps: Sequence[tuple[str, bytes]]) -> None:
        """Add maps, given as ids and messages; on return they are on disk. Raises as the spool."""
        done = asyncio.get_running_loop().create_future()
        self._changes.take += maps
        self._changes.done.append(done)
        self._changed.set()
        await done

    def remove_soon(self, id_: str, counted: Callable[[], None]) -> None:
        """Remove a map with the next transaction; `counted` is called then, if it existed."""
        self._changes.remove[id_] = counted
        self._changed.set()

    async def remove(self, id_: str, counted: Callable[[], None]) -> None:
        """Remove a map now; after an error of the spool, with the next transaction."""
        with suppress(CompactfaceError):
            await self._write(_Changes(remove={id_: counted}))

    async def read(self, *, after: int, most: int) -> list[SpooledMap]:
        """As `Spool.read`."""
        return await self._in_thread(self._spool.read, after=after, most=most)

    async def oldest_aside(self, *, after: int) -> SpooledMap | None:
        """As `Spool.oldest_aside`."""
        return await self._in_thread(self._spool.oldest_aside, after=after)

    async def blame(self, id_: str, *, aside_after: int) -> SpooledMap | None:
        """As `Spool.blame`."""
        return await self._in_thread(self._spool.blame, id_, aside_after=aside_after)

    async def tidy(self) -> None:
        """As `Spool.tidy`; errors are left to the next `take`."""
        with suppress(CompactfaceError):
            self._count_dropped(await self._in_thread(self._spool.tidy))

    async def keep_writing(self, *, retry_s: float) -> None:
        """Write changes; after an error of the spool, wait up to a second before the next."""
        while True:
            await self._changed.wait()
            self._changed.clear()
            changes, self._changes = self._changes, _Changes()
            try:
                await self._write(changes)
            except CompactfaceError:
                await asyncio.sleep(min(_RETRY_S, retry_s))

    async def close(self) -> None:
        """Write what is left, and close the spool; `keep_writing` must have ended."""
        with suppress(CompactfaceError):  # maps that are not removed are sent twice
            await self._write(self._changes)
        if self.depth:
            _log.info("uplink_left_waiting", maps=self.depth, aside=self.aside)
        await self._in_thread(self._spool.close)
        self._thread.shutdown()

    async def _write(self, changes: _Changes) -> None:
        """Run one transaction of the spool and pass its outcome to the callers of `take`."""
        try:
            removed, dropped = await self._in_thread(
                self._spool.change, take=changes.take, remove=list(changes.remove)
            )
        except BaseException as error:
            self._changes.remove = changes.remove | self._changes.remove  # in the next one
            self._changed.set()
            for done in changes.done:
                if not done.done():
                    done.set_exception(_told(error))
            if isinstance(error, CompactfaceError):
                _log.error("spool_failed", reason=error.reason, message=error.message)
            raise
        self._count_dropped(dropped)
        for id_ in removed:
            changes.remove[id_]()
        for done in changes.done:
            if not done.done():  # the caller may have been cancelled
                done.set_result(None)
        self.arrived.set()

    def _count_dropped(self, dropped: Dropped) -> None:
        for reason, count in (("bytes", dropped.for_bytes), ("age", dropped.for_age)):
            if count:
                self.dropped += count
                self._metrics.dropped.labels(reason).inc(count)
                _log.error("uplink_maps_dropped", limit=reason, maps=count, waiting=self.depth)


def _told(error: BaseException) -> BaseException:
    """The error for callers of `take`, in place of the task's own cancellation."""
    if isinstance(error, Exception):
        return error
    return Unavailable("SHUTTING_DOWN", "the encoder is stopping and spools no more maps")
