"""The uplink: sends maps from the encoder to the recognizer over StreamMaps.

Unacknowledged maps are in the spool on disk, so they survive a lost connection, and restarts of
recognizer and encoder. A map acknowledged just before a crash is sent again; the recognizer
recognizes it by its id.
"""

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from enum import Enum
from typing import Protocol

import structlog

from compactface.v1 import recognizer_pb2
from encoder_service.metrics import UplinkMetrics
from encoder_service.uplink.exchange import TASK, Exchange, Pauses
from encoder_service.uplink.peer import Peer
from encoder_service.uplink.spool import Spool
from encoder_service.uplink.spool_writer import SpoolWriter
from shared.serving.background import Background

_log = structlog.get_logger(__name__)


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


class SpoolingUplink:
    """An uplink that stores unacknowledged maps in a spool; see `Exchange`."""

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
        self._spool = SpoolWriter(spool, metrics)
        self._metrics = metrics
        self._background = background
        self._pauses = pauses or Pauses()
        self._exchange = Exchange(
            peer, self._spool, metrics=metrics, background=background, pauses=self._pauses
        )
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
        return self._spool.dropped

    @property
    def discards(self) -> bool:
        """Whether a connected recognizer reports that it stores no sightings."""
        return self._exchange.discards

    def start(self) -> None:
        """Start sending; call it on the event loop."""
        if self.depth:
            _log.info("uplink_goes_on", waiting=self.depth, oldest_s=round(self.oldest_age_s or 0))
        keep = self._background.keep
        self._workers = [
            keep("spool", self._keep_writing),
            keep("spool tidying", self._keep_tidying),
            keep(TASK, self._exchange.keep_streaming),
        ]

    async def offer(self, maps: Sequence[recognizer_pb2.StreamedMap]) -> Fate:
        """Store all of these maps, or none; see `Uplink`."""
        if self.discards:
            self._metrics.discarded.inc(len(maps))
            return Fate.DISCARDED
        if maps:
            await self._spool.take([(item.sighting_id, item.SerializeToString()) for item in maps])
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
        await self._spool.close()
        await self._peer.close()

    async def _keep_writing(self) -> None:
        await self._spool.keep_writing(retry_s=self._pauses.longest_s)

    async def _keep_tidying(self) -> None:
        while True:
            await asyncio.sleep(self._pauses.tidy_s)
            await self._spool.tidy()
