"""Channels to the services, with or without TLS, that outlive NAT tables and restarts."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TypedDict

import grpc

_REPEATABLE = {
    "EncoderService": ["GetEncoderInfo"],
    "RecognizerService": [
        *("Identify", "BatchIdentify", "Verify", "Embed", "Reconstruct", "GetRecognizerInfo"),
        *("ListSightings", "GetSighting"),
    ],
    "GalleryService": [
        *("GetCollection", "ListCollections", "GetSubject", "ListSubjects", "ReviewSubject"),
        *("GetFace", "ListFaces", "GetErasure", "ListAuditEvents"),
        "Enroll",  # `subjects.enroll` sends no request without an id, which makes it safe
    ],
    "AlertService": ["ListAlertRules"],
}
"""What may reach a service twice: it changes nothing, or nothing more.

Encode is not among them: with `forward` the uplink would get the faces twice.
"""

_SERVICE_CONFIG = {
    "methodConfig": [
        {
            "name": [
                {"service": f"compactface.v1.{service}", "method": method}
                for service, methods in _REPEATABLE.items()
                for method in methods
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
"""Seconds of silence after which a channel pings. The services accept a ping every 20 s."""


@dataclass(frozen=True, slots=True)
class Tls:
    """PEM files for a secure channel.

    Attributes:
        ca: roots that the server's certificate must descend from.
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
    """How a client connects and waits; all are keyword arguments of clients.

    Attributes:
        tls: certificates; None: plain text.
        token: bearer token to show with every call, as `compactface token create` makes it; "":
            none. Without `tls` whoever listens can read it.
        timeout_s: deadline of each call in seconds, repetitions included; 10. Streams have none.
        proxy: URL of an HTTP proxy to go through; "": none, whatever the environment says.
        keepalive_s: silence before a ping, in seconds; 30. The services accept a ping every 20 s
            unless they are set to less.
    """

    tls: Tls | None
    token: str
    timeout_s: float
    proxy: str
    keepalive_s: float


def open_channel(
    target: str, *, tls: Tls | None = None, proxy: str = "", keepalive_s: float = KEEPALIVE_S
) -> grpc.Channel:
    """A channel for blocking clients.

    Args:
        target: "host:port".
        tls: certificates; None: plain text.
        proxy: URL of an HTTP proxy to go through; "": none, whatever the environment says.
        keepalive_s: silence before a ping, in seconds.
    """
    options = _options(proxy, keepalive_s)
    if tls is None:
        return grpc.insecure_channel(target, options=options)
    return grpc.secure_channel(target, tls.credentials(), options=options)


def open_async_channel(
    target: str, *, tls: Tls | None = None, proxy: str = "", keepalive_s: float = KEEPALIVE_S
) -> grpc.aio.Channel:
    """A channel for asyncio; arguments as of `open_channel`."""
    options = _options(proxy, keepalive_s)
    if tls is None:
        return grpc.aio.insecure_channel(target, options=options)
    return grpc.aio.secure_channel(target, tls.credentials(), options=options)


def _options(proxy: str, keepalive_s: float) -> list[tuple[str, str | int]]:
    return [
        ("grpc.service_config", json.dumps(_SERVICE_CONFIG)),
        # After a long outage gRPC would wait two minutes between tries to connect.
        ("grpc.max_reconnect_backoff_ms", 10_000),
        # A silent camera must not be forgotten by the NAT between: ping, open call or not. Without
        # the last option gRPC would send no more than two pings, and then one a minute.
        ("grpc.keepalive_time_ms", round(1000 * keepalive_s)),
        ("grpc.keepalive_timeout_ms", 20_000),
        ("grpc.keepalive_permit_without_calls", 1),
        ("grpc.http2.max_pings_without_data", 0),
        ("grpc.max_receive_message_length", 64 << 20),
        # A proxy for web pages, which is what the environment names, often lets no gRPC through.
        ("grpc.enable_http_proxy", int(bool(proxy))),
        *([("grpc.http_proxy", proxy)] if proxy else []),
    ]
