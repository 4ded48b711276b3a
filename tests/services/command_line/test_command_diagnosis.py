"""What the command line says when a call does not reach the service it was meant for."""

import asyncio
import contextlib
import socketserver
import ssl
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.services.authority import Authority
from tests.services.hosting import Service
from tests.services.serving.plumbing_host import running

pytestmark = pytest.mark.asyncio(loop_scope="session")

BIDEN = Path(__file__).parents[2] / "data" / "joe_biden_blue_room.jpg"


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path, "authority")


async def run(*arguments: object) -> tuple[int | None, str]:
    """Exit code of a command that prints no answer, and what it says instead."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "command_line", *map(str, arguments)),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    output, errors = await process.communicate()
    assert output == b""
    return process.returncode, errors.decode()


async def fault(*arguments: object) -> str:
    """The one line of a command that cannot reach its service."""
    exit_code, words = await run(*arguments)
    assert exit_code == 1, words
    (line,) = words.splitlines()
    return line


async def fault_at(port: int, *options: object, host: str = "127.0.0.1") -> str:
    return await fault("gallery", "collections", "--recognizer", f"{host}:{port}", *options)


async def test_where_nobody_listens_it_asks_whether_the_service_is_running(free_port: int) -> None:
    line = await fault_at(free_port)
    assert line.startswith(f"UNAVAILABLE: is the recognizer running at 127.0.0.1:{free_port}?")
    line = await fault("encode", BIDEN, "--encoder", f"127.0.0.1:{free_port}")
    assert line.startswith(f"UNAVAILABLE: is the encoder running at 127.0.0.1:{free_port}?")


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        ("nowhere.invalid:50052", "host 'nowhere.invalid' not found"),
        ("127.0.0.1:fifty", "expected HOST:PORT"),
    ],
)
async def test_an_address_that_is_none_is_named(target: str, expected: str) -> None:
    assert expected in await fault("gallery", "collections", "--recognizer", target)


async def test_the_other_service_is_told_by_its_name(encoder: Service, recognizer: Service) -> None:
    line = await fault_at(encoder.host.port)
    assert line == (
        f"UNIMPLEMENTED: {encoder.address} is an encoder; give the address of the recognizer"
    )
    line = await fault("encode", BIDEN, "--encoder", recognizer.address)
    assert line == (
        f"UNIMPLEMENTED: {recognizer.address} is a recognizer; give the address of the encoder"
    )


async def test_a_grpc_service_of_others_is_no_recognizer() -> None:
    async with running() as other:
        assert "is not a compactface recognizer" in await fault_at(other.port)


async def test_the_port_of_metrics_is_told_from_the_service(free_port: int) -> None:
    async with running(metrics_port=free_port):
        assert "does not speak gRPC" in await fault_at(free_port)


async def test_roots_of_a_service_without_tls_are_too_much(authority: Authority) -> None:
    async with running() as plain:
        line = await fault_at(plain.port, "--ca", authority.certificate)
    assert "does not use TLS" in line
    assert "--ca" in line


async def test_a_service_with_tls_asks_for_its_roots(authority: Authority) -> None:
    certificate, key = authority.issue("server")
    async with running(tls_certificate=certificate, tls_key=key) as secure:
        line = await fault_at(secure.port)
    assert "uses TLS" in line
    assert "--ca" in line


async def test_roots_that_did_not_sign_the_certificate_are_named(
    authority: Authority, tmp_path: Path
) -> None:
    certificate, key = authority.issue("server")
    stranger = Authority(tmp_path, "stranger").certificate
    async with running(tls_certificate=certificate, tls_key=key) as secure:
        line = await fault_at(secure.port, "--ca", stranger)
    assert f"under the roots in --ca {stranger}" in line
    assert "unable to get local issuer certificate" in line


async def test_a_certificate_for_another_name_is_told(authority: Authority) -> None:
    certificate, key = authority.issue("server")  # for localhost and 127.0.0.1
    settings = {"tls_certificate": certificate, "tls_key": key, "host": "127.0.0.2"}
    async with running(**settings) as secure:
        line = await fault_at(secure.port, "--ca", authority.certificate, host="127.0.0.2")
    assert "is not valid for 127.0.0.2" in line
    assert "mismatch" in line


@pytest.fixture
def mutual(authority: Authority) -> dict[str, Path]:
    """Settings of a service that knows callers by their certificates."""
    certificate, key = authority.issue("server")
    return {"tls_certificate": certificate, "tls_key": key, "tls_client_ca": authority.certificate}


async def test_a_certificate_that_is_asked_for_is_missed(
    authority: Authority, mutual: dict[str, Path]
) -> None:
    async with running(**mutual) as secure:
        line = await fault_at(secure.port, "--ca", authority.certificate)
    assert "--certificate and --key" in line


async def test_a_certificate_of_a_stranger_is_refused_by_name(
    authority: Authority, mutual: dict[str, Path], tmp_path: Path
) -> None:
    certificate, key = Authority(tmp_path, "stranger").issue("client")
    identity = ("--certificate", certificate, "--key", key)
    async with running(**mutual) as secure:
        line = await fault_at(secure.port, "--ca", authority.certificate, *identity)
    assert f"does not accept --certificate {certificate}" in line


async def test_files_that_are_no_pem_are_a_usage_error(authority: Authority) -> None:
    certificate, _ = authority.issue("one")
    _, key = authority.issue("two")
    for options, expected in (
        (("--ca", BIDEN), "holds no certificates"),
        (
            ("--ca", authority.certificate, "--certificate", certificate, "--key", key),
            "cannot be used together",
        ),
    ):
        exit_code, words = await run("gallery", "collections", *options)
        assert exit_code == 2
        assert expected in " ".join(words.replace("│", " ").split())


class OlderTls(socketserver.ThreadingTCPServer):
    """Shakes hands by TLS 1.2 and asks for a certificate."""

    daemon_threads = True

    def __init__(self, context: ssl.SSLContext) -> None:
        self._context = context
        super().__init__(("127.0.0.1", 0), socketserver.BaseRequestHandler)

    def finish_request(self, request: Any, client_address: Any) -> None:  # noqa: ARG002
        with contextlib.suppress(ssl.SSLError):
            self._context.wrap_socket(request, server_side=True).close()


async def test_a_certificate_missed_in_an_older_tls_is_told_as_well(authority: Authority) -> None:
    certificate, key = authority.issue("server")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    context.load_verify_locations(authority.certificate)
    context.verify_mode, context.maximum_version = ssl.CERT_REQUIRED, ssl.TLSVersion.TLSv1_2
    with OlderTls(context) as server:
        serving = asyncio.create_task(asyncio.to_thread(server.serve_forever))
        line = await fault_at(server.server_address[1], "--ca", authority.certificate)
        server.shutdown()
        await serving
    assert "--certificate and --key" in line
