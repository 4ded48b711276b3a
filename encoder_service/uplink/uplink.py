"""The uplink: maps on their way from the camera to the recognizer, over StreamMaps.

Unacknowledged maps are in the spool, on disk: they survive a lost connection, and a restart of the
recognizer and of the encoder. A map that was acknowledged just before a crash is sent once more;
the recognizer knows it by its id.
"""

import asyncio
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, ParamSpec, Protocol, TypeVar

import grpc
import structlog

from compactface.v1 import recognizer_pb2
from encoder_service.metrics import UplinkMetrics
from encoder_service.uplink.peer import Peer, Terms, ask_terms
from encoder_service.uplink.spool import Dropped, Spool, SpooledMap
from shared.errors import CompactfaceError
from shared.serving.background import Background
from shared.serving.backoff import Backoff

P = ParamSpec("P")
T = TypeVar("T")

_log = structlog.get_logger(__name__)
_TASK = "uplink"

# The recognizer may take these back: send again. Any other refusal but one is final.
_RETRYABLE = frozenset(
    code.value[0]
    for code in (
        grpc.StatusCode.RESOURCE_EXHAUSTED,
        grpc.StatusCode.UNAVAILABLE,
        grpc.StatusCode.INTERNAL,
    )
)
_INTERNAL = grpc.StatusCode.INTERNAL.value[0]
_NOT_YET = grpc.StatusCode.FAILED_PRECONDITION.value[0]  # its decoder may come with the next model
# A recognizer that is away, busy, or not for us fails whatever is sent to it. Only what ends a
# call in another way may lie in the map that it was about to answer.
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
_WINDOW = 512  # maps sent and not yet acknowledged
_DISCARDED = recognizer_pb2.StreamMapsResponse.OUTCOME_DISCARDED


class Fate(Enum):
    """What became of maps that were offered."""

    SPOOLED = "spooled"
    """They are on disk, and will reach the recognizer."""
    DISCARDED = "discarded"
    """They were let go, since the recognizer keeps no sightings."""


class Uplink(Protocol):
    """Takes maps and sees to it that the recognizer gets them, in order, at least once."""

    @property
    def depth(self) -> int:
        """Maps taken and not yet acknowledged, those set aside included."""

    @property
    def aside(self) -> int:
        """Maps that the recognizer failed at again and again; see `SpoolingUplink`."""

    @property
    def oldest_age_s(self) -> float | None:
        """Age of the oldest of them in seconds; None: none waits."""

    @property
    def dropped(self) -> int:
        """Maps dropped, undelivered, since it started."""

    @property
    def discards(self) -> bool:
        """Whether the recognizer says that it keeps no sightings."""

    async def offer(self, maps: Sequence[recognizer_pb2.StreamedMap]) -> Fate:
        """Take all of these maps, or none; those taken are on disk on return.

        Raises:
            Overloaded: UPLINK_FULL; the disk is full.
            Unavailable: SPOOL_UNAVAILABLE.
        """

    async def close(self, *, flush_s: float) -> None:
        """Wait up to `flush_s` seconds for acknowledgements; what still waits stays on disk."""


@dataclass(frozen=True, slots=True)
class Pauses:
    """How long an uplink waits for what, in seconds.

    Attributes:
        first_s: before the second try to connect, at most; the pauses double from there.
        longest_s: between two tries to connect.
        aside_s: between two tries of maps that were set aside.
        tidy_s: between two looks at what is too old, at certificates, and, while it keeps no
            sightings, at the recognizer's word.
    """

    first_s: float = 0.2
    longest_s: float = 30.0
    aside_s: float = 60.0
    tidy_s: float = 10.0


@dataclass(frozen=True, slots=True)
class _Broken:
    """How a connection ended.

    Attributes:
        reason: for the log.
        culprit: id of the map that the recognizer failed at; None: it was no map's fault.
    """

    reason: str
    culprit: str | None = None


@dataclass(slots=True)
class _Changes:
    """What the next transaction of the spool is to bring.

    Attributes:
        take: ids and messages.
        remove: ids, and what to count where they were there.
        done: resolved when it is on disk.
    """

    take: list[tuple[str, bytes]] = field(default_factory=list)
    remove: dict[str, Callable[[], None]] = field(default_factory=dict)
    done: list[asyncio.Future[None]] = field(default_factory=list)


class SpoolingUplink:
    """An uplink that keeps what is not acknowledged in a spool.

    Maps keep their order, so one that makes the recognizer fail would hold up all others. After
    five tries it is set aside. What is set aside is tried again, one map a minute, while nothing
    else waits; once one gets through the others follow at once.
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
        """Prepare; `start` begins to send.

        Args:
            peer: the recognizer; it is closed with the uplink.
            spool: it is closed with the uplink.
            metrics: records maps and failures.
            background: runs the work.
            pauses: how long to wait for what.
        """
        self._peer = peer
        self._spool = spool
        self._metrics = metrics
        self._background = background
        self._pauses = pauses = pauses or Pauses()
        self._backoff = Backoff(first_s=pauses.first_s, longest_s=pauses.longest_s)
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="spool")
        self._changes = _Changes()
        self._changed = asyncio.Event()
        self._arrived = asyncio.Event()  # maps to send, or room to send them
        self._terms = Terms()
        self._in_flight: dict[str, SpooledMap] = {}  # oldest first
        self._sent_to = 0  # key of the last map that was sent
        self._careful = False  # one map a message, to tell which one does harm
        self._aside_to = 0  # key of the last map set aside that was tried again
        self._to_retry: SpooledMap | None = None  # it, until it is sent
        self._retrying = ""  # its id, until it is answered
        self._settled = 0
        self._dropped = 0
        self._workers: list[asyncio.Task[None]] = []
        metrics.show(spool, discards=lambda: self.discards)

    @property
    def depth(self) -> int:
        """Maps taken and not yet acknowledged, those set aside included."""
        return self._spool.depth

    @property
    def aside(self) -> int:
        """Maps set aside."""
        return self._spool.aside

    @property
    def oldest_age_s(self) -> float | None:
        """Age of the oldest map that waits, in seconds; None: none does."""
        return self._spool.oldest_age_s

    @property
    def dropped(self) -> int:
        """Maps dropped, undelivered, since it started."""
        return self._dropped

    @property
    def discards(self) -> bool:
        """Whether the recognizer, as long as it is connected, says that it keeps no sightings."""
        return self._terms.retention_s == 0

    def start(self) -> None:
        """Begin to send; call it on the event loop."""
        if self.depth:
            _log.info("uplink_goes_on", waiting=self.depth, oldest_s=round(self.oldest_age_s or 0))
        keep = self._background.keep
        self._workers = [
            keep("spool", self._keep_writing),
            keep("spool tidying", self._keep_tidying),
            keep(_TASK, self._keep_streaming),
        ]

    async def offer(self, maps: Sequence[recognizer_pb2.StreamedMap]) -> Fate:
        """Take all of these maps, or none; see `Uplink`."""
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
        """Wait up to `flush_s` seconds for acknowledgements; what still waits stays on disk."""
        with suppress(TimeoutError):
            async with asyncio.timeout(flush_s):
                while self.depth > self.aside:  # noqa: ASYNC110 - it ends in a moment
                    await asyncio.sleep(0.01)
        for worker in self._workers:
            worker.cancel()
        await asyncio.gather(*self._workers, return_exceptions=True)
        with suppress(CompactfaceError):  # what it does not forget comes twice
            await self._write(self._changes)
        if self.depth:
            _log.info("uplink_left_waiting", maps=self.depth, aside=self.aside)
        await self._in_thread(self._spool.close)
        self._thread.shutdown()
        await self._peer.close()

    async def _in_thread(self, call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run a call of the spool in its thread."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._thread, lambda: call(*args, **kwargs))

    async def _keep_writing(self) -> None:
        """Bring changes to disk, those that come meanwhile together."""
        while True:
            await self._changed.wait()
            self._changed.clear()
            changes, self._changes = self._changes, _Changes()
            try:
                await self._write(changes)
            except CompactfaceError:
                await asyncio.sleep(min(1.0, self._pauses.longest_s))

    async def _write(self, changes: _Changes) -> None:
        """One transaction of the spool; who offered learns what came of it."""
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
            if not done.done():  # whoever waited for it may have gone
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
            with suppress(CompactfaceError):  # who offers a map learns of it
                self._count_dropped(await self._in_thread(self._spool.tidy))

    async def _keep_streaming(self) -> None:
        """Connect again whenever a connection ends; the pauses grow until a map gets through."""
        while True:
            before, began = self._settled, time.monotonic()
            try:
                broken = await self._stream()
            except OSError as error:  # of the certificates
                broken = _Broken(f"CERTIFICATES_UNREADABLE: {error}")
            except Exception:  # noqa: BLE001 - whatever it is, the maps must not be left lying
                self._background.failed(_TASK)
                broken = _Broken("FAILED_HERE", self._oldest_in_flight())
            self._terms = Terms()
            if broken.culprit is not None:
                await self._blame(broken.culprit, broken.reason)
            # An idle connection that a balancer cuts gets nothing through, and is no failure.
            lasted_s = time.monotonic() - began
            if self._settled > before or lasted_s >= self._pauses.longest_s:
                self._backoff.reset()
            self._metrics.breaks.inc()
            _log.warning("uplink_broken", reason=broken.reason, waiting=self.depth)
            await asyncio.sleep(self._backoff.pause_s())

    async def _stream(self) -> _Broken:
        """Send all that waits and all that comes until the connection ends."""
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
        """Ask for the recognizer's terms, and stream by them."""
        try:
            self._agree_to(await ask_terms(stub, self._peer.metadata))
        except grpc.aio.AioRpcError as error:
            return _Broken(error.code().name)
        call = stub.StreamMaps(metadata=self._peer.metadata, wait_for_ready=True)
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
        """End the connection when credentials change; see whether sightings are kept again."""
        while True:
            await asyncio.sleep(self._pauses.tidy_s)
            if self._peer.outdated():
                return _Broken("CREDENTIALS_CHANGED")
            if self.discards:
                with suppress(grpc.aio.AioRpcError):
                    self._agree_to(await ask_terms(stub, self._peer.metadata))

    async def _send(self, call: Any) -> None:
        # Whoever reads from the call learns why it ended.
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
        """The oldest maps that were not sent yet, as many as one message may hold."""
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
            async for answer in call:
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
        """Forget a map that was taken, or refused for good."""
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
        """The map that the recognizer was about to answer: it takes them in order."""
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
        """Try what was set aside again, now and then."""
        while True:
            await asyncio.sleep(self._pauses.aside_s)
            await self._retry_next()

    async def _retry_next(self) -> None:
        """Send the next map that was set aside, unless others wait."""
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
    """What somebody who waits for a map is told; never that the task itself was cancelled."""
    return error if isinstance(error, Exception) else ConnectionAbortedError("the uplink is closed")


def _streamed(item: SpooledMap) -> recognizer_pb2.StreamedMap:
    return recognizer_pb2.StreamedMap.FromString(item.message)


def _message(batch: Sequence[SpooledMap]) -> recognizer_pb2.StreamMapsRequest:
    """Several maps in one message; one in a form that older recognizers know, too."""
    if len(batch) > 1:
        return recognizer_pb2.StreamMapsRequest(maps=map(_streamed, batch))
    return recognizer_pb2.StreamMapsRequest.FromString(batch[0].message)  # the same fields
