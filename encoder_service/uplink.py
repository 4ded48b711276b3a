"""The uplink: maps on their way from the camera to the recognizer, over StreamMaps.

This first form keeps unacknowledged maps in memory: they survive a lost connection and a
restart of the recognizer, not one of the encoder. A durable spool takes its place behind
the same three methods.
"""

import asyncio
from collections import OrderedDict
from collections.abc import AsyncIterator, Sequence
from typing import Protocol

import grpc
import structlog
from compactface.client.channel import Tls, open_async_channel
from compactface.v1 import recognizer_pb2, recognizer_pb2_grpc
from tenacity import AsyncRetrying, RetryCallState, retry_if_exception_type, wait_random_exponential

from encoder_service.metrics import UplinkMetrics
from shared.errors import Overloaded

_log = structlog.get_logger(__name__)

# The recognizer may take these back: send again. Any other refusal is final.
_RETRYABLE = frozenset(
    code.value[0]
    for code in (
        grpc.StatusCode.RESOURCE_EXHAUSTED,
        grpc.StatusCode.UNAVAILABLE,
        grpc.StatusCode.INTERNAL,
    )
)
_LONGEST_BACKOFF_S = 30.0


class Uplink(Protocol):
    """Takes maps and sees to it that the recognizer gets them, in order, at least once."""

    @property
    def depth(self) -> int:
        """Maps taken and not yet acknowledged."""

    def offer(self, maps: Sequence[recognizer_pb2.StreamMapsRequest]) -> None:
        """Take all of these maps, or none.

        Raises:
            Overloaded: UPLINK_FULL; too many wait already.
        """

    async def close(self, *, flush_s: float) -> None:
        """Wait up to `flush_s` seconds for acknowledgements, then let go."""


class _RetryLater(Exception):  # noqa: N818 - a signal to the loop, not an error
    """The recognizer asked for a map again."""


class MemoryUplink:
    """An uplink that keeps what is not acknowledged in memory."""

    def __init__(
        self, target: str, *, tls: Tls | None, capacity: int, metrics: UplinkMetrics
    ) -> None:
        """Prepare; `start` begins to send.

        Args:
            target: "host:port" of the recognizer.
            tls: certificates; None: plain text.
            capacity: most maps that may wait.
            metrics: is told what happens.
        """
        self._channel = open_async_channel(target, tls=tls)
        self._capacity = capacity
        self._metrics = metrics
        self._waiting: OrderedDict[str, recognizer_pb2.StreamMapsRequest] = OrderedDict()
        self._arrived = asyncio.Event()
        self._emptied = asyncio.Event()
        self._emptied.set()
        self._worker: asyncio.Task[None] | None = None

    @property
    def depth(self) -> int:
        """Maps taken and not yet acknowledged."""
        return len(self._waiting)

    def start(self) -> None:
        """Begin to send; call it on the event loop."""
        self._worker = asyncio.create_task(self._keep_streaming())

    def offer(self, maps: Sequence[recognizer_pb2.StreamMapsRequest]) -> None:
        """Take all of these maps, or none; see `Uplink`."""
        if len(self._waiting) + len(maps) > self._capacity:
            raise Overloaded(
                "UPLINK_FULL",
                f"{len(self._waiting)} maps wait for the recognizer; at most {self._capacity} may",
                retry_after_s=5.0,
            )
        for item in maps:
            self._waiting[item.sighting_id] = item
        self._arrived.set()
        self._note_depth()

    async def close(self, *, flush_s: float) -> None:
        """Wait up to `flush_s` seconds for acknowledgements, then let go."""
        try:
            await asyncio.wait_for(self._emptied.wait(), flush_s)
        except TimeoutError:
            _log.warning("uplink_unflushed", maps_lost=len(self._waiting))
        if self._worker is not None:
            self._worker.cancel()
            await asyncio.gather(self._worker, return_exceptions=True)
        await self._channel.close()

    def _note_depth(self) -> None:
        self._metrics.depth.set(len(self._waiting))
        if self._waiting:
            self._emptied.clear()
        else:
            self._emptied.set()

    async def _keep_streaming(self) -> None:
        while True:  # back-off starts afresh after every connection that got something through
            async for attempt in AsyncRetrying(
                retry=retry_if_exception_type((grpc.aio.AioRpcError, _RetryLater)),
                wait=wait_random_exponential(multiplier=0.2, max=_LONGEST_BACKOFF_S),
                before_sleep=self._report_break,
            ):
                with attempt:
                    await self._stream()

    def _report_break(self, state: RetryCallState) -> None:
        error = state.outcome.exception() if state.outcome else None
        code = error.code().name if isinstance(error, grpc.aio.AioRpcError) else "RETRY_LATER"
        self._metrics.breaks.inc()
        _log.warning("uplink_broken", code=code, waiting=len(self._waiting))

    async def _stream(self) -> None:
        """One connection's worth: send everything that waits, drop what is acknowledged.

        Returns only if something was settled before the connection broke.
        """
        stub = recognizer_pb2_grpc.RecognizerServiceStub(self._channel)
        call = stub.StreamMaps(self._outgoing(), wait_for_ready=True)
        settled = False
        try:
            async for answer in call:
                self._settle(answer)
                settled = True
        except grpc.aio.AioRpcError:
            if not settled:
                raise
        finally:
            call.cancel()
        if not settled:
            raise _RetryLater  # the recognizer ends streams when it shuts down

    async def _outgoing(self) -> AsyncIterator[recognizer_pb2.StreamMapsRequest]:
        sent: set[str] = set()
        while True:
            self._arrived.clear()
            for sighting_id, item in list(self._waiting.items()):
                if sighting_id not in sent:
                    sent.add(sighting_id)
                    yield item
            sent &= self._waiting.keys()
            await self._arrived.wait()

    def _settle(self, answer: recognizer_pb2.StreamMapsResponse) -> None:
        if answer.HasField("error"):
            if answer.error.code in _RETRYABLE:
                raise _RetryLater
            self._metrics.refused.inc()
            _log.error(
                "uplink_map_refused", sighting_id=answer.sighting_id, message=answer.error.message
            )
        else:
            self._metrics.acknowledged.inc()
        self._waiting.pop(answer.sighting_id, None)
        self._note_depth()
