"""The recognizer as the uplink sees it: a channel to it, and what it says of itself."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import structlog

from compactface.client.channel import Tls
from compactface.v1 import recognizer_pb2, recognizer_pb2_grpc

_log = structlog.get_logger(__name__)
_SAYS_NOTHING = frozenset({grpc.StatusCode.UNIMPLEMENTED, grpc.StatusCode.PERMISSION_DENIED})


@dataclass(frozen=True, slots=True)
class Terms:
    """What the recognizer says of streamed maps.

    Attributes:
        maps_per_message: most of them; 1: it knows no more.
        retention_s: how long it keeps them, in seconds; 0: not at all. None: it does not say.
    """

    maps_per_message: int = 1
    retention_s: int | None = None


class Peer:
    """Connects to the recognizer, anew when certificates or token change.

    Attributes:
        metadata: what calls send along: the token, if there is one.
    """

    def __init__(
        self,
        connect: Callable[[], grpc.aio.Channel],
        *,
        tls: Tls | None = None,
        token_file: Path | None = None,
    ) -> None:
        """Prepare; `open` connects.

        Args:
            connect: makes a channel with the certificates as they are now.
            tls: the files of the certificates; None: there are none.
            token_file: holds the bearer token to show; None: there is none.
        """
        self.metadata: tuple[tuple[str, str], ...] = ()
        self._connect = connect
        self._tls = tls
        self._token_file = token_file
        self._channel: grpc.aio.Channel | None = None
        self._read_as = b""

    async def open(self) -> Any:
        """A stub; its channel is another one if certificates or token have changed.

        Raises:
            OSError: a file cannot be read, and there was no channel before.
            UnicodeDecodeError: the token's file holds no token.
        """
        if self._channel is None or self.outdated():
            read_as = self._fingerprint()
            if self._token_file:
                token = self._token_file.read_text(encoding="ascii").strip()
                self.metadata = (("authorization", f"Bearer {token}"),)
            channel = self._connect()
            await self.close()
            self._channel, self._read_as = channel, read_as
        return recognizer_pb2_grpc.RecognizerServiceStub(self._channel)  # type: ignore[no-untyped-call]

    def outdated(self) -> bool:
        """Whether a file has changed; one that is not there just now has not."""
        try:
            return self._fingerprint() != self._read_as
        except OSError as error:
            _log.warning("uplink_credentials_unreadable", error=str(error))
            return False

    async def close(self) -> None:
        """Close the channel."""
        if self._channel is not None:
            await self._channel.close(None)
            self._channel = None

    def _fingerprint(self) -> bytes:
        """Of what the files hold."""
        tls = (self._tls.ca, self._tls.certificate, self._tls.key) if self._tls else ()
        files = (*tls, self._token_file)
        digest = hashlib.sha256()
        for file in files:
            digest.update(hashlib.sha256(file.read_bytes()).digest() if file else b"-")
        return digest.digest()


async def ask_terms(stub: Any, metadata: tuple[tuple[str, str], ...] = ()) -> Terms:
    """What the recognizer says of itself, once it can be reached.

    One that does not know the question, or does not answer cameras, says nothing.

    Raises:
        grpc.aio.AioRpcError: it failed to answer.
    """
    request = recognizer_pb2.GetRecognizerInfoRequest()
    try:
        info = await stub.GetRecognizerInfo(request, metadata=metadata, wait_for_ready=True)
    except grpc.aio.AioRpcError as error:
        if error.code() in _SAYS_NOTHING:
            return Terms()
        raise
    told = info.HasField("stream_retention")
    return Terms(
        maps_per_message=max(1, info.max_stream_maps),
        retention_s=info.stream_retention.seconds if told else None,
    )
