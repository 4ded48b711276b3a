"""Connections of both clients, the uplink and the command line: idle, and beside proxies."""

import asyncio
import json
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import pytest_asyncio

from compactface.client import EncoderClient, RecognizerClient
from tests.services.conftest import clouds
from tests.services.hosting import Service, running_encoder, running_recognizer, until
from tests.services.processes import process
from tests.services.relay import Proxy, Relay, listening

pytestmark = pytest.mark.asyncio(loop_scope="session")

PINGS = 6  # grpc sends one a second at most, and cuts off whose fourth comes too early


@pytest_asyncio.fixture(loop_scope="session")
async def encoder_service(tiny_models: Path) -> AsyncIterator[Service]:
    async with running_encoder(tiny_models, min_ping_seconds=0.02) as service:
        yield service


@pytest_asyncio.fixture(loop_scope="session")
async def recognizer_service(tiny_models: Path, tmp_path: Path) -> AsyncIterator[Service]:
    gallery = tmp_path / "gallery.sqlite"
    async with running_recognizer(tiny_models, gallery, min_ping_seconds=0.02) as service:
        yield service


async def stays_connected(
    client_of: type[EncoderClient | RecognizerClient], service: Service
) -> None:
    """A client that pings every second, says nothing for a while, and then calls again."""
    async with listening(Relay(service.host.port)) as relay:
        with client_of(f"127.0.0.1:{relay.port}", keepalive_s=1) as client:
            await asyncio.to_thread(client.info)
            before = relay.packets
            await until(lambda: relay.packets >= before + PINGS, seconds=60)
            await asyncio.to_thread(client.info)
        assert relay.connections == 1


async def test_an_idle_encoder_client_stays_connected(encoder_service: Service) -> None:
    await stays_connected(EncoderClient, encoder_service)


async def test_an_idle_recognizer_client_stays_connected(recognizer_service: Service) -> None:
    await stays_connected(RecognizerClient, recognizer_service)


async def test_an_idle_uplink_stays_connected(
    tiny_models: Path, recognizer_service: Service
) -> None:
    async with (
        listening(Relay(recognizer_service.host.port)) as relay,
        running_encoder(
            tiny_models,
            uplink_target=f"127.0.0.1:{relay.port}",
            uplink_keepalive_seconds=1,
        ) as encoder,
    ):
        await forward(encoder)
        before = relay.packets
        await until(lambda: relay.packets >= before + PINGS, seconds=60)
        await forward(encoder)
        assert relay.connections == 1
        assert encoder.sample("compactface_uplink_breaks_total") == 0


async def test_whoever_pings_more_often_than_is_allowed_is_cut_off(
    tiny_models: Path, tmp_path: Path
) -> None:
    """So the tests above can fail."""
    async with running_recognizer(tiny_models, tmp_path / "gallery.sqlite") as strict:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(15):
                await stays_connected(RecognizerClient, strict)


async def test_what_grpc_itself_has_to_say_does_not_stand_between_the_lines_of_json(
    tiny_models: Path, tmp_path: Path
) -> None:
    """A recognizer cuts off an uplink that pings too often."""
    async with (
        running_recognizer(tiny_models, tmp_path / "gallery.sqlite") as strict,
        listening(Relay(strict.host.port)) as relay,
        process(
            "encoder",
            tmp_path / "log",
            models=tiny_models,
            uplink_target=f"127.0.0.1:{relay.port}",
            uplink_keepalive_seconds=1,
        ) as encoder,
    ):
        await until(lambda: relay.connections > 1, seconds=60)
        for line in encoder.log.splitlines()[:-1]:
            assert json.loads(line)["event"]


async def forward(encoder: Service) -> None:
    """Forward one face, and wait for its acknowledgement."""
    with EncoderClient(encoder.address) as client:
        await asyncio.to_thread(client.encode, clouds(1), kind="crop", forward=True)
    await until(lambda: encoder.sample("compactface_uplink_depth") == 0)


@pytest.fixture
def proxied(monkeypatch: pytest.MonkeyPatch, free_port: int) -> None:
    """The environment names an HTTP proxy, which does not even answer."""
    for name in ("grpc_proxy", "https_proxy", "http_proxy"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{free_port}")
    for name in ("no_grpc_proxy", "no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)


@contextmanager
def both(
    encoder: Service, recognizer: Service, **options: str
) -> Iterator[tuple[EncoderClient, RecognizerClient]]:
    with (
        EncoderClient(encoder.address, **options) as first,
        RecognizerClient(recognizer.address, **options) as second,
    ):
        yield first, second


@pytest.mark.usefixtures("proxied")
async def test_no_client_goes_through_a_proxy_that_the_environment_names(
    encoder: Service, recognizer: Service
) -> None:
    with both(encoder, recognizer) as (first, second):
        await asyncio.to_thread(first.info)
        await asyncio.to_thread(second.info)


@pytest.mark.usefixtures("proxied")
async def test_the_uplink_goes_through_no_proxy(tiny_models: Path, recognizer: Service) -> None:
    async with running_encoder(tiny_models, uplink_target=recognizer.address) as encoder:
        await forward(encoder)


@pytest.mark.usefixtures("proxied")
@pytest.mark.parametrize(
    "command", [["health", "--target"], ["gallery", "collections", "--recognizer"]]
)
async def test_no_command_goes_through_a_proxy(command: list[str], recognizer: Service) -> None:
    assert await program(*command, recognizer.address) == 0


async def test_clients_go_through_the_proxy_that_they_are_given(
    encoder: Service, recognizer: Service
) -> None:
    async with listening(Proxy(0)) as proxy:
        with both(encoder, recognizer, proxy=f"http://127.0.0.1:{proxy.port}") as (first, second):
            await asyncio.to_thread(first.info)
            await asyncio.to_thread(second.info)
        assert proxy.connections == 2


async def test_uplink_and_commands_go_through_the_proxy_that_they_are_given(
    tiny_models: Path, recognizer: Service
) -> None:
    async with listening(Proxy(0)) as proxy:
        url = f"http://127.0.0.1:{proxy.port}"
        async with running_encoder(
            tiny_models, uplink_target=recognizer.address, uplink_proxy=url
        ) as encoder:
            await forward(encoder)
        assert proxy.connections == 1
        for command in (["health", "--target"], ["gallery", "collections", "--recognizer"]):
            assert await program(*command, recognizer.address, "--proxy", url) == 0
        assert proxy.connections == 3


async def program(*arguments: str) -> int | None:
    """Exit code of the program."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "command_line", *arguments), stdout=asyncio.subprocess.DEVNULL
    )
    return await process.wait()
