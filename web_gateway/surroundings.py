"""Middleware: request ids, limits, cross-origin checks, headers, logs, metrics."""

import time
import uuid
from collections.abc import MutableMapping
from http import HTTPStatus
from typing import Any, Final
from urllib.parse import urlsplit

import structlog
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from compactface.client import request_id
from compactface.client.request_ids import REQUEST_ID, accepted
from shared.hosts import bracketed
from web_gateway.metrics import WebMetrics
from web_gateway.problems import Problem
from web_gateway.rates import Rates

_log = structlog.get_logger(__name__)

_SAFE: Final = frozenset({"GET", "HEAD"})
_VERBS: Final = _SAFE | {"POST", "PATCH", "DELETE"}
_UNKNOWN_ROUTE: Final = "(unknown)"
_RETRY_AFTER_S: Final = 1.0
_UNLIMITED: Final = ("/static/", "/v1/health")
_LASTING: Final = (":watch", "/live/events")

_HEADERS: Final = {
    "content-security-policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; "
        "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    ),
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(self), microphone=(), geolocation=()",
}


class Surroundings:
    """The outermost ASGI application.

    Args:
        app: handles the requests.
        names: accepted host names of this gateway; empty: all.
        max_in_flight: maximum number of concurrent requests.
        max_watchers: maximum number of concurrent long-lived requests.
        rates: limits the requests of each caller.
        secure: whether the gateway serves https.
        metrics: metrics of the gateway.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        names: frozenset[str],
        max_in_flight: int,
        max_watchers: int,
        rates: Rates,
        secure: bool,
        metrics: WebMetrics,
    ) -> None:
        self._app = app
        self._names = names
        self._requests = _Places("requests", max_in_flight)
        self._watchers = _Places("watchers", max_watchers)
        self._rates = rates
        self._metrics = metrics
        self._headers = dict(_HEADERS)
        if secure:
            self._headers["strict-transport-security"] = "max-age=31536000"

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request; the server sends no other kinds of scope."""
        started = time.perf_counter()
        headers = Headers(scope=scope)
        given = headers.get(REQUEST_ID, "")
        identity = given if accepted(given) else uuid.uuid4().hex
        # Subject ids may contain a slash, which the server has decoded in `path`.
        scope["path"] = scope["raw_path"].decode("ascii", "replace")
        answer = _Answer(send, {**self._headers, REQUEST_ID: identity})
        places = self._watchers if scope["path"].endswith(_LASTING) else self._requests
        places.taken += 1
        self._metrics.in_flight.inc()
        with request_id(identity), structlog.contextvars.bound_contextvars(request_id=identity):
            try:
                self._admit(scope["method"], headers)
                places.check()
                if not scope["path"].startswith(_UNLIMITED):
                    self._rates.check(headers, (scope.get("client") or ("",))[0])
                await self._app(scope, receive, answer)
            except Problem as problem:
                await problem.response()(scope, receive, answer)
            except Exception:  # noqa: BLE001 - details of a bug must not reach the client
                _log.exception("unforeseen error", route=_route(scope))
                if not answer.status:
                    await internal().response()(scope, receive, answer)
            finally:
                places.taken -= 1
                self._metrics.in_flight.dec()
                self._record(scope, answer.status, time.perf_counter() - started)

    def _admit(self, method: str, headers: Headers) -> None:
        host = headers.get("host", "")
        name = (urlsplit(f"//{host}").hostname or "") if _is_host(host) else ""
        shown = bracketed(name)
        if self._names and shown not in self._names:
            # DNS rebinding: a page of another name that resolves here could read responses.
            raise Problem(
                HTTPStatus.MISDIRECTED_REQUEST,
                "HOST_UNKNOWN",
                f"this gateway is not called {host!r:.80}; the setting `names` says how it is",
            )
        origin = headers.get("origin")
        foreign = origin is not None and urlsplit(origin).netloc.lower() != host.lower()
        site = headers.get("sec-fetch-site", "none")
        if method not in _SAFE and (
            site not in {"none", "same-origin"} or (foreign and origin != "null")
        ):
            # Without tokens, any web page could enroll with its visitor's permissions.
            raise Problem(
                HTTPStatus.FORBIDDEN, "CROSS_ORIGIN", "pages of other sites may not call this"
            )

    def _record(self, scope: Scope, status: int, seconds: float) -> None:
        method = scope["method"] if scope["method"] in _VERBS else "other"
        route = _route(scope)
        self._metrics.requests.labels(method, route, str(status)).inc()
        self._metrics.seconds.labels(method, route).observe(seconds)
        quiet = route in {"/v1/health", "/static"} and status < HTTPStatus.BAD_REQUEST
        log = _log.debug if quiet else _log.info
        # Log the template only: paths and queries contain names.
        log("request", method=method, route=route, status=status, ms=round(1000 * seconds, 1))


class _Places:
    """A limit on concurrent requests of one kind.

    Attributes:
        taken: number in flight, including one about to be rejected.
    """

    def __init__(self, what: str, most: int) -> None:
        self.taken = 0
        self._what, self._most = what, most

    def check(self) -> None:
        if self.taken > self._most:
            raise Problem(
                HTTPStatus.TOO_MANY_REQUESTS,
                f"TOO_MANY_{self._what.upper()}",
                f"{self.taken - 1} {self._what} are in flight; at most {self._most} are accepted",
                retry_after_s=_RETRY_AFTER_S,
            )


class _Answer:
    """Adds headers to the response and records the status; 0 before it is sent."""

    def __init__(self, send: Send, headers: dict[str, str]) -> None:
        self.status = 0
        self._send = send
        self._headers = headers

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = int(message["status"])
            headers = MutableHeaders(scope=message)
            headers.update(self._headers)
            # Responses contain faces and names.
            headers.setdefault("cache-control", "no-store")
        await self._send(message)


def internal() -> Problem:
    """The response to a bug."""
    return Problem(HTTPStatus.INTERNAL_SERVER_ERROR, "INTERNAL", "internal error")


def current_request_id() -> str:
    """The id of the current request in logs."""
    found: str = structlog.contextvars.get_contextvars().get("request_id", "")
    return found


def _route(scope: MutableMapping[str, Any]) -> str:
    route = scope.get("route")
    return getattr(route, "path", _UNKNOWN_ROUTE)


def _is_host(host: str) -> bool:
    try:
        urlsplit(f"//{host}")
    except ValueError:
        return False
    return True
