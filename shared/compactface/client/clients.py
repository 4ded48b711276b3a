"""Blocking clients."""

from types import TracebackType
from typing import Self, Unpack

from compactface.client.blocking import Blocking
from compactface.client.channel import Options
from compactface.client.encoder import ENCODER, Encoder
from compactface.client.recognizer import RECOGNIZER, Recognizer


class _Closing:
    """A client that is closed in the end, most simply as a context manager."""

    _transport: Blocking

    def close(self) -> None:
        """Give up the connection; calls in flight are cancelled."""
        self._transport.channel.close()

    def __enter__(self) -> Self:
        """Nothing to prepare: the channel connects by itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Close."""
        self.close()


class EncoderClient(_Closing, Encoder[Blocking]):
    """A client of EncoderService. Threads may share it.

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
        super().__init__(Blocking(ENCODER, target, **options))


class RecognizerClient(_Closing, Recognizer[Blocking]):
    """A client of RecognizerService, GalleryService and AlertService. Threads may share it.

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
        super().__init__(Blocking(RECOGNIZER, target, **options))
