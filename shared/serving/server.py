"""The life cycle of a service: bind, warm up, serve, drain, close.

A service's `server.py` uses it as follows::

    async def run(settings: EncoderSettings, registry: CollectorRegistry) -> None:
        async with ServiceHost(
            settings, service_names=[NAME], registry=registry, background=Background(registry)
        ) as host:
            add_EncoderServiceServicer_to_server(EncoderServicer(...), host.server)
            await host.listen()  # health answers NOT_SERVING: time to warm up
            await host.serve()  # SERVING until SIGTERM or SIGINT, then drained
"""

import asyncio
import signal
from collections.abc import Sequence
from contextlib import ExitStack, closing
from types import TracebackType
from typing import Self

import grpc
import structlog
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection
from prometheus_client import CollectorRegistry

from shared.hosts import address_of, is_loopback
from shared.serving.access_file import Access
from shared.serving.admission import AdmissionInterceptor, ReceptionInterceptor
from shared.serving.authorization import AuthorizationInterceptor
from shared.serving.background import Background
from shared.serving.call_observer import AccessLogInterceptor
from shared.serving.client_ca import ClientAuthorities
from shared.serving.error_interceptor import ErrorInterceptor
from shared.serving.interceptor import CallInterceptor
from shared.serving.metrics import MetricsInterceptor, MetricsServer
from shared.serving.request_id import RequestIdInterceptor
from shared.serving.settings import ServiceSettings
from shared.serving.settings_loader import SettingsError
from shared.serving.tls import https_files, server_credentials

_EXEMPT = frozenset({health.SERVICE_NAME, reflection.SERVICE_NAME})

_MAX_CALLS_OF_CONNECTION = 1024

# Idle time that ends draining: the last response is sent, and no call is still arriving.
_LINGER_S = 0.5

_log = structlog.get_logger(__name__)


class ServiceHost:
    """A grpc.aio server with interceptors, health, reflection and metrics.

    Interceptors, outermost first: metrics, request id, access log, errors and authorization, all
    from the headers on; then admission, from the request on. Rejections are thus errors like any
    other, every response is logged and counted, and the name of a client that floods is known.

    Args:
        settings: addresses, limits and certificates.
        service_names: full names of the services, for health and reflection.
        registry: registry for the metrics of calls, which is also served.
        background: records failures outside calls.

    Raises:
        SettingsError: the access file is invalid.

    Attributes:
        server: the grpc.aio server; add servicers before `listen`.
        port: the gRPC port bound by `listen`.
        stopping: set by SIGTERM and SIGINT while serving, or by any code. Long streams can watch it
            to end themselves before `drain_seconds` elapse.
    """

    server: grpc.aio.Server
    port: int

    def __init__(
        self,
        settings: ServiceSettings,
        *,
        service_names: Sequence[str],
        registry: CollectorRegistry,
        background: Background,
    ) -> None:
        self.stopping = asyncio.Event()
        self._settings = settings
        self._service_names = tuple(service_names)
        self._registry = registry
        self._background = background
        self._health = health.aio.HealthServicer()  # type: ignore[attr-defined] # untyped
        self._serving = False
        self._healthy = True
        self._admission = AdmissionInterceptor(
            max_in_flight=settings.max_in_flight,
            max_streams=settings.max_streams,
            exempt=_EXEMPT,
        )
        self._resources = ExitStack()
        self._access = Access(settings.access) if settings.access else None

    async def __aenter__(self) -> Self:
        """Build the server, without listening."""
        self.server = grpc.aio.server(
            interceptors=(
                CallInterceptor(
                    calls=(
                        MetricsInterceptor(self._registry),
                        RequestIdInterceptor(),
                        AccessLogInterceptor(quiet=_EXEMPT),
                        ErrorInterceptor(),
                        AuthorizationInterceptor(
                            self._access,
                            authorities=self._authorities(),
                            exempt=_EXEMPT,
                            registry=self._registry,
                        ),
                    ),
                    receiving=ReceptionInterceptor(
                        max_receiving=self._settings.max_receiving, exempt=_EXEMPT
                    ),
                    requests=(self._admission,),
                    receive_s=self._settings.receive_seconds,
                ),
            ),
            options=_channel_options(self._settings),
        )
        health_pb2_grpc.add_HealthServicer_to_server(self._health, self.server)
        await self._show_health()
        if self._settings.reflection:
            names = (*self._service_names, *_EXEMPT)
            reflection.enable_server_reflection(names, self.server)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Close the ports, immediately if `serve` raised."""
        await self.server.stop(None)
        self._resources.close()

    async def listen(self) -> int:
        """Bind both ports, answer health with NOT_SERVING, and return the gRPC port.

        The log line "listening" on standard error tells a parent process the addresses.

        Raises:
            SettingsError: an address cannot be bound, or the TLS files are invalid.
        """
        settings = self._settings
        self.port = self._bind(server_credentials(settings))
        metrics = self._resources.enter_context(closing(self._serve_metrics()))
        await self.server.start()
        _log.info(
            "listening",
            address=address_of(settings.host, self.port),
            metrics_address=address_of(settings.metrics_host, metrics.port),
            tls="mutual" if settings.mutual_tls else "server" if settings.tls_key else "none",
        )
        return self.port

    async def serve(self) -> None:
        """Answer SERVING until `stopping` is set or a signal arrives, then drain.

        A second signal has no handler and ends the process immediately.
        """
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self.stopping.set)
        try:
            self._serving = True
            await self._show_health()
            _log.info("serving", services=self._service_names)
            await self.stopping.wait()
        finally:
            for number in (signal.SIGTERM, signal.SIGINT):
                loop.remove_signal_handler(number)
        await self._drain()

    async def set_healthy(self, *, healthy: bool) -> None:
        """Set the health status. Calls are served even while it is NOT_SERVING."""
        if healthy != self._healthy:
            self._healthy = healthy
            await self._show_health()

    def _authorities(self) -> ClientAuthorities | None:
        path = self._settings.tls_client_ca
        return ClientAuthorities(path) if path else None

    async def _drain(self) -> None:
        """Reject new calls, let admitted ones finish within `drain_seconds`, cancel the rest."""
        seconds = self._settings.drain_seconds
        _log.info("draining", drain_seconds=seconds)
        await self._health.enter_graceful_shutdown()
        stop = asyncio.create_task(self.server.stop(seconds))
        while not stop.done():
            was_idle = self._admission.idle
            await asyncio.wait({stop}, timeout=_LINGER_S)
            if was_idle and self._admission.idle:
                await self.server.stop(None)  # only health watches remain; they never end
        await stop  # raise its exception
        _log.info("drained")

    async def _show_health(self) -> None:
        status = (
            health_pb2.HealthCheckResponse.SERVING
            if self._serving and self._healthy
            else health_pb2.HealthCheckResponse.NOT_SERVING
        )
        for name in ("", *self._service_names):
            await self._health.set(name, status)

    def _bind(self, credentials: grpc.ServerCredentials | None) -> int:
        address = address_of(self._settings.host, self._settings.port)
        try:
            if credentials is None:
                return self.server.add_insecure_port(address)
            return self.server.add_secure_port(address, credentials)
        except RuntimeError:
            raise SettingsError([f"{address}: cannot be bound; is the port taken?"]) from None

    def _accepts_work(self) -> bool:
        return self._serving and self._healthy and not self.stopping.is_set()

    def _serve_metrics(self) -> MetricsServer:
        settings = self._settings
        host = settings.metrics_host
        # Metrics on the loopback interface need neither tokens nor TLS.
        public = not is_loopback(host)
        return MetricsServer(
            self._registry,
            host=host,
            port=settings.metrics_port,
            background=self._background,
            access=self._access if public else None,
            tls=https_files(settings.tls_certificate, settings.tls_key) if public else None,
            healthy=self._accepts_work,
        )


def _channel_options(settings: ServiceSettings) -> list[tuple[str, int]]:
    """Options of the server's connections.

    Keepalive: a camera may be silent for hours, while NAT tables drop a silent connection within
    minutes. The server pings every minute and closes the connection after 20 s without an answer.
    Clients may ping every `min_ping_seconds`, also without an open call; by default, grpc allows a
    ping every 5 minutes and answers more with GOAWAY "too_many_pings".

    Idle connections: a connection is closed if its handshake (TLS, and HTTP/2's settings) is not
    complete after `handshake_seconds`, or without a call after `idle_seconds`. Above
    `max_connections`, new ones are closed immediately, to leave file descriptors for other uses.
    """
    return [
        ("grpc.server_handshake_timeout_ms", round(1000 * settings.handshake_seconds)),
        ("grpc.max_connection_idle_ms", round(1000 * settings.idle_seconds)),
        ("grpc.max_allowed_incoming_connections", settings.max_connections),
        ("grpc.max_concurrent_streams", _MAX_CALLS_OF_CONNECTION),
        ("grpc.max_receive_message_length", settings.max_message_bytes),
        ("grpc.max_send_message_length", settings.max_message_bytes),
        ("grpc.so_reuseport", 0),  # a second server on the port must fail, not share it
        ("grpc.keepalive_time_ms", 60_000),
        ("grpc.keepalive_timeout_ms", 20_000),
        ("grpc.keepalive_permit_without_calls", 1),
        ("grpc.http2.max_pings_without_data", 0),
        ("grpc.http2.min_ping_interval_without_data_ms", round(1000 * settings.min_ping_seconds)),
    ]
