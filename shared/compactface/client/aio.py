"""Clients for asyncio, with the methods of the blocking ones.

::

    from compactface.client import aio

    async with aio.RecognizerClient("server:50052") as recognizer:
        answer = await recognizer.identify(face.map, max_fpir=0.001)
        async for each in recognizer.subjects.bulk_enroll(enrollments):
            ...

Calls return coroutines and streams asynchronous iterators; streams take both kinds of iterables.
Cancelling the task cancels the call. Make and use a client within one event loop.
"""

from types import TracebackType
from typing import Self, Unpack

from compactface.client.asynchronous import Asyncio
from compactface.client.channel import Options
from compactface.client.encoder import ENCODER, Encoder
from compactface.client.recognizer import RECOGNIZER, Recognizer

__all__ = ["EncoderClient", "RecognizerClient"]


class _Closing:
    """A client that is closed in the end, most simply as a context manager."""

    _transport: Asyncio

    async def close(self) -> None:
        """Give up the connection; calls in flight are cancelled."""
        await self._transport.channel.close(None)

    async def __aenter__(self) -> Self:
        """Nothing to prepare: the channel connects by itself."""
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

    It connects when it is first used, and again whenever the connection is lost.
    """

    def __init__(self, target: str, **options: Unpack[Options]) -> None:
        """Prepare; nothing is sent yet.

        Args:
            target: "host:port" of the service.
            options: see `Options`.

        Raises:
            OSError: a certificate cannot be read.
        """
        super().__init__(Asyncio(ENCODER, target, **options))


class RecognizerClient(_Closing, Recognizer[Asyncio]):
    """A client of RecognizerService, GalleryService and AlertService.

    It connects when it is first used, and again whenever the connection is lost.
    """

    def __init__(self, target: str, **options: Unpack[Options]) -> None:
        """Prepare; nothing is sent yet.

        Args:
            target: "host:port" of the service.
            options: see `Options`.

        Raises:
            OSError: a certificate cannot be read.
        """
        super().__init__(Asyncio(RECOGNIZER, target, **options))
