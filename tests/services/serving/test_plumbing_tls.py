import asyncio
import ssl
from collections.abc import Callable
from pathlib import Path

import grpc
import pytest

from shared.serving import authorization
from shared.serving.settings_loader import SettingsError
from tests.services.authority import Authority
from tests.services.serving.plumbing_host import running
from tests.services.serving.plumbing_service import NAME, call


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path, "authority")


Settings = dict[str, Path]


@pytest.fixture
def tls(authority: Authority) -> Settings:
    certificate, key = authority.issue("server")
    return {
        "tls_certificate": certificate,
        "tls_key": key,
        "tls_client_ca": authority.certificate,
    }


def channel_to(
    port: int, roots: Path, identity: tuple[Path, Path] | None = None
) -> grpc.aio.Channel:
    certificate, key = (path.read_bytes() for path in identity) if identity else (None, None)
    credentials = grpc.ssl_channel_credentials(roots.read_bytes(), key, certificate)
    return grpc.aio.secure_channel(f"localhost:{port}", credentials)


async def test_a_client_of_the_authority_is_served(authority: Authority, tls: Settings) -> None:
    async with running(**tls) as service:
        identity = authority.issue("client")
        async with channel_to(service.port, authority.certificate, identity) as channel:
            assert await call(channel, "Unary", b"hello") == b"hello"


@pytest.mark.parametrize("stranger", [True, False], ids=["another authority", "no certificate"])
async def test_other_clients_are_not(
    authority: Authority,
    tls: Settings,
    tmp_path: Path,
    stranger: bool,  # noqa: FBT001
) -> None:
    identity = Authority(tmp_path, "stranger").issue("intruder") if stranger else None
    async with (
        running(**tls) as service,
        channel_to(service.port, authority.certificate, identity) as channel,
    ):
        with pytest.raises(grpc.aio.AioRpcError, match="UNAVAILABLE"):
            await call(channel, "Unary", b"hello", timeout=5)


async def test_without_a_client_ca_no_certificate_is_asked(
    authority: Authority, tls: Settings
) -> None:
    del tls["tls_client_ca"]
    async with (
        running(**tls) as service,
        channel_to(service.port, authority.certificate) as channel,
    ):
        assert await call(channel, "Unary", b"hello") == b"hello"


@pytest.fixture
def common_name(tls: Settings) -> Callable[[int], str]:
    del tls["tls_client_ca"]

    def of(port: int) -> str:
        return ssl.get_server_certificate(("127.0.0.1", port), timeout=5)

    return of


async def test_replaced_certificates_are_used_from_the_next_handshake(
    authority: Authority, tls: Settings, common_name: Callable[[int], str]
) -> None:
    async with running(**tls) as service:
        served = await asyncio.to_thread(common_name, service.port)
        assert served.strip() == tls["tls_certificate"].read_text().strip()

        certificate, key = authority.issue("renewed")
        certificate.replace(tls["tls_certificate"])
        halfway = await asyncio.to_thread(common_name, service.port)
        assert halfway == served  # the key does not fit yet

        key.replace(tls["tls_key"])
        renewed = await asyncio.to_thread(common_name, service.port)
        assert renewed.strip() == tls["tls_certificate"].read_text().strip()
        assert renewed != served


async def test_connections_of_a_removed_authority_are_of_no_use(
    authority: Authority, tls: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither for new calls nor for open streams; those of the other authority go on."""
    monkeypatch.setattr(authorization, "_CHECK_STREAMS_EVERY_S", 0.02)
    other = Authority(tmp_path, "other")
    both = tmp_path / "both.crt"
    both.write_bytes(authority.certificate.read_bytes() + other.certificate.read_bytes())
    tls["tls_client_ca"] = both
    old, new = authority.issue("old"), other.issue("new")
    async with (
        running(**tls) as service,
        channel_to(service.port, authority.certificate, old) as removed,
        channel_to(service.port, authority.certificate, new) as kept,
    ):
        streams = [channel.stream_stream(f"/{NAME}/BidiStream")() for channel in (removed, kept)]
        for stream in streams:
            await stream.write(b"hello")
            assert await stream.read() == b"hello"
        assert await call(removed, "Unary", b"hello") == b"hello"

        both.write_bytes(other.certificate.read_bytes())
        with pytest.raises(grpc.aio.AioRpcError, match="authority") as caught:
            async with asyncio.timeout(5):
                await streams[0].read()
        assert caught.value.code() is grpc.StatusCode.UNAUTHENTICATED
        with pytest.raises(grpc.aio.AioRpcError, match="authority"):
            await call(removed, "Unary", b"hello")

        await streams[1].write(b"again")
        assert await streams[1].read() == b"again"
        assert await call(kept, "Unary", b"hello") == b"hello"


async def test_files_that_do_not_fit_each_other_are_a_settings_error(
    authority: Authority, tls: Settings
) -> None:
    tls["tls_key"] = authority.issue("other")[1]
    with pytest.raises(SettingsError, match="TLS files"):
        async with running(**tls):
            pass


async def test_a_missing_file_is_a_settings_error(tls: Settings, tmp_path: Path) -> None:
    tls["tls_client_ca"] = tmp_path / "missing.crt"
    with pytest.raises(SettingsError, match=r"missing\.crt"):
        async with running(**tls):
            pass
