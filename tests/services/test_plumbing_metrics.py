import asyncio
import re
import urllib.error
import urllib.request

import grpc
import pytest
from prometheus_client import CollectorRegistry

from shared.service.metrics import MetricsServer
from tests.services.plumbing_host import Running, running, until
from tests.services.plumbing_service import NAME, call


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
        server = MetricsServer(CollectorRegistry(), host=host, port=0)
    except OSError:
        pytest.skip(f"this machine has no {host}")
    shown = f"[{host}]" if ":" in host else host
    url = f"http://{shown}:{server.port}/metrics"
    with urllib.request.urlopen(url, timeout=5) as answer:
        assert answer.status == 200
    server.close()
    with pytest.raises(urllib.error.URLError):
        urllib.request.urlopen(url, timeout=5)


async def test_a_running_service_exposes_its_calls(capfd: pytest.CaptureFixture[str]) -> None:
    from shared.service.logs import configure_logging  # noqa: PLC0415

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
