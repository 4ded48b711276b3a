"""Asyncio clients, with the methods of the blocking ones.

::

    from compactface.client import aio

    async with aio.RecognizerClient("server:50052") as recognizer:
        answer = await recognizer.identify(face.map, max_fpir=0.001)
        async for each in recognizer.subjects.bulk_enroll(enrollments):
            ...

Calls return coroutines and streams return asynchronous iterators; streams accept synchronous and
asynchronous iterables. Cancelling the task cancels the call. Create and use a client within one
event loop.
"""

from types import TracebackType
from typing import Self, Unpack

from compactface.client.asynchronous import Asyncio
from compactface.client.channel import Options
from compactface.client.encoder import ENCODER, Encoder
from compactface.client.recognizer import RECOGNIZER, Recognizer

__all__ = ["EncoderClient", "RecognizerClient"]


class _Closing:
    """A client that can be closed, and is an asynchronous context manager."""

    _transport: Asyncio

    async def close(self) -> None:
        """Close the connection; calls in flight are cancelled."""
        await self._transport.channel.close(None)

    async def __aenter__(self) -> Self:
        """Return the client; the channel connects when first used."""
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Close."""
        await self.close()


class EncoderClient(_Closing, Encoder[Asyncio]):
    """A client of EncoderService.

    It connects when first used, and reconnects when the connection is lost.
    """

    def __init__(self, target: str, **options: Unpack[Options]) -> None:
        """Create a client, without connecting.

        Args:
            target: "host:port" of the service.
            options: see `Options`.

        Raises:
            OSError: a certificate file cannot be read.
        """
        super().__init__(Asyncio(ENCODER, target, **options))


class RecognizerClient(_Closing, Recognizer[Asyncio]):
    """A client of RecognizerService, GalleryService and AlertService.

    It connects when first used, and reconnects when the connection is lost.
    """

    def __init__(self, target: str, **options: Unpack[Options]) -> None:
        """Create a client, without connecting.

        Args:
            target: "host:port" of the service.
            options: see `Options`.

        Raises:
            OSError: a certificate file cannot be read.
        """
        super().__init__(Asyncio(RECOGNIZER, target, **options))
