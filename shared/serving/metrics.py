"""Prometheus metrics of every call, with the names and labels of common gRPC dashboards.

Source: https://github.com/grpc-ecosystem/go-grpc-middleware (provider prometheus).
"""

import socket
import ssl
import sys
import threading
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from functools import partial
from http.server import ThreadingHTTPServer
from typing import Any

import grpc
from prometheus_client import CollectorRegistry, Counter, Histogram
from prometheus_client.exposition import MetricsHandler

from shared.errors import Unauthenticated
from shared.hosts import address_of
from shared.serving.access_file import Access, identify
from shared.serving.background import Background
from shared.serving.call_observer import observe
from shared.serving.interceptor import AroundInterceptor, Context, Method
from shared.serving.settings_loader import SettingsError
from shared.serving.tls import HttpsFiles

_LABELS = ("grpc_type", "grpc_service", "grpc_method")
HEALTH_PATH = "/healthy"
_TASK = "metrics"
_PATIENCE_S = 10.0  # timeout for an idle client
_PAUSE_S = 1.0  # delay before restarting the failed thread
_BUCKETS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)


class MetricsInterceptor(AroundInterceptor):
    """Counts calls started and handled (with `grpc_code`), and observes their seconds."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._started = Counter(
            "grpc_server_started", "Calls started on the server.", _LABELS, registry=registry
        )
        self._handled = Counter(
            "grpc_server_handled",
            "Calls completed on the server, whatever the outcome.",
            (*_LABELS, "grpc_code"),
            registry=registry,
        )
        self._seconds = Histogram(
            "grpc_server_handling_seconds",
            "Seconds from the start of a call to its end on the server.",
            _LABELS,
            buckets=_BUCKETS_S,
            registry=registry,
        )

    def around(self, method: Method, context: Context) -> AbstractAsyncContextManager[None]:
        """Count the call at its start and end."""
        labels = (method.kind, method.service, method.name)
        self._started.labels(*labels).inc()
        return observe(context, partial(self._record, labels))

    def _record(self, labels: tuple[str, ...], code: grpc.StatusCode, seconds: float) -> None:
        self._handled.labels(*labels, code.name).inc()
        self._seconds.labels(*labels).observe(seconds)


class _HttpServer(ThreadingHTTPServer):
    background: Background
    healthy: Callable[[], bool]
    access: Access | None
    tls: HttpsFiles | None

    def handle_error(self, request: Any, client_address: Any) -> None:  # noqa: ARG002
        """Log the error in the common format; the library would print a bare traceback."""
        if not isinstance(sys.exception(), ConnectionError | ssl.SSLError | TimeoutError):
            self.background.failed(_TASK)  # otherwise the client disconnected, or speaks no TLS

    def get_request(self) -> tuple[socket.socket, Any]:
        """Accept a connection; the thread that serves it performs the handshake."""
        connection, address = super().get_request()
        connection.settimeout(_PATIENCE_S)
        if self.tls is not None:
            connection = self.tls.wrap(connection)
        return connection, address


class _HttpServer6(_HttpServer):
    address_family = socket.AF_INET6


class _Handler(MetricsHandler):
    """Serves clients that the access file authorizes, or all clients without one."""

    server: _HttpServer

    def do_GET(self) -> None:  # noqa: N802 - the library's name
        """Send the metrics, or 401 or 403; at /healthy the health, which is no secret."""
        if self.path == HEALTH_PATH:
            healthy = self.server.healthy()
            self.send_response(200 if healthy else 503)
            self._finish("SERVING" if healthy else "NOT_SERVING")
            return
        if self.server.access is not None:
            try:
                header = {"authorization": self.headers.get("Authorization", "")}
                caller = identify(self.server.access.current(), header, None)
            except Unauthenticated as error:
                self.send_response(401)
                self.send_header("WWW-Authenticate", "Bearer")
                self._finish(error.message)
                return
            if not caller.role.grants("metrics"):
                self.send_response(403)
                self._finish("the role does not include the scope metrics")
                return
        super().do_GET()

    def _finish(self, message: str) -> None:
        body = f"{message}\n".encode()
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


class MetricsServer:
    """Serves a registry at `http://host:port/metrics` from a thread until closed.

    Args:
        registry: the registry to serve.
        host: address to bind.
        port: port to bind; 0 selects a free one.
        background: records failures.
        access: access file, for bearer tokens with the scope `metrics`; None: no authentication.
        tls: certificates for https; None: http.
        healthy: whether the process serves, for cheap container probes at `HEALTH_PATH`.

    Attributes:
        port: the bound port.

    Raises:
        SettingsError: the address cannot be bound.
    """

    def __init__(
        self,
        registry: CollectorRegistry,
        *,
        host: str,
        port: int,
        background: Background,
        access: Access | None = None,
        tls: HttpsFiles | None = None,
        healthy: Callable[[], bool] = lambda: True,
    ) -> None:
        kind = _HttpServer6 if ":" in host else _HttpServer
        handler = type("Handler", (_Handler,), {"registry": registry})
        try:
            self._server = kind((host, port), handler)
        except OSError as error:
            raise SettingsError([f"metrics at {address_of(host, port)}: {error}"]) from None
        self._server.access, self._server.tls = access, tls
        self._server.background, self._server.healthy = background, healthy
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._serve, name=_TASK, daemon=True)
        self._thread.start()
        self.port: int = self._server.server_port

    def close(self) -> None:
        """Stop serving and free the port."""
        self._closing.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def _serve(self) -> None:
        while True:
            try:
                # start_http_server of prometheus_client takes half a second to stop.
                self._server.serve_forever(poll_interval=0.1)
            except Exception:  # noqa: BLE001 - without this thread, failures would not be visible
                self._server.background.failed(_TASK)
                if self._closing.wait(_PAUSE_S):
                    return
            else:
                return
