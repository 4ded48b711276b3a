"""`compactface alerts`, against a real recognizer and a real web server."""

import asyncio
import json
import shlex
import socket
import stat
import sys
from pathlib import Path

import pytest

from tests.services.asking import CAMERAS
from tests.services.conftest import unused_port
from tests.services.hosting import Service, until
from tests.services.processes import ROOT
from tests.services.recognizer.receiver import SECRET, receiving

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def compactface(service: Service, command: str, *, exit_code: int = 0) -> str:
    """Run a command; what it printed."""
    words = [*shlex.split(command), "--recognizer", service.address, "--collection", CAMERAS]
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "command_line", "alerts", *words),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    output, _ = await process.communicate()
    assert process.returncode == exit_code, output.decode()
    return output.decode()


async def test_rules_are_added_listed_tried_and_removed(service: Service, tmp_path: Path) -> None:
    ours, new = tmp_path / "ours", tmp_path / "new"
    ours.write_text(f"{SECRET}\n")
    with receiving() as receiver:
        to = f"--url {receiver.url} --secret-file"
        said = await compactface(service, f"add {to} {ours} --unknown --camera door --quiet 90s")
        rule_id = said.removeprefix("added rule ").strip()
        (rule,) = json.loads(await compactface(service, "list --json"))
        assert (rule["rule_id"], rule["any_unknown"]) == (rule_id, True)
        assert (rule["camera_id"], rule["quiet_time"]) == ("door", "90s")
        assert SECRET not in json.dumps(rule)
        said = await compactface(service, f"test {rule_id}")
        assert said == "delivered: HTTP status 204\n"
        receiver.status = 500
        said = await compactface(service, f"test {rule_id}", exit_code=1)
        assert said == "not delivered: HTTP status 500\n"
        assert await compactface(service, f"remove {rule_id}") == f"removed rule {rule_id}\n"
        assert json.loads(await compactface(service, "list --json")) == []
        said = await compactface(service, f"add {to} {new} --label vip")
        assert "wrote a new secret" in said
    assert stat.S_IMODE(new.stat().st_mode) == 0o600
    assert new.read_text().startswith("whsec_")
    assert "label vip" in await compactface(service, "list")


async def test_the_receiver_of_the_documentation_works(service: Service, tmp_path: Path) -> None:
    text = (ROOT / "docs" / "alerts.md").read_text()
    program = text.partition("```python\n")[2].partition("```")[0]
    port = unused_port()
    (tmp_path / "receiver.py").write_text(program.replace("8000", str(port)))
    (tmp_path / "alerts.secret").write_text(f"{SECRET}\n")
    receiver = await asyncio.create_subprocess_exec(
        *(sys.executable, "receiver.py"), cwd=tmp_path, stderr=asyncio.subprocess.DEVNULL
    )
    try:
        to = f"--url http://127.0.0.1:{port}/ --unknown --secret-file {tmp_path}"
        good = await compactface(service, f"add {to}/alerts.secret")
        bad = await compactface(service, f"add {to}/another.secret")
        await until(lambda: is_open(port))
        said = await compactface(service, f"test {good.split()[-1]}")
        assert said == "delivered: HTTP status 204\n"
        said = await compactface(service, f"test {bad.split()[-1]}", exit_code=1)
        assert said == "not delivered: HTTP status 401\n"
    finally:
        receiver.kill()
        await receiver.wait()


def is_open(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ("--unknown", "--url"),
        ("--mqtt --url https://x.org --unknown", "--url"),
        ("--url https://x.org --unknown", "--secret-file"),
        ("--mqtt", "--subject"),
        ("--mqtt --unknown --label vip", "--subject"),
        ("--mqtt --unknown --quiet soon", "soon"),
    ],
)
async def test_what_is_no_rule_is_refused(service: Service, options: str, said: str) -> None:
    assert said in await compactface(service, f"add {options}", exit_code=2)
