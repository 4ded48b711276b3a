"""The services as processes of their own, started and killed by a test."""

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc

from compactface.v1 import alerts_pb2_grpc, encoder_pb2_grpc, gallery_pb2_grpc, recognizer_pb2_grpc
from tests.services.hosting import until

ROOT = Path(__file__).parents[2]


class Process:
    """A service as a process, which logs to a file."""

    def __init__(self, child: asyncio.subprocess.Process, log: Path) -> None:
        self.child = child
        self._log = log
        self.channel: Any = None
        self.metrics_address: str

    async def connect(self, *, within_s: float) -> None:
        """Wait until it serves, and open a channel to it."""
        await until(
            lambda: bool(self.events("serving")) or self.child.returncode is not None,
            seconds=within_s,
        )
        assert self.child.returncode is None, self.log
        (listening,) = self.events("listening")
        self.channel = grpc.aio.insecure_channel(listening["address"])
        self.metrics_address = listening["metrics_address"]

    def events(self, name: str) -> list[dict[str, Any]]:
        """The lines of its log with that event."""
        lines = self.log.splitlines(keepends=True)
        # What Python writes itself is no JSON, and the last line may be half written.
        records = [json.loads(line) for line in lines if line[0] == "{" and line[-1] == "\n"]
        return [record for record in records if record["event"] == name]

    async def kill(self) -> None:
        """Kill it as if the power had failed."""
        self.child.kill()
        await self.child.wait()
        if self.channel is not None:
            await self.channel.close()

    @property
    def log(self) -> str:
        """All that it wrote so far."""
        return self._log.read_text()

    @property
    def encoder(self) -> Any:
        """Stub of EncoderService."""
        return encoder_pb2_grpc.EncoderServiceStub(self.channel)

    @property
    def recognizer(self) -> Any:
        """Stub of RecognizerService."""
        return recognizer_pb2_grpc.RecognizerServiceStub(self.channel)

    @property
    def gallery(self) -> Any:
        """Stub of GalleryService."""
        return gallery_pb2_grpc.GalleryServiceStub(self.channel)

    @property
    def alerts(self) -> Any:
        """Stub of AlertService."""
        return alerts_pb2_grpc.AlertServiceStub(self.channel)


async def start(
    service: str,
    log: Path,
    *,
    without: Sequence[str] = (),
    environment: Mapping[str, str] | None = None,
    **settings: object,
) -> asyncio.subprocess.Process:
    """Start `compactface serve <service>`.

    Args:
        service: "encoder" or "recognizer".
        log: gets what it writes to standard error.
        without: modules that it finds missing.
        environment: more of it.
        settings: are given by environment.
    """
    program = (
        f"import sys; sys.modules.update(dict.fromkeys({without!r})); "
        "from command_line.main import app; app()"
    )
    prefix = f"COMPACTFACE_{service}_"
    given = {"port": 0, "metrics_port": 0, **settings}
    with log.open("wb") as stderr:
        return await asyncio.create_subprocess_exec(
            *(sys.executable, "-c", program, "serve", service),
            cwd=ROOT,
            env=os.environ
            | {(prefix + name).upper(): str(x) for name, x in given.items()}
            | dict(environment or {}),
            stderr=stderr,
        )


async def ending(service: str, log: Path, **settings: Any) -> tuple[int, str]:
    """Exit code and log of a service that is to end by itself; arguments as of `start`."""
    child = await start(service, log, **settings)
    async with asyncio.timeout(60):
        return await child.wait(), await asyncio.to_thread(log.read_text)


@asynccontextmanager
async def process(
    service: str, log: Path, *, within_s: float = 60, **settings: Any
) -> AsyncIterator[Process]:
    """A service that serves, see `start`; it is killed at the end if it is still alive.

    It must serve within so many seconds.
    """
    made = Process(await start(service, log, **settings), log)
    try:
        await made.connect(within_s=within_s)
        yield made
    finally:
        if made.child.returncode is None:
            await made.kill()
