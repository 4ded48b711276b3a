"""The demo's camera: a film of people who walk past, a watcher, and an alert."""

import json
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from command_line.demo.film import write_film
from command_line.demo.performance import Sight
from command_line.demo.processes import Services, environment
from command_line.demo.scenario import ALERT_FOR, CAMERA, COLLECTION, PASSERS, UNKNOWN, Passer
from compactface.client import RecognizerClient
from compactface.client.alerts import new_secret
from shared.errors import Unavailable

_WITHIN_S = 60.0
_POLL_S = 0.05
_WATCHES = 'grpc_server_started_total{grpc_method="WatchSightings"'


@dataclass(frozen=True, slots=True)
class Sighted:
    """A line of `compactface sightings watch`.

    Attributes:
        camera: id of the camera.
        who: a subject's id, or "unknown".
    """

    camera: str
    who: str


@dataclass(frozen=True, slots=True)
class Passage:
    """What became of the film.

    Attributes:
        passers: who walks past, in order.
        sighted: what the watcher printed, in order.
        alerts: subjects of the alerts that the webhook received.
    """

    passers: Sequence[Passer]
    sighted: Sequence[Sighted]
    alerts: Sequence[str]

    @property
    def is_right(self) -> bool:
        """Whether each person was seen once, and one alert came."""
        expected = [Sighted(CAMERA, passer.expected) for passer in self.passers]
        return list(self.sighted) == expected and list(self.alerts) == [ALERT_FOR]


def pass_by(
    services: Services, recognizer: RecognizerClient, sights: Mapping[str, Sight], output: Path
) -> Passage:
    """Write the film, let `compactface camera` read it, and watch.

    Args:
        services: encoder and recognizer.
        recognizer: client of the recognizer, where the scenario's people are enrolled.
        sights: the scenario's photographs and the faces in them, by name.
        output: folder for the film, camera.toml and camera.log.

    Raises:
        Unavailable: a program ended with an error, or something did not come in time.
    """
    film = write_film(output / "passers.mp4", [sights[passer.photo] for passer in PASSERS])
    config = output / "camera.toml"
    config.write_text(
        f"encoder = {json.dumps(services.encoder)}\nmetrics_port = 0\n\n"
        f"[[cameras]]\nname = {json.dumps(CAMERA)}\nsource = {json.dumps(str(film))}\n",
        encoding="utf-8",
    )
    with _webhook() as webhook, (output / "camera.log").open("wb") as log:
        recognizer.alerts.create(
            url=webhook.url,
            secret=new_secret(),
            subject_id=ALERT_FOR,
            camera=CAMERA,
            collection=COLLECTION,
        )
        watching = (
            f"--collection={COLLECTION}",
            f"--camera={CAMERA}",
            f"--count={len(PASSERS)}",
            f"--recognizer={services.recognizer}",
        )
        with _program("sightings", "watch", "--json", *watching, log=log) as watcher:
            _wait_until_watched(services)
            with _program("camera", f"--config={config}", log=log) as camera:
                _finish(camera, log.name)
            lines = _finish(watcher, log.name)
        webhook.wait_for_one()
    return Passage(PASSERS, [_sighted(json.loads(line)) for line in lines], webhook.subjects)


def _sighted(line: dict[str, Any]) -> Sighted:
    sighting = line["sighting"]
    candidates = sighting["identification"].get("candidates", [])
    matches = (each["subject_id"] for each in candidates if each.get("matched"))
    return Sighted(sighting["camera_id"], next(matches, UNKNOWN))


@contextmanager
def _program(*arguments: str, log: Any) -> "Iterator[subprocess.Popen[str]]":
    """`compactface` with these arguments; it is ended with the block."""
    process = subprocess.Popen(  # noqa: S603 - runs this program
        [sys.executable, "-m", "command_line", *arguments],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=log,
        env=environment(),
        text=True,
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def _finish(process: "subprocess.Popen[str]", log: str) -> list[str]:
    """The lines that a program has printed by its end."""
    try:
        printed, _ = process.communicate(timeout=_WITHIN_S)
    except subprocess.TimeoutExpired:
        raise _late("a program has not ended", log) from None
    if process.returncode:
        raise _late(f"a program ended with {process.returncode}", log)
    return printed.splitlines()


def _wait_until_watched(services: Services) -> None:
    """Wait for the watcher's call: it does not see what is identified earlier."""
    deadline = time.monotonic() + _WITHIN_S
    while not any(
        line.startswith(_WATCHES) and not line.endswith(" 0.0") for line in _metrics(services)
    ):
        if time.monotonic() > deadline:
            raise _late("nobody watches the sightings", services.recognizer)
        time.sleep(_POLL_S)


def _metrics(services: Services) -> list[str]:
    with urllib.request.urlopen(f"http://{services.recognizer_metrics}/metrics") as answer:
        text: str = answer.read().decode()
    return text.splitlines()


@dataclass(slots=True)
class _Webhook:
    """Receives alerts.

    Attributes:
        url: where to send them.
        subjects: subjects of the alerts so far.
    """

    url: str
    subjects: list[str] = field(default_factory=list)
    _came: threading.Event = field(default_factory=threading.Event)

    def take(self, alert: dict[str, Any]) -> None:
        """Take an alert."""
        self.subjects.append(alert["data"]["subject"]["subject_id"])
        self._came.set()

    def wait_for_one(self) -> None:
        """Wait for the first alert."""
        if not self._came.wait(_WITHIN_S):
            raise _late("no alert came", self.url)


@contextmanager
def _webhook() -> Iterator[_Webhook]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            webhook.take(json.loads(self.rfile.read(int(self.headers["content-length"]))))
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        webhook = _Webhook(f"http://127.0.0.1:{server.server_port}/alerts")
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield webhook
        finally:
            server.shutdown()


def _late(what: str, where: str) -> Unavailable:
    return Unavailable("DEMO_INCOMPLETE", f"{what} within {_WITHIN_S:.0f} s; see {where}")
