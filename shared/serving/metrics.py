"""Prometheus metrics of every call, under the names and labels the field's dashboards expect.

Source: https://github.com/grpc-ecosystem/go-grpc-middleware (provider prometheus).
"""

import socket
import sys
import threading
from contextlib import AbstractAsyncContextManager
from functools import partial
from http.server import ThreadingHTTPServer
from typing import Any

import grpc
from prometheus_client import CollectorRegistry, Counter, Histogram
from prometheus_client.exposition import MetricsHandler

from shared.serving.background import Background
from shared.serving.call_observer import observe
from shared.serving.interceptor import AroundInterceptor, Context, Method

_LABELS = ("grpc_type", "grpc_service", "grpc_method")
_TASK = "metrics"
_PAUSE_S = 1.0  # after a failure of the thread
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
        """Count at the start and at the end."""
        labels = (method.kind, method.service, method.name)
        self._started.labels(*labels).inc()
        return observe(context, partial(self._record, labels))

    def _record(self, labels: tuple[str, ...], code: grpc.StatusCode, seconds: float) -> None:
        self._handled.labels(*labels, code.name).inc()
        self._seconds.labels(*labels).observe(seconds)


class _HttpServer(ThreadingHTTPServer):
    background: Background

    def handle_error(self, request: Any, client_address: Any) -> None:  # noqa: ARG002
        """Log it as everything else is; the library would write a bare traceback."""
        if not isinstance(sys.exception(), ConnectionError):  # else the reader hung up
            self.background.failed(_TASK)


class _HttpServer6(_HttpServer):
    address_family = socket.AF_INET6


class MetricsServer:
    """Serves a registry at `http://host:port/metrics` from a thread until closed.

    Attributes:
        port: the port bound, also where 0 was asked for.

    Raises:
        OSError: the address cannot be bound.
    """

    def __init__(
        self, registry: CollectorRegistry, *, host: str, port: int, background: Background
    ) -> None:
        kind = _HttpServer6 if ":" in host else _HttpServer
        self._server = kind((host, port), MetricsHandler.factory(registry))
        self._server.background = background
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
                # prometheus_client's own start_http_server takes half a second to notice the end.
                self._server.serve_forever(poll_interval=0.1)
            except Exception:  # noqa: BLE001 - without this thread nobody would see anything
                self._server.background.failed(_TASK)
                if self._closing.wait(_PAUSE_S):
                    return
            else:
                return
