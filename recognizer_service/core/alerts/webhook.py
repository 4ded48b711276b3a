"""Sends events to web servers: one POST, signed as standardwebhooks.com describes."""

import asyncio
import base64
import hashlib
import hmac
import json
import logging
import ssl
import time
from pathlib import Path
from types import TracebackType
from typing import Self

import httpx

from recognizer_service.core.alerts.events import Event, NotTaken, as_json
from recognizer_service.gallery.alerts.outbox import Target
from recognizer_service.gallery.alerts.rules import SECRET_PREFIX
from shared.errors import FailedPrecondition

for _chatty in ("httpx", "httpcore"):  # they log addresses and headers, which hold secrets
    logging.getLogger(_chatty).setLevel(logging.WARNING)

_NO_LIMITS = httpx.Limits(max_connections=None)
"""Hanging targets hold connections; other targets must not wait for one."""


class Webhooks:
    """Sends events; an async context manager.

    Redirects and the environment's proxies are ignored: an event goes only to the address that an
    admin configured.
    """

    def __init__(self, *, timeout_s: float, ca: Path | None = None) -> None:
        """Create a client.

        Args:
            timeout_s: for one event, from the DNS lookup to the answer, in seconds.
            ca: PEM roots to trust instead of the system's.

        Raises:
            FailedPrecondition: `ca` cannot be read (WEBHOOK_CA_UNREADABLE).
        """
        self._timeout_s = timeout_s
        try:
            roots = ssl.create_default_context(cafile=ca)
        except OSError as error:  # includes ssl.SSLError
            raise FailedPrecondition(
                "WEBHOOK_CA_UNREADABLE", f"webhook_ca {ca} cannot be used: {error}"
            ) from error
        self._client = httpx.AsyncClient(
            verify=roots,
            trust_env=False,
            follow_redirects=False,
            timeout=timeout_s,
            limits=_NO_LIMITS,
            headers={"User-Agent": "compactface", "Content-Type": "application/json"},
        )

    async def send(self, target: Target, event: Event) -> str:
        """Send an event; return the answer.

        Raises:
            NotTaken: it did not answer in time, or not with 2xx.
        """
        body = json.dumps(as_json(event), ensure_ascii=False).encode()
        headers = signature_headers(target.secret, event.event_id, body, now_s=int(time.time()))
        try:
            async with (
                asyncio.timeout(self._timeout_s),
                self._client.stream("POST", target.url, content=body, headers=headers) as answer,
            ):
                status = answer.status_code  # the body is ignored
        except (TimeoutError, httpx.TimeoutException):
            raise NotTaken(f"no answer within {self._timeout_s:g} s") from None
        except (httpx.HTTPError, httpx.InvalidURL, OSError, ValueError) as error:
            raise NotTaken(f"no answer: {error or type(error).__name__}") from error
        if not httpx.codes.is_success(status):
            raise NotTaken(f"HTTP status {status}", answered=True)
        return f"HTTP status {status}"

    async def __aenter__(self) -> Self:
        """Open the client for an ``async with`` block."""
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Close the connections."""
        await self._client.aclose()


def signature_headers(secret: str, event_id: str, body: bytes, *, now_s: int) -> dict[str, str]:
    """Return the headers for the id, the time, and the signature over both and the body.

    Args:
        secret: "whsec_" and a base64 key.
        event_id: the event's id.
        body: as sent.
        now_s: Unix time of the attempt, in seconds; lets receivers detect replays.
    """
    key = base64.b64decode(secret.removeprefix(SECRET_PREFIX))
    signed = f"{event_id}.{now_s}.".encode() + body
    signature = base64.b64encode(hmac.digest(key, signed, hashlib.sha256)).decode()
    return {
        "webhook-id": event_id,
        "webhook-timestamp": str(now_s),
        "webhook-signature": f"v1,{signature}",
    }
