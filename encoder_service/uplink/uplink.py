"""The uplink: sends maps from the encoder to the recognizer over StreamMaps.

Unacknowledged maps are in the spool on disk, so they survive a lost connection, and restarts of
recognizer and encoder. A map acknowledged just before a crash is sent again; the recognizer
recognizes it by its id.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Protocol

import grpc
import structlog

from compactface.v1 import recognizer_pb2
from encoder_service.metrics import UplinkMetrics
from encoder_service.uplink.peer import Peer, Terms, ask_terms
from encoder_service.uplink.spool import Dropped, Spool, SpooledMap
from shared.errors import CompactfaceError, Unavailable
from shared.serving.background import Background
from shared.serving.backoff import Backoff
from shared.threads import in_thread_of

_log = structlog.get_logger(__name__)
_TASK = "uplink"

# The recognizer may accept these later: retry. Other rejections, but one, are final.
_RETRYABLE = frozenset(
    code.value[0]
    for code in (
        grpc.StatusCode.RESOURCE_EXHAUSTED,
        grpc.StatusCode.UNAVAILABLE,
        grpc.StatusCode.INTERNAL,
    )
)
_INTERNAL = grpc.StatusCode.INTERNAL.value[0]
_NOT_YET = grpc.StatusCode.FAILED_PRECONDITION.value[0]  # the next model may decode the map
# A recognizer that is unreachable, busy or misconfigured fails all maps. Other statuses may be
# caused by the map that it was about to acknowledge.
_NO_MAPS_FAULT = frozenset(
    {
        grpc.StatusCode.RESOURCE_EXHAUSTED,
        grpc.StatusCode.UNAVAILABLE,
        grpc.StatusCode.CANCELLED,
        grpc.StatusCode.DEADLINE_EXCEEDED,
        grpc.StatusCode.UNAUTHENTICATED,
        grpc.StatusCode.PERMISSION_DENIED,
        grpc.StatusCode.UNIMPLEMENTED,
    }
)
_TRIES = 5
_WINDOW = 512  # maximum number of unacknowledged maps in flight
_DISCARDED = recognizer_pb2.StreamMapsResponse.OUTCOME_DISCARDED


class Fate(Enum):
    """The outcome of offering maps."""

    SPOOLED = "spooled"
    """Stored on disk, for delivery to the recognizer."""
    DISCARDED = "discarded"
    """Discarded, since the recognizer stores no sightings."""


class Uplink(Protocol):
    """Delivers maps to the recognizer in order, at least once."""

    @property
    def depth(self) -> int:
        """Number of unacknowledged maps, including those set aside."""

    @property
    def aside(self) -> int:
        """Number of maps that repeatedly failed; see `SpoolingUplink`."""

    @property
    def oldest_age_s(self) -> float | None:
        """Age of the oldest unacknowledged map in seconds; None: there is none."""

    @property
    def dropped(self) -> int:
        """Number of maps dropped without delivery since the start."""

    @property
    def discards(self) -> bool:
        """Whether the recognizer reports that it stores no sightings."""

    async def offer(self, maps: Sequence[recognizer_pb2.StreamedMap]) -> Fate:
        """Store all of these maps, or none; on return they are on disk.

        Raises:
            Overloaded: UPLINK_FULL; the disk is full.
            Unavailable: SPOOL_UNAVAILABLE.
        """

    async def close(self, *, flush_s: float) -> None:
        """Wait up to `flush_s` seconds for acknowledgements; remaining maps stay on disk."""


@dataclass(frozen=True, slots=True)
class Pauses:
    """Delays of an uplink, in seconds.

    Attributes:
        first_s: maximum delay before the first reconnection; it doubles with each attempt.
        longest_s: maximum delay between connection attempts.
        aside_s: delay between retries of maps set aside.
        tidy_s: interval of checks for expired maps, changed certificates, and, while the recognizer
            stores no sightings, its limits.
    """

    first_s: float = 0.2
    longest_s: float = 30.0
    aside_s: float = 60.0
    tidy_s: float = 10.0


@dataclass(frozen=True, slots=True)
class _Broken:
    """How a connection ended.

    Attributes:
        reason: reason for the log.
        culprit: id of the map that the recognizer failed on; None: no map caused it.
    """

    reason: str
    culprit: str | None = None


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


class SpoolingUplink:
    """An uplink that stores unacknowledged maps in a spool.

    Maps are sent in order, so a map on which the recognizer fails would block all others. After
    five attempts it is set aside. Maps set aside are retried, one per minute, while no others wait;
    once one succeeds, the rest follow immediately.
    """

    def __init__(
        self,
        peer: Peer,
        spool: Spool,
        *,
        metrics: UplinkMetrics,
        background: Background,
        pauses: Pauses | None = None,
    ) -> None:
        """Create an uplink; `start` begins sending.

        Args:
            peer: the recognizer; closed with the uplink.
            spool: closed with the uplink.
            metrics: records maps and failures.
            background: runs the tasks.
            pauses: the delays.
        """
        self._peer = peer
        self._spool = spool
        self._metrics = metrics
        self._background = background
        self._pauses = pauses = pauses or Pauses()
        self._backoff = Backoff(first_s=pauses.first_s, longest_s=pauses.longest_s)
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="spool")
        self._in_thread = in_thread_of(self._thread)  # the spool's
        self._changes = _Changes()
        self._changed = asyncio.Event()
        self._arrived = asyncio.Event()  # maps to send, or room in the window
        self._terms = Terms()
        self._in_flight: dict[str, SpooledMap] = {}  # oldest first
        self._sent_to = 0  # key of the last map sent
        self._careful = False  # one map per message, to find the one that fails
        self._aside_to = 0  # key of the last map set aside that was retried
        self._to_retry: SpooledMap | None = None  # that map, until it is sent
        self._retrying = ""  # its id, until it is acknowledged
        self._settled = 0
        self._dropped = 0
        self._workers: list[asyncio.Task[None]] = []
        metrics.show(spool, discards=lambda: self.discards)

    @property
    def depth(self) -> int:
        """Number of unacknowledged maps, including those set aside."""
        return self._spool.depth

    @property
    def aside(self) -> int:
        """Number of maps set aside."""
        return self._spool.aside

    @property
    def oldest_age_s(self) -> float | None:
        """Age of the oldest unacknowledged map, in seconds; None: there is none."""
        return self._spool.oldest_age_s

    @property
    def dropped(self) -> int:
        """Number of maps dropped without delivery since the start."""
        return self._dropped

    @property
    def discards(self) -> bool:
        """Whether a connected recognizer reports that it stores no sightings."""
        return self._terms.retention_s == 0

    def start(self) -> None:
        """Start sending; call it on the event loop."""
        if self.depth:
            _log.info("uplink_goes_on", waiting=self.depth, oldest_s=round(self.oldest_age_s or 0))
        keep = self._background.keep
        self._workers = [
            keep("spool", self._keep_writing),
            keep("spool tidying", self._keep_tidying),
            keep(_TASK, self._keep_streaming),
        ]

    async def offer(self, maps: Sequence[recognizer_pb2.StreamedMap]) -> Fate:
        """Store all of these maps, or none; see `Uplink`."""
        if self.discards:
            self._metrics.discarded.inc(len(maps))
            return Fate.DISCARDED
        if maps:
            done = asyncio.get_running_loop().create_future()
            self._changes.take += [(item.sighting_id, item.SerializeToString()) for item in maps]
            self._changes.done.append(done)
            self._changed.set()
            await done
        return Fate.SPOOLED

    async def close(self, *, flush_s: float) -> None:
        """Wait up to `flush_s` seconds for acknowledgements; remaining maps stay on disk."""
        with suppress(TimeoutError):
            async with asyncio.timeout(flush_s):
                while self.depth > self.aside:  # noqa: ASYNC110 - brief
                    await asyncio.sleep(0.01)
        for worker in self._workers:
            worker.cancel()
        await asyncio.gather(*self._workers, return_exceptions=True)
        with suppress(CompactfaceError):  # maps that are not removed are sent twice
            await self._write(self._changes)
        if self.depth:
            _log.info("uplink_left_waiting", maps=self.depth, aside=self.aside)
        await self._in_thread(self._spool.close)
        self._thread.shutdown()
        await self._peer.close()

    async def _keep_writing(self) -> None:
        """Write changes to disk, batching those that arrive during a write."""
        while True:
            await self._changed.wait()
            self._changed.clear()
            changes, self._changes = self._changes, _Changes()
            try:
                await self._write(changes)
            except CompactfaceError:
                await asyncio.sleep(min(1.0, self._pauses.longest_s))

    async def _write(self, changes: _Changes) -> None:
        """Run one transaction of the spool and pass its outcome to the callers of `offer`."""
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
        self._arrived.set()

    def _count_dropped(self, dropped: Dropped) -> None:
        for reason, count in (("bytes", dropped.for_bytes), ("age", dropped.for_age)):
            if count:
                self._dropped += count
                self._metrics.dropped.labels(reason).inc(count)
                _log.error("uplink_maps_dropped", limit=reason, maps=count, waiting=self.depth)

    async def _keep_tidying(self) -> None:
        while True:
            await asyncio.sleep(self._pauses.tidy_s)
            with suppress(CompactfaceError):  # `offer` reports the error
                self._count_dropped(await self._in_thread(self._spool.tidy))

    async def _keep_streaming(self) -> None:
        """Reconnect whenever a connection ends, with delays that grow until a map is delivered."""
        while True:
            before, began = self._settled, time.monotonic()
            try:
                broken = await self._stream()
            except OSError as error:  # certificate files
                broken = _Broken(f"CERTIFICATES_UNREADABLE: {error}")
            except Exception:  # noqa: BLE001 - delivery must continue after any error
                self._background.failed(_TASK)
                broken = _Broken("FAILED_HERE", self._oldest_in_flight())
            self._terms = Terms()
            if broken.culprit is not None:
                await self._blame(broken.culprit, broken.reason)
            # A load balancer may close an idle connection; this is no failure.
            lasted_s = time.monotonic() - began
            if self._settled > before or lasted_s >= self._pauses.longest_s:
                self._backoff.reset()
            self._metrics.breaks.inc()
            _log.warning("uplink_broken", reason=broken.reason, waiting=self.depth)
            await asyncio.sleep(self._backoff.pause_s())

    async def _stream(self) -> _Broken:
        """Send waiting and new maps until the connection ends."""
        self._in_flight.clear()
        self._sent_to = 0
        self._to_retry, self._retrying = None, ""
        stub = await self._peer.open()
        work = [asyncio.create_task(self._exchange(stub)), asyncio.create_task(self._watch(stub))]
        try:
            done, _ = await asyncio.wait(work, return_when=asyncio.FIRST_COMPLETED)
            return await done.pop()
        finally:
            for task in work:
                task.cancel()
            await asyncio.gather(*work, return_exceptions=True)

    async def _exchange(self, stub: Any) -> _Broken:
        """Request the recognizer's limits, then stream."""
        try:
            self._agree_to(await ask_terms(stub, self._peer.metadata))
        except grpc.aio.AioRpcError as error:
            return _Broken(error.code().name)
        call = stub.StreamMaps(
            metadata=self._peer.metadata,
            wait_for_ready=True,
            # Maps are dense, but ids and times of several maps shrink by half.
            compression=grpc.Compression.Gzip,
        )
        try:
            async with asyncio.TaskGroup() as tasks:  # if one fails, all end
                helpers = [tasks.create_task(self._send(call)), tasks.create_task(self._retry())]
                broken = await self._receive(call)
                for helper in helpers:
                    helper.cancel()
        finally:
            call.cancel()
        return broken

    def _agree_to(self, terms: Terms) -> None:
        if terms.retention_s == 0 != self._terms.retention_s:
            _log.warning(
                "uplink_discards",
                message="the recognizer keeps no sightings, so that nothing is forwarded; give the "
                "collection of its setting stream_collection a sighting_retention",
            )
        self._terms = terms

    async def _watch(self, stub: Any) -> _Broken:
        """End the connection when credentials change; poll whether sightings are stored again."""
        while True:
            await asyncio.sleep(self._pauses.tidy_s)
            if self._peer.outdated():
                return _Broken("CREDENTIALS_CHANGED")
            if self.discards:
                with suppress(grpc.aio.AioRpcError):
                    self._agree_to(await ask_terms(stub, self._peer.metadata))

    async def _send(self, call: Any) -> None:
        # The reader of the call reports why it ended.
        with suppress(grpc.aio.AioRpcError, asyncio.InvalidStateError):
            while True:
                self._arrived.clear()
                batch = await self._next_batch()
                if batch:
                    self._in_flight |= {item.id: item for item in batch}
                    await call.write(_message(batch))
                else:
                    await self._arrived.wait()

    async def _next_batch(self) -> list[SpooledMap]:
        """The oldest unsent maps, up to one message."""
        most = 1 if self._careful else self._terms.maps_per_message
        room = min(most, _WINDOW - len(self._in_flight))
        if room <= 0:
            return []
        batch: list[SpooledMap] = []
        with suppress(CompactfaceError):
            batch = await self._in_thread(self._spool.read, after=self._sent_to, most=room)
        if batch:
            self._sent_to = batch[-1].key
        elif self._to_retry is not None:
            batch, self._to_retry = [self._to_retry], None
        return batch

    async def _receive(self, call: Any) -> _Broken:
        try:
            async for answer in _each_answer(call):
                if answer.error.code not in _RETRYABLE:
                    await self._settle(answer)
                elif answer.error.code == _INTERNAL:
                    return _Broken("RETRY_LATER", answer.sighting_id)
                else:
                    return _Broken("RETRY_LATER")
        except grpc.aio.AioRpcError as error:
            code = error.code()
            return _Broken(code.name, None if code in _NO_MAPS_FAULT else self._oldest_in_flight())
        return _Broken("ENDED_BY_PEER")

    async def _settle(self, answer: recognizer_pb2.StreamMapsResponse) -> None:
        """Remove a map that was accepted, or rejected permanently."""
        item = self._in_flight.pop(answer.sighting_id, None)
        if item is None:
            return
        if answer.error.code == _NOT_YET:
            await self._set_aside(item.id, answer.error.message, after=1)
            return
        self._settled += 1
        if answer.HasField("error"):
            counted: Callable[[], None] = self._metrics.refused.inc
            _log.error("uplink_map_refused", sighting_id=item.id, message=answer.error.message)
        elif answer.outcome == _DISCARDED:
            counted = self._metrics.discarded.inc
        else:
            counted = self._metrics.acknowledged.inc
        if item.failures:
            self._careful = False
        if item.id == self._retrying:
            with suppress(CompactfaceError):
                await self._write(_Changes(remove={item.id: counted}))
            self._aside_to = 0
            await self._retry_next()
        else:
            self._changes.remove[item.id] = counted
            self._changed.set()
            self._arrived.set()

    def _oldest_in_flight(self) -> str | None:
        """The map that the recognizer was processing, since it acknowledges in order."""
        return next(iter(self._in_flight), None)

    async def _blame(self, sighting_id: str, reason: str) -> None:
        """Count a failure of a map; set it aside after too many."""
        self._careful = True
        await self._set_aside(sighting_id, reason, after=_TRIES)

    async def _set_aside(self, sighting_id: str, reason: str, *, after: int) -> None:
        before = self.aside
        with suppress(CompactfaceError):
            item = await self._in_thread(self._spool.blame, sighting_id, aside_after=after)
            if item is None or item.failures < after:
                return
            if self.aside > before:
                self._metrics.set_aside.inc()
            self._careful = False
            _log.error(
                "uplink_map_set_aside",
                sighting_id=item.id,
                request_id=_streamed(item).request_id,
                reason=reason,
                failures=item.failures,
                aside=self.aside,
            )

    async def _retry(self) -> None:
        """Periodically retry maps set aside."""
        while True:
            await asyncio.sleep(self._pauses.aside_s)
            await self._retry_next()

    async def _retry_next(self) -> None:
        """Send the next map set aside, unless others wait."""
        self._retrying = ""
        if self._in_flight:
            return
        with suppress(CompactfaceError):
            item = await self._in_thread(self._spool.oldest_aside, after=self._aside_to)
            if item is None:
                self._aside_to = 0
                return
            self._aside_to = item.key
            self._retrying = item.id
            self._to_retry = item
            self._arrived.set()


def _told(error: BaseException) -> BaseException:
    """The error for callers of `offer`, in place of the task's own cancellation."""
    if isinstance(error, Exception):
        return error
    return Unavailable("SHUTTING_DOWN", "the encoder is stopping and spools no more maps")


def _streamed(item: SpooledMap) -> recognizer_pb2.StreamedMap:
    return recognizer_pb2.StreamedMap.FromString(item.message)


async def _each_answer(call: Any) -> AsyncIterator[recognizer_pb2.StreamMapsResponse]:
    """One answer per map, also where the recognizer answers the maps of a message together."""
    async for response in call:
        for answer in response.answers or (response,):
            yield answer


def _message(batch: Sequence[SpooledMap]) -> recognizer_pb2.StreamMapsRequest:
    """Build a message; a single map is in the format that older recognizers also support."""
    if len(batch) > 1:
        maps = map(_streamed, batch)
        return recognizer_pb2.StreamMapsRequest(maps=maps, answer_together=True)
    return recognizer_pb2.StreamMapsRequest.FromString(batch[0].message)  # same field numbers
