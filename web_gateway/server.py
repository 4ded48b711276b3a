"""Run the web gateway as a process."""

import asyncio
import signal
import socket
from collections.abc import AsyncIterator, Generator
from contextlib import asynccontextmanager, closing, contextmanager

import structlog
import uvicorn
from prometheus_client import CollectorRegistry

from shared.hosts import address_of
from shared.serving.background import Background
from shared.serving.metrics import MetricsServer
from shared.serving.settings_loader import SettingsError
from shared.serving.tls import HttpsFiles, https_files
from web_gateway.app import make_app
from web_gateway.metrics import WebMetrics
from web_gateway.services import Services
from web_gateway.settings import WebSettings

_RENEWAL_S = 10.0
_SIGNALS = (signal.SIGTERM, signal.SIGINT)

_log = structlog.get_logger(__name__)


async def run(settings: WebSettings, registry: CollectorRegistry) -> None:
    """Serve until SIGTERM or SIGINT; raises as `listening`."""
    async with listening(settings, registry) as host:
        await host.serve()


@asynccontextmanager
async def listening(settings: WebSettings, registry: CollectorRegistry) -> AsyncIterator["WebHost"]:
    """Start the gateway with its ports bound; it handles requests once `serve` is called.

    Raises:
        SettingsError: an address cannot be bound, or a certificate is invalid.
    """
    background = Background(registry)
    tls = https_files(settings.tls_certificate, settings.tls_key)
    try:
        services = Services(settings)
    except OSError as error:
        raise SettingsError([f"certificates of the services: {error}"]) from None
    async with services:
        stopping = asyncio.Event()
        app = make_app(settings, services, WebMetrics(registry), stopping)
        with (
            closing(_bind(settings)) as listener,
            closing(
                MetricsServer(
                    registry,
                    host=settings.metrics_host,
                    port=settings.metrics_port,
                    background=background,
                )
            ) as metrics,
        ):
            host = WebHost(
                settings,
                app=app,
                listener=listener,
                tls=tls,
                background=background,
                stopping=stopping,
            )
            _log.info(
                "listening",
                address=address_of(settings.host, host.port),
                metrics_address=address_of(settings.metrics_host, metrics.port),
                tls="server" if tls else "none",
            )
            yield host


class WebHost:
    """A uvicorn server with the services' shutdown behavior.

    Attributes:
        port: the bound port.
        stopping: set by SIGTERM and SIGINT while serving, or by any code.
    """

    def __init__(
        self,
        settings: WebSettings,
        *,
        app: object,
        listener: socket.socket,
        tls: HttpsFiles | None,
        background: Background,
        stopping: asyncio.Event,
    ) -> None:
        self.port: int = listener.getsockname()[1]
        self.stopping = stopping
        self._listener = listener
        self._tls = tls
        self._background = background
        self._server = _Server(
            uvicorn.Config(
                app,  # type: ignore[arg-type] # an ASGI application
                http="h11",
                ws="none",
                lifespan="off",
                log_config=None,  # keep the project's own configuration
                log_level="warning",
                access_log=False,  # it has paths, which contain names
                server_header=False,
                proxy_headers=False,
                timeout_graceful_shutdown=max(1, round(settings.drain_seconds)),
                ssl_context_factory=(lambda *_: tls.context) if tls else None,
            )
        )

    async def serve(self) -> None:
        """Serve until `stopping` is set or a signal arrives, then finish requests in flight."""
        loop = asyncio.get_running_loop()
        for number in _SIGNALS:
            loop.add_signal_handler(number, self.stopping.set)
        renewal = self._background.keep("certificates", self._renew)
        serving = asyncio.create_task(self._server.serve(sockets=[self._listener]))
        stopping = asyncio.create_task(self.stopping.wait())
        try:
            _log.info("serving", services=["web"])
            await asyncio.wait({serving, stopping}, return_when=asyncio.FIRST_COMPLETED)
            _log.info("draining")
        finally:
            for number in _SIGNALS:
                loop.remove_signal_handler(number)
            renewal.cancel()
            stopping.cancel()
            self._server.should_exit = True
        await serving
        _log.info("drained")

    async def _renew(self) -> None:
        while self._tls is not None:
            self._tls.renew()
            await asyncio.sleep(_RENEWAL_S)


class _Server(uvicorn.Server):
    """Does not handle signals: uvicorn would raise them again at exit."""

    @contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        yield


def _bind(settings: WebSettings) -> socket.socket:
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    try:
        return socket.create_server((settings.host, settings.port), family=family)
    except OSError as error:
        address = address_of(settings.host, settings.port)
        raise SettingsError([f"{address}: cannot be bound: {error.strerror}"]) from None
