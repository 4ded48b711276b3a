"""The probe of the containers, against processes in all states."""

import asyncio
import signal
import sys
from pathlib import Path

from prometheus_client import CollectorRegistry

from shared.serving.background import Background
from shared.serving.metrics import MetricsServer
from tests.deployed import DEPLOY
from tests.services.access import AccessFolder
from tests.services.authority import Authority
from tests.services.conftest import unused_port
from tests.services.processes import process
from tests.services.serving.plumbing_host import serving


async def probe(url: str) -> tuple[int, str]:
    """Its exit status and what it says."""
    child = await asyncio.create_subprocess_exec(
        *(sys.executable, "-I", "-S", DEPLOY / "healthcheck.py", url),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    words, _ = await child.communicate()
    assert child.returncode is not None
    return child.returncode, words.decode().strip()


async def test_a_service_is_healthy_from_serving_until_it_stops(
    tiny_models: Path, tmp_path: Path
) -> None:
    async with process("encoder", tmp_path / "log", models=tiny_models) as encoder:
        url = f"http://{encoder.metrics_address}/healthy"
        assert await probe(url) == (0, "200 SERVING")
        encoder.child.send_signal(signal.SIGTERM)
        await encoder.child.wait()
        code, words = await probe(url)
        assert (code, "refused" in words) == (1, True)


async def test_a_service_that_is_not_healthy_or_stops_says_so() -> None:
    port = unused_port()
    async with serving(metrics_port=port) as service:
        url = f"http://127.0.0.1:{port}/healthy"
        assert await probe(url) == (0, "200 SERVING")
        await service.host.set_healthy(healthy=False)
        assert await probe(url) == (1, "503 NOT_SERVING")
        await service.host.set_healthy(healthy=True)
        assert await probe(url) == (0, "200 SERVING")


async def test_health_is_told_by_https_without_a_token(tmp_path: Path) -> None:
    access = AccessFolder(tmp_path / "access.toml")
    access.token("metrics")
    files = Authority(tmp_path, "authority").issue("server")
    port = unused_port()
    settings = {"tls_certificate": files[0], "tls_key": files[1], "access": access.path}
    async with serving(metrics_host="0.0.0.0", metrics_port=port, **settings):  # noqa: S104
        assert await probe(f"https://localhost:{port}/healthy") == (0, "200 SERVING")
        assert (await probe(f"https://localhost:{port}/metrics"))[0] == 1
        assert (await probe(f"http://localhost:{port}/healthy"))[0] == 1


async def test_a_server_of_metrics_alone_is_healthy() -> None:
    registry = CollectorRegistry()
    server = MetricsServer(registry, host="127.0.0.1", port=0, background=Background(registry))
    assert await probe(f"http://127.0.0.1:{server.port}/healthy") == (0, "200 SERVING")
    server.close()
