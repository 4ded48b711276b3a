"""Channels to the services, with or without TLS, that outlive NAT tables and restarts."""

import json
from dataclasses import dataclass
from pathlib import Path

import grpc

_RETRY = {
    "methodConfig": [
        {
            "name": [{}],
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

# A silent camera must not be forgotten by the NAT between: ping every 30 s, open call or not.
# The services accept a ping every 20 s.
OPTIONS = [
    ("grpc.service_config", json.dumps(_RETRY)),
    # After a long outage gRPC would wait two minutes between tries to connect.
    ("grpc.max_reconnect_backoff_ms", 10_000),
    ("grpc.keepalive_time_ms", 30_000),
    ("grpc.keepalive_timeout_ms", 20_000),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.max_receive_message_length", 64 << 20),
]


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


def open_channel(target: str, *, tls: Tls | None = None) -> grpc.Channel:
    """A channel for blocking clients; `target` is "host:port"."""
    if tls is None:
        return grpc.insecure_channel(target, options=OPTIONS)
    return grpc.secure_channel(target, tls.credentials(), options=OPTIONS)


def open_async_channel(target: str, *, tls: Tls | None = None) -> grpc.aio.Channel:
    """A channel for asyncio; `target` is "host:port"."""
    if tls is None:
        return grpc.aio.insecure_channel(target, options=OPTIONS)
    return grpc.aio.secure_channel(target, tls.credentials(), options=OPTIONS)
