"""`compactface sightings` and `compactface gallery face`, against a real recognizer."""

import asyncio
import json
import shlex
import stat
import sys
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import pytest
from PIL import Image

from compactface.v1.compact_map_pb2 import CompactMap
from tests.services.asking import CAMERAS
from tests.services.hosting import Service, running_recognizer, until
from tests.services.sightings import identified, seen

pytestmark = pytest.mark.asyncio(loop_scope="session")

Run = Callable[..., Awaitable[str]]


@pytest.fixture
def compactface(service: Service) -> Run:
    """Runs a command and gives what it printed."""

    async def run(command: str, *, exit_code: int = 0) -> str:
        words = [*shlex.split(command), "--recognizer", service.address]
        if "face" not in words[:2]:
            words += ["--collection", CAMERAS]
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "command_line", *words),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        output, _ = await process.communicate()
        assert process.returncode == exit_code, output.decode()
        return output.decode()

    return run


async def test_the_unknown_get_a_name(
    service: Service, compactface: Run, people: list[CompactMap], tmp_path: Path
) -> None:
    one, other = await seen(service, people[0], people[1])
    await identified(service, other)
    table = await compactface("sightings list --since 1h")
    assert "empty gallery" in table
    assert "anonymous" in table
    said = await compactface(f"sightings enroll {one} --subject ada --name 'Ada Lovelace'")
    assert said == "enrolled ada with 1 faces\n"
    matches = json.loads(await compactface("sightings list --decision match --json"))
    assert [item["sighting_id"] for item in matches] == [one]
    assert json.loads(await compactface("sightings list --subject bob --json")) == []
    assert json.loads(await compactface("sightings list --until 1h --json")) == []
    picture = tmp_path / "face.png"
    shown = await compactface(f"sightings show {one} --out {picture}")
    assert "ada (Ada Lovelace)" in shown
    assert stat.S_IMODE(picture.stat().st_mode) == 0o600
    with Image.open(picture) as opened:
        assert opened.size == (96, 112)
    face = json.loads(await compactface("gallery show ada --json"))["faces"][0]["face_id"]
    of_subject = tmp_path / "subject.png"
    said = await compactface(f"gallery face {face} --out {of_subject} --collection {CAMERAS}")
    assert said.startswith(f"{of_subject}: a face of ada")
    assert of_subject.read_bytes() == picture.read_bytes()


async def test_watching_prints_who_passes(
    service: Service, compactface: Run, people: list[CompactMap]
) -> None:
    watching = asyncio.create_task(compactface("sightings watch --count 2 --json"))
    while not watching.done():
        await seen(service, people[0])
        await asyncio.wait({watching}, timeout=0.3)
    first, second = map(json.loads, watching.result().splitlines())
    assert first["sighting"]["identification"]["decision"] == "IDENTIFY_DECISION_EMPTY_GALLERY"
    resume = f"sightings watch --count 1 --json --resume {first['resume_token']}"
    assert json.loads(await compactface(resume)) == second


async def test_sightings_are_deleted(
    service: Service, compactface: Run, people: list[CompactMap]
) -> None:
    one, *_ = await seen(service, people[0], people[1], people[2])
    assert await compactface(f"sightings delete {one}") == "deleted 1 sightings\n"
    assert await compactface("sightings delete --camera gate-7") == "deleted 0 sightings\n"
    assert await compactface("sightings delete --all") == "deleted 2 sightings\n"


@pytest.mark.parametrize(
    ("command", "said"),
    [
        ("sightings list --since yesterday", "'yesterday'"),
        ("sightings list --decision maybe", "'maybe'"),
        ("sightings delete", "give ids"),
        ("sightings delete x --all", "give ids"),
    ],
)
async def test_what_cannot_be_meant_is_a_usage_error(
    compactface: Run, command: str, said: str
) -> None:
    assert said in await compactface(command, exit_code=2)


async def test_watching_outlives_a_restart_before_the_first_sighting(
    tiny_models: Path, tmp_path: Path, people: list[CompactMap], free_port: int
) -> None:
    def running() -> AbstractAsyncContextManager[Service]:
        gallery = tmp_path / "gallery.sqlite"
        return running_recognizer(tiny_models, gallery, stream_collection=CAMERAS, port=free_port)

    words = ["sightings", "watch", "--count", "1", "--json", "--collection"]
    target = "--recognizer", f"127.0.0.1:{free_port}"
    async with running() as service:
        watching = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "command_line", *words, CAMERAS, *target),
            stdout=asyncio.subprocess.PIPE,
        )
        await until(lambda: watches(service) == 1, seconds=60)
    output = asyncio.create_task(watching.communicate())
    async with running() as service:
        while not output.done():
            await seen(service, people[0])
            await asyncio.wait({output}, timeout=0.3)
    said, _ = output.result()
    assert watching.returncode == 0
    assert json.loads(said)["sighting"]["identification"]


def watches(service: Service) -> float:
    """How many calls of WatchSightings have begun."""
    return service.sample(
        "grpc_server_started_total",
        grpc_type="server_stream",
        grpc_service="compactface.v1.RecognizerService",
        grpc_method="WatchSightings",
    )
