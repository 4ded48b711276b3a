"""The uplink: maps on their way from the camera to the recognizer, over StreamMaps.

Unacknowledged maps are kept in memory: they survive a lost connection and a restart of the
recognizer, not one of the encoder.
"""

import asyncio
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Protocol

import grpc
import structlog

from compactface.v1 import recognizer_pb2, recognizer_pb2_grpc
from encoder_service.metrics import UplinkMetrics
from encoder_service.uplink.backoff import Backoff
from shared.errors import Overloaded
from shared.serving.background import Background

_log = structlog.get_logger(__name__)
_TASK = "uplink"

# The recognizer may take these back: send again. Any other refusal is final.
_RETRYABLE = frozenset(
    code.value[0]
    for code in (
        grpc.StatusCode.RESOURCE_EXHAUSTED,
        grpc.StatusCode.UNAVAILABLE,
        grpc.StatusCode.INTERNAL,
    )
)
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
_FIRST_PAUSE_S = 0.2
_LONGEST_PAUSE_S = 30.0
_ASIDE_EVERY_S = 60.0
_RETRY_AFTER_S = 5.0


class Uplink(Protocol):
    """Takes maps and sees to it that the recognizer gets them, in order, at least once."""

    @property
    def depth(self) -> int:
        """Maps taken and not yet acknowledged, those set aside included."""

    @property
    def aside(self) -> int:
        """Maps that the recognizer failed at again and again; see `MemoryUplink`."""

    def offer(self, maps: Sequence[recognizer_pb2.StreamMapsRequest]) -> None:
        """Take all of these maps, or none.

        Raises:
            Overloaded: UPLINK_FULL; too many wait already.
        """

    async def close(self, *, flush_s: float) -> None:
        """Wait up to `flush_s` seconds for acknowledgements, then let go."""


@dataclass(frozen=True, slots=True)
class _Broken:
    """How a connection ended.

    Attributes:
        reason: for the log.
        culprit: id of the map that the recognizer failed at; None: it was no map's fault.
    """

    reason: str
    culprit: str | None = None


class MemoryUplink:
    """An uplink that keeps what is not acknowledged in memory.

    Maps keep their order, so one that makes the recognizer fail would hold up all others. After
    five tries it is set aside. What is set aside is tried again, one map a minute, while nothing
    else waits; once one gets through the others follow at once.
    """

    def __init__(
        self,
        channel: grpc.aio.Channel,
        *,
        capacity: int,
        metrics: UplinkMetrics,
        background: Background,
        longest_pause_s: float = _LONGEST_PAUSE_S,
        aside_every_s: float = _ASIDE_EVERY_S,
    ) -> None:
        """Prepare; `start` begins to send.

        Args:
            channel: to the recognizer; it is closed with the uplink.
            capacity: most maps that may wait.
            metrics: records maps and failures.
            background: runs the work.
            longest_pause_s: between two tries to connect, in seconds.
            aside_every_s: between two tries of maps that were set aside, in seconds.
        """
        self._channel = channel
        self._capacity = capacity
        self._metrics = metrics
        self._background = background
        self._backoff = Backoff(first_s=_FIRST_PAUSE_S, longest_s=longest_pause_s)
        self._longest_pause_s = longest_pause_s
        self._aside_every_s = aside_every_s
        self._unacknowledged: dict[str, recognizer_pb2.StreamMapsRequest] = {}  # oldest first
        self._aside: dict[str, recognizer_pb2.StreamMapsRequest] = {}  # oldest first
        self._failures: dict[str, int] = {}  # of maps in either
        self._unsent: asyncio.Queue[recognizer_pb2.StreamMapsRequest] = asyncio.Queue()
        self._anything_sent = False
        self._settled = 0
        self._emptied = asyncio.Event()
        self._emptied.set()
        self._worker: asyncio.Task[None] | None = None
        metrics.depth.set_function(lambda: self.depth)
        metrics.aside.set_function(lambda: self.aside)

    @property
    def depth(self) -> int:
        """Maps taken and not yet acknowledged, those set aside included."""
        return len(self._unacknowledged) + len(self._aside)

    @property
    def aside(self) -> int:
        """Maps set aside."""
        return len(self._aside)

    def start(self) -> None:
        """Begin to send; call it on the event loop."""
        self._worker = self._background.keep(_TASK, self._keep_streaming)

    def offer(self, maps: Sequence[recognizer_pb2.StreamMapsRequest]) -> None:
        """Take all of these maps, or none; see `Uplink`."""
        if self.depth + len(maps) > self._capacity:
            raise Overloaded(
                "UPLINK_FULL",
                f"{self.depth} maps wait for the recognizer and {len(maps)} more came; "
                f"at most {self._capacity} may wait",
                retry_after_s=_RETRY_AFTER_S,
            )
        for item in maps:
            self._queue(item)

    async def close(self, *, flush_s: float) -> None:
        """Wait up to `flush_s` seconds for acknowledgements, then let go."""
        with suppress(TimeoutError):
            await asyncio.wait_for(self._emptied.wait(), flush_s)
        if self.depth:
            _log.warning("uplink_unflushed", maps_lost=self.depth, aside=self.aside)
        if self._worker is not None:
            self._worker.cancel()
            await asyncio.gather(self._worker, return_exceptions=True)
        await self._channel.close(None)

    def _queue(self, item: recognizer_pb2.StreamMapsRequest) -> None:
        self._unacknowledged[item.sighting_id] = item
        self._unsent.put_nowait(item)
        self._emptied.clear()

    async def _keep_streaming(self) -> None:
        """Connect again whenever a connection ends; the pauses grow until a map gets through."""
        while True:
            before, began = self._settled, time.monotonic()
            try:
                broken = await self._stream()
            except Exception:  # noqa: BLE001 - whatever it is, the maps must not be left lying
                self._background.failed(_TASK)
                broken = _Broken("FAILED_HERE", self._oldest_sent())
            if broken.culprit is not None:
                self._blame(broken.culprit, broken.reason)
            # An idle connection that a balancer cuts gets nothing through, and is no failure.
            lasted_s = time.monotonic() - began
            if self._settled > before or lasted_s >= self._longest_pause_s:
                self._backoff.reset()
            self._metrics.breaks.inc()
            _log.warning("uplink_broken", reason=broken.reason, waiting=self.depth)
            await asyncio.sleep(self._backoff.pause_s())

    async def _stream(self) -> _Broken:
        """Send all that waits and all that comes until the connection ends."""
        self._unsent = asyncio.Queue()
        for item in self._unacknowledged.values():
            self._unsent.put_nowait(item)
        self._anything_sent = False
        stub: Any = recognizer_pb2_grpc.RecognizerServiceStub(self._channel)  # type: ignore[no-untyped-call]
        call = stub.StreamMaps(wait_for_ready=True)
        try:
            async with asyncio.TaskGroup() as tasks:  # if one fails, all end
                helpers = [tasks.create_task(self._send(call)), tasks.create_task(self._retry())]
                broken = await self._receive(call)
                for helper in helpers:
                    helper.cancel()
        finally:
            call.cancel()
        return broken

    async def _send(self, call: Any) -> None:
        # Whoever reads from the call learns why it ended.
        with suppress(grpc.aio.AioRpcError, asyncio.InvalidStateError):
            while True:
                item = await self._unsent.get()
                self._anything_sent = True
                await call.write(item)

    async def _receive(self, call: Any) -> _Broken:
        try:
            async for answer in call:
                if answer.error.code not in _RETRYABLE:
                    self._settle(answer)
                elif answer.error.code == grpc.StatusCode.INTERNAL.value[0]:
                    return _Broken("RETRY_LATER", answer.sighting_id)
                else:
                    return _Broken("RETRY_LATER")
        except grpc.aio.AioRpcError as error:
            code = error.code()
            return _Broken(code.name, None if code in _NO_MAPS_FAULT else self._oldest_sent())
        return _Broken("ENDED_BY_PEER")

    def _settle(self, answer: recognizer_pb2.StreamMapsResponse) -> None:
        """Forget a map that was taken, or refused for good."""
        if self._unacknowledged.pop(answer.sighting_id, None) is None:
            return
        self._settled += 1
        if answer.HasField("error"):
            self._metrics.refused.inc()
            _log.error(
                "uplink_map_refused", sighting_id=answer.sighting_id, message=answer.error.message
            )
        else:
            self._metrics.acknowledged.inc()
        if self._failures.pop(answer.sighting_id, 0) >= _TRIES:
            self._take_back()
        self._tell_if_empty()

    def _oldest_sent(self) -> str | None:
        """The map that the recognizer was about to answer: it takes them in order."""
        return next(iter(self._unacknowledged), None) if self._anything_sent else None

    def _blame(self, sighting_id: str, reason: str) -> None:
        """Count a failure of a map; set it aside after too many."""
        if sighting_id not in self._unacknowledged:
            return
        failures = self._failures.get(sighting_id, 0) + 1
        self._failures[sighting_id] = failures
        if failures < _TRIES:
            return
        if failures == _TRIES:
            self._metrics.set_aside.inc()
        self._aside[sighting_id] = self._unacknowledged.pop(sighting_id)
        _log.error(
            "uplink_map_set_aside",
            sighting_id=sighting_id,
            request_id=self._aside[sighting_id].request_id,
            reason=reason,
            failures=failures,
            aside=self.aside,
        )
        self._tell_if_empty()

    async def _retry(self) -> None:
        """Try what was set aside again, now and then."""
        while True:
            await asyncio.sleep(self._aside_every_s)
            self._take_back()

    def _take_back(self) -> None:
        """Send the oldest map that was set aside, unless others wait."""
        if self._aside and not self._unacknowledged:
            self._queue(self._aside.pop(next(iter(self._aside))))

    def _tell_if_empty(self) -> None:
        if not self._unacknowledged:
            self._emptied.set()
