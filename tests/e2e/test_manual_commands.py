"""Every command of the manual's walks through the product, in its order, on the shipped model."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

ROOT = Path(__file__).parents[2]
MODEL = ROOT / "deploy" / "models" / "default" / "current"
START = "start.md"

pytestmark = [
    pytest.mark.skipif(not MODEL.exists(), reason=f"no model in {MODEL.parent}"),
    pytest.mark.timeout(480),  # the start runs the whole demo first
]


class Desk:
    """A folder like the repository, where commands run as at a desk, on ports of their own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        for name in ("tests", "examples", "protos"):
            (folder / name).symlink_to(ROOT / name)
        self.ports = {name: free_port() for name in ("encoder", "recognizer", "web")}
        self._programs = folder / "bin"
        self._programs.mkdir()
        self._program("python", f'exec {sys.executable} "$@"')
        self._program("compactface", self._with_addresses())
        self._running: list[subprocess.Popen[bytes]] = []

    def page(self, name: str) -> list[str]:
        """The commands of a page of the manual, in its order."""
        text = (ROOT / "docs" / name).read_text(encoding="utf-8")
        blocks = re.findall(r"^```sh\n(.*?)^```", text, re.DOTALL | re.MULTILINE)
        return [line for block in blocks for line in block.replace("\\\n", " ").splitlines()]

    def run(self, line: str) -> str:
        """Run a line that must succeed; a service is left running."""
        for port, name in ((50051, "encoder"), (50052, "recognizer"), (8080, "web")):
            line = line.replace(f"localhost:{port}", f"localhost:{self.ports[name]}")
        if line == "make demo":  # its command; what it installs is there
            line = "compactface demo"
        elif line.startswith("source "):
            return ""
        elif line.startswith("kill "):
            self.stop()
            return ""
        if line.endswith(" &"):
            self._start(line.removesuffix(" &"))
            return ""
        done = subprocess.run(
            ["/bin/bash", "-euo", "pipefail", "-c", line],
            cwd=self.folder,
            env=self._environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, f"{line}\n{done.stdout}{done.stderr}"
        return done.stdout

    def stop(self) -> None:
        """Stop the services, which must end well."""
        for service in self._running:
            service.send_signal(signal.SIGTERM)
        assert [service.wait(30) for service in self._running] == [0] * len(self._running)
        self._running.clear()

    def _start(self, line: str) -> None:
        name = line.split()[2]
        with (self.folder / f"{name}.log").open("wb") as log:
            self._running.append(
                subprocess.Popen(
                    ["/bin/bash", "-c", f"exec {line}"],
                    cwd=self.folder,
                    env=self._environment,
                    stderr=log,
                )
            )
        serving = '"event": "serving"'
        until(lambda: serving in (self.folder / f"{name}.log").read_text(encoding="utf-8"))

    @property
    def _environment(self) -> dict[str, str]:
        ports = {f"COMPACTFACE_{name.upper()}_PORT": str(self.ports[name]) for name in self.ports}
        metrics = {f"COMPACTFACE_{name.upper()}_METRICS_PORT": "0" for name in self.ports}
        targets = {
            f"COMPACTFACE_WEB_{name.upper()}_TARGET": f"localhost:{self.ports[name]}"
            for name in ("encoder", "recognizer")
        }
        path = {"PATH": f"{self._programs}:{os.environ['PATH']}"}
        paths = {"PYTHONPATH": f"{ROOT}:{ROOT / 'shared'}", "no_proxy": "*"}
        return os.environ | ports | metrics | targets | path | paths

    def _program(self, name: str, line: str) -> None:
        (self._programs / name).write_text(f"#!/bin/sh\n{line}\n", encoding="utf-8")
        (self._programs / name).chmod(0o755)

    def _with_addresses(self) -> str:
        """The program `compactface`, with the services' addresses where they are not the usual."""
        encoder = f"--encoder localhost:{self.ports['encoder']}"
        recognizer = f"--recognizer localhost:{self.ports['recognizer']}"
        program = f'exec {sys.executable} -m command_line "$@"'
        return (
            'case "$1 $2" in\n'
            '"gallery snapshot" | "gallery check") ;;\n'
            f"camera*) {program} {encoder} --metrics-port 0 ;;\n"
            f"enroll* | identify* | verify*) {program} {encoder} {recognizer} ;;\n"
            f'"gallery import") {program} {encoder} {recognizer} ;;\n'
            f"sightings* | gallery*) {program} {recognizer} ;;\n"
            f"esac\n{program}"
        )


def free_port() -> int:
    """A port that nobody uses now."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        port: int = bound.getsockname()[1]
        return port


def until(condition: Callable[[], bool]) -> None:
    """Wait until the condition holds."""
    end = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.1)


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    desk = Desk(tmp_path)
    try:
        yield desk
    finally:
        desk.stop()


def sightings(desk: Desk) -> dict[str, str]:
    """Who was seen, by sighting: the subject's id, or the decision."""

    def who(sighting: dict[str, Any]) -> str:
        found = sighting.get("identification")
        if not found:
            return "waiting"
        names = [each["subject_id"] for each in found["candidates"] if each.get("matched")]
        return names[0] if names else str(found["decision"])

    listed = json.loads(desk.run("compactface sightings list --json"))
    return {sighting["sighting_id"]: who(sighting) for sighting in listed}


def test_the_start_leads_from_a_film_to_names_in_the_browser(desk: Desk) -> None:
    for line in desk.page(START):
        if "SIGHTING" in line:
            until(lambda: "waiting" not in sightings(desk).values())
            assert sorted(sightings(desk).values()) == ["IDENTIFY_DECISION_NO_MATCH", "obama"]
            (unknown,) = (
                sighting
                for sighting, who in sightings(desk).items()
                if who == "IDENTIFY_DECISION_NO_MATCH"
            )
            desk.run(line.replace("SIGHTING", unknown))
            until(lambda: sorted(sightings(desk).values()) == ["biden", "obama"])
        elif line.startswith("kill "):
            until(lambda: sorted(sightings(desk).values()) == ["biden", "biden", "obama", "obama"])
            with httpx.Client(follow_redirects=True, trust_env=False) as browser:
                page = browser.get(f"http://localhost:{desk.ports['web']}/")
                form = {"token": "", "to": page.url.params["to"]}
                live = browser.post(page.url.join("/sign-in"), data=form)
            assert live.status_code == httpx.codes.OK
            assert "Joe Biden" in live.text
            assert "Barack Obama" in live.text
            desk.run(line)
        else:
            desk.run(line)


@pytest.mark.parametrize("name", ["enrollment.md", "thresholds.md", "backup.md", "backend.md"])
def test_the_commands_of_other_pages_succeed(desk: Desk, name: str) -> None:
    """They expect the services of the start, and somebody enrolled."""
    for line in desk.page(START):
        if line.endswith(" &") or line.startswith("compactface enroll "):
            desk.run(line)
    commands = desk.page(name)
    assert commands
    said = {line: desk.run(line) for line in commands}
    if name == "backend.md":
        (face,) = json.loads(said[commands[0]])["faces"]
        assert face["identification"]["candidates"][0]["subjectId"] == "obama"
    if name == "backup.md":
        assert "copy" in said["compactface gallery collections"]


def test_the_commands_of_access_control_protect_a_recognizer(desk: Desk) -> None:
    said = {line.split()[1]: desk.run(line) for line in desk.page("access.md")}
    token = re.search(r"cf_[\w-]+", said["token"])
    assert token
    asked = "compactface gallery collections --ca certificates/ca.pem"
    assert "NO_CREDENTIAL" in desk.run(f"{asked} 2>&1 || true")
    assert "SCOPE_MISSING" in desk.run(f"{asked} --token {token[0]} 2>&1 || true")
