"""Run the services as processes on free ports for the duration of the demo."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from shared.errors import Unavailable

_START_WITHIN_S = 120.0  # loading torch alone takes seconds on a cold disk
_STOP_WITHIN_S = 15.0
_POLL_S = 0.05


@dataclass(frozen=True, slots=True)
class Services:
    """Addresses of the two services and of the recognizer's metrics, as host:port."""

    encoder: str
    recognizer: str
    recognizer_metrics: str


@contextmanager
def running_services(
    *, models: Path, family: str, gallery: Path, collection: str, logs: Path
) -> Iterator[Services]:
    """Start both services, and stop them at the end of the block.

    Args:
        models: folder of model families.
        family: model family.
        gallery: database file of the recognizer.
        collection: collection for maps that the encoder streams.
        logs: folder for encoder.log, recognizer.log and the encoder's spool.

    Raises:
        Unavailable: a service did not start; the message holds the end of its log.
    """
    common = {"models": str(models), "family": family}
    recognizer_flags = {**common, "gallery": str(gallery), "stream-collection": collection}
    with _running("recognizer", recognizer_flags, logs) as recognizer:
        recognizer_address = recognizer.address()
        encoder_flags = {
            **common,
            "uplink-target": recognizer_address,
            "uplink-spool": str(logs / "spool"),
        }
        with _running("encoder", encoder_flags, logs) as encoder:
            encoder_address = encoder.address()
            for service in (recognizer, encoder):
                service.wait_for("serving")
            metrics = str(recognizer.wait_for("listening")["metrics_address"])
            yield Services(encoder_address, recognizer_address, metrics)


@contextmanager
def running_console(services: Services, logs: Path) -> Iterator[str]:
    """Start the web gateway before both services, until the end of the block; yields host:port.

    Args:
        services: the services.
        logs: folder for web.log.

    Raises:
        Unavailable: it did not start; the message holds the end of its log.
    """
    flags = {"encoder-target": services.encoder, "recognizer-target": services.recognizer}
    with _running("web", flags, logs) as web:
        web.wait_for("serving")
        yield web.address()


@dataclass(frozen=True, slots=True)
class _Service:
    """A service process and its log of JSON lines."""

    name: str
    process: subprocess.Popen[bytes]
    log: Path

    def address(self) -> str:
        """The address host:port, once it is listening."""
        return str(self.wait_for("listening")["address"])

    def wait_for(self, event: str) -> dict[str, Any]:
        """The first log line with that event."""
        deadline = time.monotonic() + _START_WITHIN_S
        while time.monotonic() < deadline:
            ended = self.process.poll() is not None
            for line in self._lines():
                if line.get("event") == event:
                    return line
            if ended:
                raise self._failed(f"ended with {self.process.returncode}")
            time.sleep(_POLL_S)
        raise self._failed(f"did not log {event!r} within {_START_WITHIN_S:.0f} s")

    def _lines(self) -> Iterator[dict[str, Any]]:
        for line in self.log.read_text(encoding="utf-8").splitlines():
            if line.startswith("{") and line.endswith("}"):
                yield json.loads(line)

    def _failed(self, what: str) -> Unavailable:
        words = self.log.read_text(encoding="utf-8").strip() or "empty log"
        return Unavailable(
            "SERVICE_NOT_STARTED", f"the {self.name} service {what}; {self.log}: {words[-2000:]}"
        )


@contextmanager
def _running(name: str, flags: dict[str, str], logs: Path) -> Iterator[_Service]:
    log = logs / f"{name}.log"
    options = {"port": "0", "metrics-port": "0", **flags}
    command = [sys.executable, "-m", "command_line", "serve", name]
    with log.open("wb") as stderr:
        process = subprocess.Popen(  # noqa: S603 - runs this program
            [*command, *(f"--{key}={value}" for key, value in options.items())],
            stdin=subprocess.DEVNULL,
            stdout=stderr,
            stderr=stderr,
            env=environment(),
        )
    try:
        yield _Service(name, process, log)
    finally:
        _stop(process)


def environment() -> dict[str, str]:
    """The environment without COMPACTFACE_ settings, so that the demo is reproducible."""
    return {key: value for key, value in os.environ.items() if not key.startswith("COMPACTFACE_")}


def _stop(process: "subprocess.Popen[bytes]") -> None:
    process.terminate()
    try:
        process.wait(_STOP_WITHIN_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
