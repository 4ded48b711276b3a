"""gRPC channels with or without TLS; keepalive and reconnection survive NAT and restarts."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TypedDict

import grpc

from compactface.v1 import alerts_pb2, encoder_pb2, gallery_pb2, recognizer_pb2

_METHODS = [
    method
    for protocol in (alerts_pb2, encoder_pb2, gallery_pb2, recognizer_pb2)
    for service in protocol.DESCRIPTOR.services_by_name.values()
    for method in service.methods
]

# Methods are retried whose option `idempotency_level` says that they change nothing, or are
# idempotent. Encode is not among them: with `forward`, the uplink would get the faces twice.
_SERVICE_CONFIG = {
    "methodConfig": [
        {
            "name": [
                {"service": method.containing_service.full_name, "method": method.name}
                for method in _METHODS
                if method.GetOptions().idempotency_level
            ],
            "retryPolicy": {
                "maxAttempts": 4,
                "initialBackoff": "0.1s",
                "maxBackoff": "2s",
                "backoffMultiplier": 3,
                "retryableStatusCodes": ["UNAVAILABLE"],
            },
        }
    ]
}

KEEPALIVE_S = 30.0
"""Idle time in seconds before a keepalive ping. The services accept a ping every 20 s."""


@dataclass(frozen=True, slots=True)
class Tls:
    """PEM files for a secure channel.

    Attributes:
        ca: root certificates that verify the server.
        certificate: the client's own chain, for mutual TLS.
        key: private key of `certificate`.
    """

    ca: Path
    certificate: Path | None = None
    key: Path | None = None

    def credentials(self) -> grpc.ChannelCredentials:
        """Read the files.

        Raises:
            OSError: a file cannot be read.
        """
        return grpc.ssl_channel_credentials(
            root_certificates=self.ca.read_bytes(),
            private_key=self.key.read_bytes() if self.key else None,
            certificate_chain=self.certificate.read_bytes() if self.certificate else None,
        )


class Options(TypedDict, total=False):
    """Connection options, all keyword arguments of clients.

    Attributes:
        tls: certificates; None: plaintext.
        token: bearer token sent with every call, from `compactface token create`; "": none. Without
            `tls` it travels unencrypted.
        timeout_s: deadline of each call including retries, in seconds; default 10. Streams have
            none.
        proxy: URL of an HTTP proxy; "": none, regardless of the environment.
        keepalive_s: idle time before a ping, in seconds; default 30. The services accept a ping
            every 20 s unless configured for less.
    """

    tls: Tls | None
    token: str
    timeout_s: float
    proxy: str
    keepalive_s: float


def open_channel(
    target: str, *, tls: Tls | None = None, proxy: str = "", keepalive_s: float = KEEPALIVE_S
) -> grpc.Channel:
    """Open a channel for blocking clients.

    Args:
        target: "host:port".
        tls: certificates; None: plaintext.
        proxy: URL of an HTTP proxy; "": none, regardless of the environment.
        keepalive_s: idle time before a ping, in seconds.
    """
    options = _options(proxy, keepalive_s)
    if tls is None:
        return grpc.insecure_channel(target, options=options)
    return grpc.secure_channel(target, tls.credentials(), options=options)


def open_async_channel(
    target: str,
    *,
    tls: Tls | None = None,
    proxy: str = "",
    keepalive_s: float = KEEPALIVE_S,
    small_answers: bool = False,
) -> grpc.aio.Channel:
    """Open a channel for asyncio.

    Args:
        target: as for `open_channel`.
        tls: likewise.
        proxy: likewise.
        keepalive_s: likewise.
        small_answers: do not measure the bandwidth for answers, which takes a ping after each.
    """
    options = _options(proxy, keepalive_s)
    if small_answers:
        options.append(("grpc.http2.bdp_probe", 0))
    if tls is None:
        return grpc.aio.insecure_channel(target, options=options)
    return grpc.aio.secure_channel(target, tls.credentials(), options=options)


def _options(proxy: str, keepalive_s: float) -> list[tuple[str, str | int]]:
    return [
        ("grpc.service_config", json.dumps(_SERVICE_CONFIG)),
        # By default, gRPC waits up to two minutes between connection attempts.
        ("grpc.max_reconnect_backoff_ms", 10_000),
        # Pings, with or without an open call, keep a silent camera in NAT tables. Without the last
        # option, gRPC would send only two pings, then one per minute.
        ("grpc.keepalive_time_ms", round(1000 * keepalive_s)),
        ("grpc.keepalive_timeout_ms", 20_000),
        ("grpc.keepalive_permit_without_calls", 1),
        ("grpc.http2.max_pings_without_data", 0),
        ("grpc.max_receive_message_length", 64 << 20),
        # The environment's proxy is meant for web pages and often does not pass gRPC.
        ("grpc.enable_http_proxy", int(bool(proxy))),
        *([("grpc.http_proxy", proxy)] if proxy else []),
    ]
