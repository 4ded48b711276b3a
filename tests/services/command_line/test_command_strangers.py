"""`compactface sightings strangers` and naming one, against a real recognizer."""

import asyncio
import json
import shlex
import sys
from pathlib import Path

import pytest

from compactface.v1.compact_map_pb2 import CompactMap
from tests.services.asking import CAMERAS
from tests.services.hosting import running_recognizer
from tests.services.sightings import seen_and_identified

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def test_strangers_are_grouped_listed_named_and_deleted(
    tiny_models: Path, tmp_path: Path, people: list[CompactMap], again: list[CompactMap]
) -> None:
    async with running_recognizer(
        tiny_models, tmp_path / "gallery.sqlite", stream_collection=CAMERAS
    ) as service:

        async def compactface(command: str, *, exit_code: int = 0) -> str:
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "command_line", *shlex.split(command)),
                *("--recognizer", service.address),
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.STDOUT,
            )
            output, _ = await process.communicate()
            assert process.returncode == exit_code, output.decode()
            return output.decode()

        here = f"--collection {CAMERAS}"
        await compactface(f"gallery update {CAMERAS} --strangers 0.05")
        await seen_and_identified(service, people[0], people[1])
        await seen_and_identified(service, again[0], camera="yard")
        table = await compactface(f"sightings strangers {here}")
        assert "yard, door" in table
        (twice,) = json.loads(await compactface(f"sightings strangers --seen 2 --json {here}"))
        assert (twice["stranger_number"], twice["sightings"]) == ("1", "2")
        listed = await compactface(f"sightings list --stranger 1 {here}")
        assert listed.count("stranger 1") == 2
        for wrong in ("", f"{twice['best_sighting_id']} --stranger 1"):
            refused = await compactface(f"sightings enroll {wrong} {here}", exit_code=2)
            assert "--stranger" in refused
        named = await compactface(f"sightings enroll --stranger 1 --subject ada {here}")
        assert "enrolled ada with 2 faces" in named
        deleted = await compactface(f"sightings delete --stranger 2 {here}")
        assert "deleted 1 sightings" in deleted
        assert json.loads(await compactface(f"sightings strangers --json {here}")) == []
