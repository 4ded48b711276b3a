"""The examples for other clients, as README there says, against both services."""

import asyncio
import os
import re
import shutil
import sys
import sysconfig
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from typer.testing import CliRunner

from command_line.main import app
from tests.services.hosting import Service, running_encoder, running_recognizer

pytestmark = pytest.mark.asyncio(loop_scope="module")

ROOT = Path(__file__).parents[3]
EXAMPLES = ROOT / "examples"
PHOTO = ROOT / "tests" / "data" / "joe_biden_blue_room.jpg"
ANSWERS = r"""encode: \d+ bytes of codec [0-9a-f]{16}
identify: IDENTIFY_DECISION_MATCH ada 1\.000
verify: VERIFY_DECISION_MATCH 1\.000
refused: INVALID_ARGUMENT MAP_[A-Z_]+ in probe\.map\.png
"""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def encoder(tiny_models: Path) -> AsyncIterator[Service]:
    async with running_encoder(tiny_models, reflection=True) as service:
        yield service


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def recognizer(
    tiny_models: Path, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Service]:
    gallery = tmp_path_factory.mktemp("gallery") / "gallery.sqlite"
    async with running_recognizer(tiny_models, gallery, reflection=True) as service:
        yield service


async def run(folder: Path, *command: object, **environment: str) -> str:
    """What a command that must succeed prints, run in a folder."""
    process = await asyncio.create_subprocess_exec(
        *map(str, command),
        cwd=folder,
        env=os.environ | environment,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    output, errors = await process.communicate()
    assert process.returncode == 0, errors.decode()
    return output.decode()


async def test_python_with_stubs_of_its_own(
    encoder: Service, recognizer: Service, tmp_path: Path
) -> None:
    stubs = tmp_path / "generated"
    stubs.mkdir()
    protos = ROOT / "protos"
    await run(
        tmp_path,
        *(sys.executable, "-m", "grpc_tools.protoc", "-I", protos),
        *("-I", sysconfig.get_path("purelib")),
        *(f"--python_out={stubs}", f"--grpc_python_out={stubs}"),
        *protos.glob("compactface/v1/*.proto"),
    )
    client = (sys.executable, EXAMPLES / "python" / "stubs.py", PHOTO)
    said = await run(tmp_path, *client, encoder.address, recognizer.address, PYTHONPATH=str(stubs))
    assert re.fullmatch(ANSWERS, said)


async def test_python_with_the_client(
    encoder: Service, recognizer: Service, tmp_path: Path
) -> None:
    client = (sys.executable, EXAMPLES / "python" / "client.py", PHOTO)
    said = await run(tmp_path, *client, encoder.address, recognizer.address)
    assert re.fullmatch(ANSWERS, said)


@pytest.mark.skipif(not shutil.which("npm"), reason="Node is not installed")
async def test_node_with_the_descriptor_set(
    encoder: Service, recognizer: Service, tmp_path: Path
) -> None:
    for name in ("package.json", "package-lock.json", "client.js"):
        shutil.copy(EXAMPLES / "node" / name, tmp_path)
    await run(tmp_path, "npm", "ci", "--silent", "--no-audit", "--no-fund")
    descriptors = tmp_path / "compactface.binpb"
    assert CliRunner().invoke(app, ["protocol", str(descriptors)]).exit_code == 0
    client = ("node", "client.js", descriptors, PHOTO)
    said = await run(tmp_path, *client, encoder.address, recognizer.address)
    assert re.fullmatch(ANSWERS, said)


@pytest.mark.skipif(not shutil.which("jq"), reason="jq is not installed")
async def test_the_calls_of_grpcurl(encoder: Service, recognizer: Service, tmp_path: Path) -> None:
    programs = tmp_path / "bin"
    programs.mkdir()
    stand_in = f'exec {sys.executable} {Path(__file__).with_name("grpcurl.py")} "$@"'
    own = {"compactface": f'exec {sys.executable} -m command_line "$@"'}
    if not shutil.which("grpcurl"):
        own["grpcurl"] = stand_in
    for name, line in own.items():
        (programs / name).write_text(f"#!/bin/sh\n{line}\n")
        (programs / name).chmod(0o755)
    shutil.copy(PHOTO, tmp_path / "portrait.jpg")

    text = (EXAMPLES / "grpcurl.md").read_text(encoding="utf-8")
    text = text.replace("localhost:50051", encoder.address)
    text = text.replace("localhost:50052", recognizer.address)
    path = f"{programs}:{os.environ['PATH']}"
    blocks = re.findall(r"^```sh\n(.*?)^```", text, re.DOTALL | re.MULTILINE)
    said = [
        await run(tmp_path, "bash", "-euo", "pipefail", "-c", block, PATH=path) for block in blocks
    ]

    there, health, _, enrolled, known, listed, deleted = said
    assert "compactface.v1.EncoderService" in there
    assert "compactface.v1.RecognizerService.Identify" in there
    assert "SERVING" in health
    assert '"subjectId": "ada"' in enrolled
    assert "IDENTIFY_DECISION_MATCH" in known
    assert "VERIFY_DECISION_MATCH" in known
    assert '"subjectId": "ada"' in listed
    assert '"facesDeleted": "1"' in deleted

    (refused,) = re.findall(r"^    \$ (.*)\n((?:    .*\n)+)", text, re.MULTILINE)
    command, answer = refused
    process = await asyncio.create_subprocess_exec(
        *("bash", "-c", command),
        env=os.environ | {"PATH": path},
        stderr=asyncio.subprocess.PIPE,
    )
    _, errors = await process.communicate()
    lines = [line.strip() for line in errors.decode().splitlines()]
    assert [line.strip() for line in answer.splitlines()] == lines[:3]
