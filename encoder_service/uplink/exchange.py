"""Exchanges maps of the spool for the recognizer's answers, over StreamMaps."""

import asyncio
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import grpc
import structlog

from compactface.client.stream_status import StreamStatus
from compactface.v1 import recognizer_pb2
from encoder_service.metrics import UplinkMetrics
from encoder_service.uplink.messages import (
    DISCARDED,
    INTERNAL,
    NO_MAPS_FAULT,
    NOT_YET,
    RETRYABLE,
    each_answer,
    message,
    streamed,
)
from encoder_service.uplink.peer import Peer, Terms, ask_terms
from encoder_service.uplink.spool import SpooledMap
from encoder_service.uplink.spool_writer import SpoolWriter
from shared.errors import CompactfaceError
from shared.serving.background import Background
from shared.serving.backoff import Backoff

_log = structlog.get_logger(__name__)

TASK = "uplink"  # in logs and metrics
_TRIES = 5
_WINDOW = 512  # maximum number of unacknowledged maps in flight


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


class Exchange:
    """Sends maps in order, and removes those that the recognizer acknowledges.

    A map on which the recognizer fails would block all others. After five attempts it is set aside.
    Maps set aside are retried, one per minute, while no others wait; once one succeeds, the rest
    follow immediately.
    """

    def __init__(
        self,
        peer: Peer,
        spool: SpoolWriter,
        *,
        metrics: UplinkMetrics,
        background: Background,
        pauses: Pauses,
    ) -> None:
        """Create an exchange; `keep_streaming` runs it. Arguments as of `SpoolingUplink`."""
        self._peer = peer
        self._spool = spool
        self._metrics = metrics
        self._background = background
        self._pauses = pauses
        self._backoff = Backoff(first_s=pauses.first_s, longest_s=pauses.longest_s)
        self._terms = Terms()
        self._in_flight: dict[str, SpooledMap] = {}  # oldest first
        self._sent_to = 0  # key of the last map sent
        self._careful = False  # one map per message, to find the one that fails
        self._aside_to = 0  # key of the last map set aside that was retried
        self._to_retry: SpooledMap | None = None  # that map, until it is sent
        self._retrying = ""  # its id, until it is acknowledged
        self._settled = 0

    @property
    def discards(self) -> bool:
        """Whether a connected recognizer reports that it stores no sightings."""
        return self._terms.retention_s == 0

    async def keep_streaming(self) -> None:
        """Reconnect whenever a connection ends, with delays that grow until a map is delivered."""
        while True:
            before, began = self._settled, time.monotonic()
            try:
                broken = await self._stream()
            except OSError as error:  # certificate files
                broken = _Broken(f"CERTIFICATES_UNREADABLE: {error}")
            except Exception:  # noqa: BLE001 - delivery must continue after any error
                self._background.failed(TASK)
                broken = _Broken("FAILED_HERE", self._oldest_in_flight())
            self._terms = Terms()
            if broken.culprit is not None:
                await self._blame(broken.culprit, broken.reason)
            # A load balancer may close an idle connection; this is no failure.
            lasted_s = time.monotonic() - began
            if self._settled > before or lasted_s >= self._pauses.longest_s:
                self._backoff.reset()
            self._metrics.breaks.inc()
            _log.warning("uplink_broken", reason=broken.reason, waiting=self._spool.depth)
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
                self._spool.arrived.clear()
                batch = await self._next_batch()
                if batch:
                    self._in_flight |= {item.id: item for item in batch}
                    await call.write(message(batch))
                else:
                    await self._spool.arrived.wait()

    async def _next_batch(self) -> list[SpooledMap]:
        """The oldest unsent maps, up to one message."""
        most = 1 if self._careful else self._terms.maps_per_message
        room = min(most, _WINDOW - len(self._in_flight))
        if room <= 0:
            return []
        batch: list[SpooledMap] = []
        with suppress(CompactfaceError):
            batch = await self._spool.read(after=self._sent_to, most=room)
        if batch:
            self._sent_to = batch[-1].key
        elif self._to_retry is not None:
            batch, self._to_retry = [self._to_retry], None
        return batch

    async def _receive(self, call: Any) -> _Broken:
        status = StreamStatus(call)
        try:
            async for answer in each_answer(call):
                if answer.error.code not in RETRYABLE:
                    await self._settle(answer)
                elif answer.error.code == INTERNAL:
                    return _Broken("RETRY_LATER", answer.sighting_id)
                else:
                    return _Broken("RETRY_LATER")
        except grpc.aio.AioRpcError as error:
            code = status.of(error).code()
            return _Broken(code.name, None if code in NO_MAPS_FAULT else self._oldest_in_flight())
        return _Broken("ENDED_BY_PEER")

    async def _settle(self, answer: recognizer_pb2.StreamMapsResponse) -> None:
        """Remove a map that was accepted, or rejected permanently."""
        item = self._in_flight.pop(answer.sighting_id, None)
        if item is None:
            return
        if answer.error.code == NOT_YET:
            await self._set_aside(item.id, answer.error.message, after=1)
            return
        self._settled += 1
        if answer.HasField("error"):
            counted: Callable[[], None] = self._metrics.refused.inc
            _log.error("uplink_map_refused", sighting_id=item.id, message=answer.error.message)
        elif answer.outcome == DISCARDED:
            counted = self._metrics.discarded.inc
        else:
            counted = self._metrics.acknowledged.inc
        if item.failures:
            self._careful = False
        if item.id == self._retrying:
            await self._spool.remove(item.id, counted)
            self._aside_to = 0
            await self._retry_next()
        else:
            self._spool.remove_soon(item.id, counted)
            self._spool.arrived.set()  # there is room in the window

    def _oldest_in_flight(self) -> str | None:
        """The map that the recognizer was processing, since it acknowledges in order."""
        return next(iter(self._in_flight), None)

    async def _blame(self, sighting_id: str, reason: str) -> None:
        """Count a failure of a map; set it aside after too many."""
        self._careful = True
        await self._set_aside(sighting_id, reason, after=_TRIES)

    async def _set_aside(self, sighting_id: str, reason: str, *, after: int) -> None:
        before = self._spool.aside
        with suppress(CompactfaceError):
            item = await self._spool.blame(sighting_id, aside_after=after)
            if item is None or item.failures < after:
                return
            if self._spool.aside > before:
                self._metrics.set_aside.inc()
            self._careful = False
            _log.error(
                "uplink_map_set_aside",
                sighting_id=item.id,
                request_id=streamed(item).request_id,
                reason=reason,
                failures=item.failures,
                aside=self._spool.aside,
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
            item = await self._spool.oldest_aside(after=self._aside_to)
            if item is None:
                self._aside_to = 0
                return
            self._aside_to = item.key
            self._retrying = item.id
            self._to_retry = item
            self._spool.arrived.set()
