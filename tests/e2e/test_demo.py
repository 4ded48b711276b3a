"""`compactface demo` as its users run it."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import httpx
import pytest

from command_line.demo.scenario import IDENTIFICATIONS, PASSERS, VERIFICATIONS

ROOT = Path(__file__).parents[2]
PHOTOS = ROOT / "tests" / "data"
DEFAULT_MODEL = ROOT / "deploy" / "models" / "default" / "current"
DEMO = [sys.executable, "-m", "command_line", "demo"]


@pytest.mark.skipif(not DEFAULT_MODEL.exists(), reason=f"no model in {DEFAULT_MODEL.parent}")
def test_every_answer_about_the_sample_photographs_is_right(tmp_path: Path) -> None:
    done = subprocess.run(
        [*DEMO, "--output", tmp_path], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "make demo-console" in done.stdout
    result = json.loads((tmp_path / "result.json").read_text())
    assert [probe["actual"] for probe in result["probes"]] == [
        asked.expected for asked in (*IDENTIFICATIONS, *VERIFICATIONS)
    ]
    assert result["sightings"] == [{"camera": "door", "who": passer.expected} for passer in PASSERS]
    assert result["alerts"] == ["barack-obama"]
    assert "The webhook received 1 alert: barack-obama" in done.stdout
    assert all(probe["map_bytes"] < probe["jpeg_bytes"] / 5 for probe in result["probes"])
    assert (tmp_path / "contact-sheet.png").stat().st_size > 100_000
    for name in ("result.json", "contact-sheet.png"):
        assert (tmp_path / name).stat().st_mode & 0o777 == 0o600
    assert not list(tmp_path.glob("gallery-*"))


@pytest.mark.skipif(not DEFAULT_MODEL.exists(), reason=f"no model in {DEFAULT_MODEL.parent}")
def test_the_console_stays_open_on_what_was_enrolled(tmp_path: Path) -> None:
    command = [*DEMO, "--output", tmp_path, "--console"]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as demo:
        assert demo.stdout is not None
        words = next(line for line in demo.stdout if line.startswith("Open "))
        with httpx.Client(follow_redirects=True, trust_env=False) as browser:
            page = browser.get(words.split()[1])
            assert page.url.path == "/sign-in"
            form = {"token": "", "to": page.url.params["to"]}
            people = browser.post(page.url.join("/sign-in"), data=form).text
        assert "Barack Obama" in people
        assert "Eileen Collins" in people
        demo.send_signal(signal.SIGINT)
        assert demo.wait(30) == 0
    assert_nobody_listens(tmp_path)
    assert not list(tmp_path.glob("gallery-*"))


def test_a_demo_that_fails_stops_both_services(tiny_models: Path, tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    done = subprocess.run(
        [*DEMO, "--output", tmp_path, "--photos", tmp_path / "photos", "--models", tiny_models],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert done.stderr.endswith("barack_obama_portrait_2012.jpg: No such file or directory\n")
    assert_nobody_listens(tmp_path)


def test_a_demo_that_is_ended_stops_both_services(tiny_models: Path, tmp_path: Path) -> None:
    """The photo is a pipe that nobody writes to, so the demo waits for it."""
    os.mkfifo(tmp_path / "barack_obama_portrait_2012.jpg")
    demo = subprocess.Popen(
        [*DEMO, "--output", tmp_path, "--photos", tmp_path, "--models", tiny_models]
    )
    wait_until_logged(tmp_path / "encoder.log", '"event": "serving"')
    demo.send_signal(signal.SIGTERM)
    assert demo.wait(30) == 128 + signal.SIGTERM
    assert_nobody_listens(tmp_path)


def wait_until_logged(log: Path, text: str) -> None:
    deadline = time.monotonic() + 60
    while not (log.exists() and text in log.read_text()):
        assert time.monotonic() < deadline, f"{log} never said {text}"
        time.sleep(0.1)


def assert_nobody_listens(logs: Path) -> None:
    """Both services have logged their ports, and neither takes connections any more."""
    for name in ("encoder", "recognizer"):
        lines = map(json.loads, (logs / f"{name}.log").read_text().splitlines())
        address = next(line["address"] for line in lines if line["event"] == "listening")
        host, port = address.split(":")
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection((host, int(port)), timeout=5)
