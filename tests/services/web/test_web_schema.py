"""Requests that nobody would think of, made from the OpenAPI document by schemathesis."""

import asyncio
import os
import shutil
import sys
from pathlib import Path

import pytest

from tests.services.hosting import running_encoder, running_recognizer, running_web

pytestmark = pytest.mark.asyncio(loop_scope="session")

SCHEMATHESIS = Path(sys.executable).with_name("schemathesis")
CHECKS = (
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_schema_conformance",
)


@pytest.mark.skipif(shutil.which(SCHEMATHESIS) is None, reason="schemathesis is not installed")
async def test_answers_conform_whatever_is_asked(tiny_models: Path, tmp_path: Path) -> None:
    async with (
        running_encoder(tiny_models) as encoder,
        running_recognizer(tiny_models, tmp_path / "gallery.sqlite") as recognizer,
        running_web(encoder, recognizer) as web,
    ):
        child = await asyncio.create_subprocess_exec(
            *(SCHEMATHESIS, "run", f"{web.base_url}/openapi.json", "--phases", "fuzzing"),
            *("--checks", ",".join(CHECKS), "--max-examples", "8", "--seed", "1"),
            *("--suppress-health-check", "all", "--exclude-operation-id", "WatchSightings"),
            cwd=tmp_path,
            env=os.environ | {"no_proxy": "*"},
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        report, _ = await child.communicate()
        assert child.returncode == 0, report.decode()
