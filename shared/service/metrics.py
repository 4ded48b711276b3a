"""Prometheus metrics of every call, under the names and labels the field's dashboards expect.

Source: https://github.com/grpc-ecosystem/go-grpc-middleware (provider prometheus).
"""

import socket
import threading
from contextlib import AbstractAsyncContextManager
from functools import partial
from http.server import ThreadingHTTPServer

import grpc
from prometheus_client import CollectorRegistry, Counter, Histogram
from prometheus_client.exposition import MetricsHandler

from shared.service.interceptor import AroundInterceptor, Context, Method
from shared.service.outcome import observe

_LABELS = ("grpc_type", "grpc_service", "grpc_method")
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


class _HttpServer6(ThreadingHTTPServer):
    address_family = socket.AF_INET6


class MetricsServer:
    """Serves a registry at `http://host:port/metrics` from a thread until closed.

    Attributes:
        port: the port bound, also where 0 was asked for.

    Raises:
        OSError: the address cannot be bound.
    """

    def __init__(self, registry: CollectorRegistry, *, host: str, port: int) -> None:
        kind = _HttpServer6 if ":" in host else ThreadingHTTPServer
        self._server = kind((host, port), MetricsHandler.factory(registry))
        # prometheus_client's own start_http_server takes half a second to notice the end.
        serve = partial(self._server.serve_forever, poll_interval=0.1)
        self._thread = threading.Thread(target=serve, name="metrics", daemon=True)
        self._thread.start()
        self.port: int = self._server.server_port

    def close(self) -> None:
        """Stop serving and free the port."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
