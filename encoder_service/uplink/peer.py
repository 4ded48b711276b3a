"""The uplink's channel to the recognizer, and the recognizer's limits."""

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
    """The recognizer's limits for streamed maps.

    Attributes:
        maps_per_message: maximum number of maps per message; 1: only the old format is supported.
        retention_s: retention of maps in seconds; 0: not stored; None: unknown.
    """

    maps_per_message: int = 1
    retention_s: int | None = None


class Peer:
    """Connects to the recognizer, and reconnects when certificates or token change.

    Attributes:
        metadata: metadata of calls: the token, if there is one.
    """

    def __init__(
        self,
        connect: Callable[[], grpc.aio.Channel],
        *,
        tls: Tls | None = None,
        token_file: Path | None = None,
    ) -> None:
        """Create a peer; `open` connects.

        Args:
            connect: creates a channel with the current certificates.
            tls: certificate files; None: none.
            token_file: file with the bearer token; None: no token.
        """
        self.metadata: tuple[tuple[str, str], ...] = ()
        self._connect = connect
        self._tls = tls
        self._token_file = token_file
        self._channel: grpc.aio.Channel | None = None
        self._read_as = b""

    async def open(self) -> Any:
        """Return a stub, over a new channel if certificates or token have changed.

        Raises:
            OSError: a file cannot be read, and there is no earlier channel.
            UnicodeDecodeError: the token file is not text.
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
        """Whether a file has changed; a missing file counts as unchanged."""
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
        """A hash of the files' contents."""
        tls = (self._tls.ca, self._tls.certificate, self._tls.key) if self._tls else ()
        files = (*tls, self._token_file)
        digest = hashlib.sha256()
        for file in files:
            digest.update(hashlib.sha256(file.read_bytes()).digest() if file else b"-")
        return digest.digest()


async def ask_terms(stub: Any, metadata: tuple[tuple[str, str], ...] = ()) -> Terms:
    """Request the recognizer's limits, waiting until it is reachable.

    If it does not implement the call, or does not permit it to cameras, the limits are unknown.

    Raises:
        grpc.aio.AioRpcError: the call failed.
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
