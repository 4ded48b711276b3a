"""Every command of docs/rest.md, in its order, against real services."""

import asyncio
import os
import re
import shutil
from pathlib import Path

import pytest

from tests.services.hosting import running_encoder, running_recognizer, running_web

pytestmark = pytest.mark.asyncio(loop_scope="session")

ROOT = Path(__file__).parents[3]


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
async def test_every_command_is_answered(tiny_models: Path, tmp_path: Path) -> None:
    manual = (ROOT / "docs" / "rest.md").read_text(encoding="utf-8")
    commands = [
        command
        for block in re.findall(r"```sh\n(.*?)```", manual, re.DOTALL)
        for command in block.replace("\\\n", " ").splitlines()
    ]
    assert len(commands) > 10
    async with (
        running_encoder(tiny_models) as encoder,
        running_recognizer(tiny_models, tmp_path / "gallery.sqlite") as recognizer,
        running_web(encoder, recognizer) as web,
    ):
        environment = os.environ | {"WEB": str(web.base_url).rstrip("/"), "no_proxy": "*"}
        for command in commands:
            child = await asyncio.create_subprocess_shell(
                f"{command} --silent --show-error",
                cwd=ROOT,
                env=environment,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.STDOUT,
            )
            answer, _ = await child.communicate()
            assert child.returncode == 0, f"{command}\n{answer.decode()}"
