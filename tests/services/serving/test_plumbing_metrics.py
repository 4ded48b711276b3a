import asyncio
import http.client
import re
import ssl
import threading
import time
import urllib.error
import urllib.request
from contextlib import closing
from http.server import ThreadingHTTPServer
from pathlib import Path

import grpc
import pytest
from prometheus_client import CollectorRegistry, Metric
from structlog.testing import capture_logs

from shared.serving.metrics import MetricsServer
from tests.services.access import AccessFolder
from tests.services.authority import Authority
from tests.services.serving.plumbing_host import Running, metrics_server, running, until
from tests.services.serving.plumbing_service import NAME, call


def counted(service: Running, name: str, *, kind: str, method: str, **labels: str) -> float | None:
    labels |= {"grpc_type": kind, "grpc_service": NAME, "grpc_method": method}
    return service.registry.get_sample_value(name, labels)


@pytest.mark.parametrize(
    ("kind", "method"),
    [
        ("unary", "Unary"),
        ("server_stream", "ServerStream"),
        ("client_stream", "ClientStream"),
        ("bidi_stream", "BidiStream"),
    ],
)
async def test_every_kind_of_call_is_counted_with_its_code(kind: str, method: str) -> None:
    async with running() as service:
        await call(service.channel, method, b"hello")
        for request in (b"invalid", b"bug", b"abort"):
            with pytest.raises(grpc.aio.AioRpcError):
                await call(service.channel, method, request)

        def total(code: str) -> float | None:
            name = "grpc_server_handled_total"
            return counted(service, name, kind=kind, method=method, grpc_code=code)

        codes = ("OK", "INVALID_ARGUMENT", "INTERNAL", "DATA_LOSS")
        assert [total(code) for code in codes] == [1, 1, 1, 1]
        assert counted(service, "grpc_server_started_total", kind=kind, method=method) == 4
        seconds = "grpc_server_handling_seconds_count"
        assert counted(service, seconds, kind=kind, method=method) == 4


async def test_an_expired_deadline_and_a_client_that_leaves_are_told_apart() -> None:
    async with running() as service:

        def total(code: str) -> float | None:
            name = "grpc_server_handled_total"
            return counted(service, name, kind="unary", method="Unary", grpc_code=code)

        with pytest.raises(grpc.aio.AioRpcError):
            await call(service.channel, "Unary", b"wait", timeout=0.2)
        await until(lambda: total("DEADLINE_EXCEEDED") == 1)
        leaving = asyncio.create_task(call(service.channel, "Unary", b"wait", timeout=30))
        await until(lambda: service.plumbing.running == 1)
        leaving.cancel()
        await until(lambda: total("CANCELLED") == 1)


async def test_refused_calls_are_counted_too() -> None:
    async with running(max_in_flight=1) as service:
        waiting = asyncio.create_task(call(service.channel, "Unary", b"wait"))
        await until(lambda: service.plumbing.running == 1)
        with pytest.raises(grpc.aio.AioRpcError):
            await call(service.channel, "Unary", b"hello")
        service.plumbing.release.set()
        await waiting
        refused = {"grpc_code": "RESOURCE_EXHAUSTED"}
        name = "grpc_server_handled_total"
        assert counted(service, name, kind="unary", method="Unary", **refused) == 1


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_the_metrics_server_answers_until_it_is_closed(host: str) -> None:
    try:
        server = metrics_server(CollectorRegistry(), host=host)
    except OSError:
        pytest.skip(f"this machine has no {host}")
    shown = f"[{host}]" if ":" in host else host
    url = f"http://{shown}:{server.port}/metrics"
    with urllib.request.urlopen(url, timeout=5) as answer:
        assert answer.status == 200
    server.close()
    with pytest.raises(urllib.error.URLError):
        urllib.request.urlopen(url, timeout=5)


class FailingOnce:
    """A collector that fails when it is first asked."""

    def __init__(self) -> None:
        self.asked = 0

    def collect(self) -> list[Metric]:
        self.asked += 1
        if self.asked == 1:
            raise ArithmeticError("cannot be counted")
        return []


def scrape(server: MetricsServer) -> str:
    with urllib.request.urlopen(f"http://127.0.0.1:{server.port}/metrics", timeout=5) as answer:
        return str(answer.read().decode())


def test_a_metric_that_cannot_be_read_is_logged_and_counted(
    capfd: pytest.CaptureFixture[str],
) -> None:
    registry = CollectorRegistry()
    with closing(metrics_server(registry)) as server, capture_logs() as logs:
        registry._collector_to_names[FailingOnce()] = []
        with pytest.raises((ConnectionError, http.client.HTTPException)):
            scrape(server)
        assert 'compactface_background_failures_total{task="metrics"} 1.0' in scrape(server)
    assert [(line["event"], line["task"]) for line in logs] == [
        ("background_task_failed", "metrics")
    ]
    assert "Traceback" not in capfd.readouterr().err


def test_the_thread_that_serves_metrics_begins_again(monkeypatch: pytest.MonkeyPatch) -> None:
    broken = threading.Event()
    with closing(metrics_server(CollectorRegistry())) as server:

        def break_once(self: ThreadingHTTPServer) -> None:
            if self.server_port == server.port and not broken.is_set():  # not of other services
                broken.set()
                raise OSError("no more files")

        monkeypatch.setattr(ThreadingHTTPServer, "service_actions", break_once)
        assert broken.wait(5)
        deadline = time.monotonic() + 30
        while 'compactface_background_failures_total{task="metrics"} 1.0' not in scrape(server):
            assert time.monotonic() < deadline
            time.sleep(0.05)


async def test_a_running_service_exposes_its_calls(capfd: pytest.CaptureFixture[str]) -> None:
    from shared.serving.logs import configure_logging  # noqa: PLC0415

    configure_logging()
    async with running() as service:
        await call(service.channel, "Unary", b"hello")
        address = re.search(r'"metrics_address": "([^"]+)"', capfd.readouterr().err)

        def read() -> str:
            url = f"http://{address[1]}/metrics"
            with urllib.request.urlopen(url, timeout=5) as answer:
                return answer.read().decode()

        text = await asyncio.to_thread(read)
    assert 'grpc_server_handled_total{grpc_code="OK",grpc_method="Unary"' in text


async def test_metrics_that_others_can_reach_are_read_with_tls_and_a_token(tmp_path: Path) -> None:
    access = AccessFolder(tmp_path / "access.toml")
    reader, other = access.token("metrics"), access.token("admin")
    authority = Authority(tmp_path, "authority")
    certificate, key = authority.issue("server")
    tls = {"tls_certificate": certificate, "tls_key": key}
    client = ssl.create_default_context(cafile=str(authority.certificate))

    def read(address: str, token: str | None) -> int:
        request = urllib.request.Request(f"https://{address}/metrics")
        if token is not None:
            request.add_header("Authorization", f"Bearer {token}")
        try:
            answer = urllib.request.urlopen(request, timeout=5, context=client)  # noqa: S310
        except urllib.error.HTTPError as error:
            answer = error
        with answer:
            assert (b"grpc_server_started" in answer.read()) == (
                answer.status == http.HTTPStatus.OK
            )
            return int(answer.status)

    with capture_logs() as logs:
        async with running(metrics_host="0.0.0.0", access=access.path, **tls):  # noqa: S104
            (address,) = (line["metrics_address"] for line in logs if "metrics_address" in line)
            address = f"localhost:{address.rpartition(':')[2]}"
            codes = [await asyncio.to_thread(read, address, t) for t in (None, "x", other, reader)]
            assert codes == [401, 401, 403, 200]
            access.revoke(reader)
            assert await asyncio.to_thread(read, address, reader) == 401
