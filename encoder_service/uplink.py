"""The uplink: maps on their way from the camera to the recognizer, over StreamMaps.

Unacknowledged maps are kept in memory: they survive a lost connection and a restart of the
recognizer, not one of the encoder.
"""

import asyncio
import random
from collections.abc import Sequence
from contextlib import suppress
from typing import Any, Protocol

import grpc
import structlog

from compactface.client.channel import Tls, open_async_channel
from compactface.v1 import recognizer_pb2, recognizer_pb2_grpc
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
_FIRST_PAUSE_S = 0.2
_LONGEST_PAUSE_S = 30.0
_RETRY_AFTER_S = 5.0


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
        self._unacknowledged: dict[str, recognizer_pb2.StreamMapsRequest] = {}  # oldest first
        self._unsent: asyncio.Queue[recognizer_pb2.StreamMapsRequest] = asyncio.Queue()
        self._settled = 0
        self._emptied = asyncio.Event()
        self._emptied.set()
        self._worker: asyncio.Task[None] | None = None
        metrics.depth.set_function(lambda: self.depth)

    @property
    def depth(self) -> int:
        """Maps taken and not yet acknowledged."""
        return len(self._unacknowledged)

    def start(self) -> None:
        """Begin to send; call it on the event loop."""
        self._worker = asyncio.create_task(self._keep_streaming())

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
            self._unacknowledged[item.sighting_id] = item
            self._unsent.put_nowait(item)
            self._emptied.clear()

    async def close(self, *, flush_s: float) -> None:
        """Wait up to `flush_s` seconds for acknowledgements, then let go."""
        try:
            await asyncio.wait_for(self._emptied.wait(), flush_s)
        except TimeoutError:
            _log.warning("uplink_unflushed", maps_lost=self.depth)
        if self._worker is not None:
            self._worker.cancel()
            await asyncio.gather(self._worker, return_exceptions=True)
        await self._channel.close(None)

    async def _keep_streaming(self) -> None:
        """Connect again whenever a connection ends; the pauses grow until a map gets through."""
        failures = 0
        while True:
            before = self._settled
            try:
                reason = await self._stream()
            except Exception:  # noqa: BLE001 - whatever it is, the maps must not be left lying
                _log.exception("uplink_failed")
                reason = "INTERNAL"
            failures = failures + 1 if self._settled == before else 0
            self._metrics.breaks.inc()
            _log.warning("uplink_broken", reason=reason, waiting=self.depth)
            longest = min(_LONGEST_PAUSE_S, _FIRST_PAUSE_S * 2**failures)
            await asyncio.sleep(random.uniform(0, longest))  # noqa: S311 - spreads the cameras

    async def _stream(self) -> str:
        """Send all that waits and all that comes until the connection ends; the reason why."""
        self._unsent = asyncio.Queue()
        for item in self._unacknowledged.values():
            self._unsent.put_nowait(item)
        stub: Any = recognizer_pb2_grpc.RecognizerServiceStub(self._channel)  # type: ignore[no-untyped-call]
        call = stub.StreamMaps(wait_for_ready=True)
        sender = asyncio.create_task(_send(call, self._unsent))
        try:
            async for answer in call:
                if answer.error.code in _RETRYABLE:
                    return "RETRY_LATER"
                self._settle(answer)
        except grpc.aio.AioRpcError as error:
            return error.code().name
        finally:
            sender.cancel()
            call.cancel()
        return "ENDED_BY_PEER"

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
        if not self._unacknowledged:
            self._emptied.set()


async def _send(call: Any, unsent: asyncio.Queue[recognizer_pb2.StreamMapsRequest]) -> None:
    # Whoever reads from the call learns why it ended.
    with suppress(grpc.aio.AioRpcError, asyncio.InvalidStateError):
        while True:
            await call.write(await unsent.get())
