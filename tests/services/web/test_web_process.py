"""The web gateway as a process: what it refuses to start with, TLS, and its end."""

import asyncio
import signal
import ssl
from pathlib import Path

import httpx
import pytest

from shared.serving.process_settings import ProcessSettings
from shared.serving.tls import HttpsFiles
from tests.services.authority import Authority
from tests.services.hosting import until
from tests.services.processes import Process, ending, start
from web_gateway.settings import WebSettings

pytestmark = pytest.mark.asyncio

NOWHERE = {"encoder_target": "127.0.0.1:1", "recognizer_target": "127.0.0.1:1"}
WITHOUT = ("torch", "cv2", "onnxruntime", "faiss", "sqlalchemy")


async def serving(log: Path, **settings: object) -> Process:
    """A gateway in an environment without what the services need."""
    made = Process(await start("web", log, without=WITHOUT, **NOWHERE, **settings), log)
    await until(
        lambda: bool(made.events("serving")) or made.child.returncode is not None, seconds=60
    )
    assert made.child.returncode is None, made.log
    return made


async def test_serves_logs_and_ends(tmp_path: Path) -> None:
    process = await serving(tmp_path / "log")
    (listening,) = process.events("listening")
    async with httpx.AsyncClient(trust_env=False) as client:
        base = f"http://{listening['address']}"
        health = await client.get(f"{base}/v1/health")
        assert health.json() == {"encoder": "UNREACHABLE", "recognizer": "UNREACHABLE"}
        assert (await client.get(f"{base}/v1/collections/secret-name")).status_code == 503
        metrics = (await client.get(f"http://{listening['metrics_address']}/metrics")).text
    assert (
        'compactface_web_requests_total{method="GET",route="/v1/collections/{collection}",'
        'status="503"} 1.0'
    ) in metrics
    process.child.send_signal(signal.SIGTERM)
    async with asyncio.timeout(20):
        assert await process.child.wait() == 0
    assert process.events("drained")
    request = process.events("request")[-1]
    assert request["route"] == "/v1/collections/{collection}"
    assert request["request_id"]
    assert "secret-name" not in process.log  # names of people stand in paths, too


async def test_refuses_to_be_reached_without_tls(tmp_path: Path) -> None:
    code, log = await ending("web", tmp_path / "log", host="0.0.0.0")  # noqa: S104 - the point
    assert code == 2
    assert "tls_certificate" in log
    code, log = await ending("web", tmp_path / "log", tls_key="x.pem")
    assert code == 2
    code, log = await ending("web", tmp_path / "log", encoder_ca=tmp_path / "missing.pem")
    assert code == 2
    assert "missing.pem" in log


async def test_speaks_https(tmp_path: Path) -> None:
    authority = Authority(tmp_path, "authority")
    certificate, key = authority.issue("localhost")
    process = await serving(
        tmp_path / "log", tls_certificate=certificate, tls_key=key, host="127.0.0.1"
    )
    (listening,) = process.events("listening")
    context = ssl.create_default_context(cafile=authority.certificate)
    port = listening["address"].rsplit(":", 1)[1]
    async with httpx.AsyncClient(verify=context, trust_env=False) as client:
        answer = await client.get(f"https://localhost:{port}/sign-in")
    assert answer.status_code == 200
    assert answer.headers["strict-transport-security"]
    process.child.kill()
    await process.child.wait()


async def test_settings_of_a_proxied_gateway() -> None:
    assert issubclass(WebSettings, ProcessSettings)
    assert WebSettings(names="faces.example, www.example").known_names == {
        "faces.example",
        "www.example",
    }
    assert "localhost" in WebSettings().known_names
    assert not WebSettings(host="0.0.0.0", insecure=True).known_names  # noqa: S104


async def test_replaced_certificates_are_shown_from_the_next_handshake(tmp_path: Path) -> None:
    authority = Authority(tmp_path, "authority")
    certificate, key = authority.issue("first")
    files = HttpsFiles(certificate, key)
    server = await asyncio.start_server(lambda *_: None, "127.0.0.1", 0, ssl=files.context)
    port = server.sockets[0].getsockname()[1]

    async def shown() -> str:
        return await asyncio.to_thread(ssl.get_server_certificate, ("127.0.0.1", port), timeout=5)

    assert (await shown()).strip() == certificate.read_text().strip()
    other, other_key = authority.issue("second")
    other.replace(certificate)  # in the middle of a rotation: the key is still the old one
    files.renew()
    before = await shown()
    assert before.strip() != certificate.read_text().strip()
    other_key.replace(key)
    files.renew()
    assert (await shown()).strip() == certificate.read_text().strip()
    server.close()
