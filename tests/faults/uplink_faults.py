"""Kills encoder and recognizer under load, again and again, and looks at what was stored.

Half the ends of the encoder are losses of power: of its spool only what was synced is left. As a
script it kills hundreds of times and prints what it found as JSON; it ends with 1 if a face that
the encoder had taken is missing, or there twice::

    python -m tests.faults.uplink_faults --kills 200
"""

import argparse
import asyncio
import json
import os
import random
import shutil
import sys
import tempfile
import uuid
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import grpc

from compactface.v1.encoder_pb2 import PICTURE_KIND_CROP, EncodeRequest, GetEncoderInfoRequest
from compactface.v1.recognizer_pb2 import ListSightingsRequest
from tests.power_loss import PowerLoss, watch
from tests.services.asking import CAMERAS
from tests.services.conftest import clouds, unused_port
from tests.services.processes import Process, process
from tests.tiny_model import write_tiny_model

_CALLERS = 3
_LONGEST_LIFE_S = 1.5
_DRAINED_WITHIN_S = 300.0
_STARTS_WITHIN_S = 600.0  # the machine may be busy


@dataclass
class Findings:
    """What the killed processes had said, and what was there in the end.

    Attributes:
        encoder_kills: times that the encoder was killed.
        power_losses: times that its machine lost power.
        recognizer_kills: times that the recognizer was killed.
        accepted: faces that the encoder said it had taken.
        stored: sightings that the recognizer has.
        lost: faces taken that it lacks.
        doubled: sightings that it has more than once.
        bytes_a_face: of a map, on average.
    """

    encoder_kills: int = 0
    power_losses: int = 0
    recognizer_kills: int = 0
    accepted: int = 0
    stored: int = 0
    lost: int = 0
    doubled: int = 0
    bytes_a_face: float = 0

    @property
    def clean(self) -> bool:
        """Whether nothing is missing, and nothing there twice."""
        return not self.lost and not self.doubled


class Trial:
    """One encoder and one recognizer, which are killed and started again."""

    def __init__(self, folder: Path, models: Path, chance: random.Random) -> None:
        self.findings = Findings()
        self._folder = folder
        self._models = models
        self._chance = chance
        self._power: PowerLoss = watch(folder / "spool", folder / "power")
        self._ports = {name: unused_port() for name in ("encoder", "recognizer")}
        self._running: dict[str, tuple[AsyncExitStack, Process]] = {}
        self._accepted: Counter[str] = Counter()
        self._sizes = 0
        self._stopped = False

    async def run(self, kills: int) -> None:
        """Kill so many times under load; then let all arrive and count."""
        await asyncio.gather(self._start("recognizer"), self._start("encoder"))
        callers = [asyncio.create_task(self._keep_forwarding(n)) for n in range(_CALLERS)]
        try:
            for _ in range(kills):
                await asyncio.sleep(self._chance.uniform(0, _LONGEST_LIFE_S))
                await self._kill(self._chance.choice(["encoder", "recognizer"]))
            self._stopped = True
            await asyncio.gather(*callers)
            await self._wait_until_drained()
            await self._count()
        finally:
            self._stopped = True
            for name in list(self._running):
                await self._end(name)

    async def _start(self, name: str) -> None:
        settings: dict[str, object] = {"models": self._models, "port": self._ports[name]}
        environment = {}
        if name == "encoder":
            settings["uplink_target"] = f"127.0.0.1:{self._ports['recognizer']}"
            settings["uplink_spool"] = self._power.folder
            environment = self._power.environment
        else:
            settings["gallery"] = self._folder / "gallery.sqlite"
            settings["stream_collection"] = CAMERAS
        stack = AsyncExitStack()
        log = self._folder / f"{name}.jsonl"
        running = await stack.enter_async_context(
            process(name, log, within_s=_STARTS_WITHIN_S, environment=environment, **settings)
        )
        self._running[name] = stack, running

    async def _end(self, name: str) -> None:
        stack, running = self._running.pop(name)
        await running.kill()
        await stack.aclose()

    async def _kill(self, name: str) -> None:
        await self._end(name)
        if name == "recognizer":
            self.findings.recognizer_kills += 1
        elif self._chance.random() < 0.5:
            self.findings.encoder_kills += 1
        else:
            self.findings.power_losses += 1
            self._lose_power()
        await self._start(name)

    def _lose_power(self) -> None:
        left = self._power.left(self._folder / f"left-{uuid.uuid4()}")
        shutil.rmtree(self._power.folder)
        left.rename(self._power.folder)

    async def _keep_forwarding(self, caller: int) -> None:
        """Forward faces; those whose call failed were not taken, as far as anybody knows."""
        number = caller
        while not self._stopped:
            number += _CALLERS
            request = EncodeRequest(
                image=clouds(number % 500), kind=PICTURE_KIND_CROP, forward=True
            )
            try:
                _, encoder = self._running["encoder"]
                answer = await encoder.encoder.Encode(request, timeout=10)
            except (KeyError, grpc.aio.AioRpcError, grpc.aio.UsageError):
                await asyncio.sleep(0.05)
                continue
            except asyncio.CancelledError:  # of the call, as its channel was closed
                if self._stopped:
                    raise
                continue
            for face in answer.faces:
                self._accepted[face.sighting_id] += 1
                self._sizes += face.size_bytes
            await asyncio.sleep(0.02)

    async def _wait_until_drained(self) -> None:
        _, encoder = self._running["encoder"]
        waiting = 1
        async with asyncio.timeout(_DRAINED_WITHIN_S):
            while waiting:
                await asyncio.sleep(0.1)
                info = await encoder.encoder.GetEncoderInfo(GetEncoderInfoRequest())
                waiting = info.uplink_depth

    async def _count(self) -> None:
        _, recognizer = self._running["recognizer"]
        stored = Counter([id_ async for id_ in stored_ids(recognizer.recognizer)])
        found = self.findings
        found.accepted = len(self._accepted)
        found.stored = len(stored)
        found.lost = len(self._accepted.keys() - stored.keys())
        found.doubled = sum(count > 1 for count in stored.values())
        found.bytes_a_face = round(self._sizes / max(1, found.accepted), 1)


async def stored_ids(recognizer: Any) -> AsyncIterator[str]:
    """The ids of the sightings that a recognizer has, by its stub."""
    token = ""
    while True:
        request = ListSightingsRequest(collection=CAMERAS, page_size=1000, page_token=token)
        page = await recognizer.ListSightings(request)
        for sighting in page.sightings:
            yield sighting.sighting_id
        if not (token := page.next_page_token):
            return


@asynccontextmanager
async def _trial(seed: int) -> AsyncIterator[Trial]:
    with tempfile.TemporaryDirectory() as folder:
        models = Path(folder) / "models"
        write_tiny_model(models, Path(folder) / "scratch")
        (Path(folder) / "power").mkdir()
        yield Trial(Path(folder), models, random.Random(seed))  # noqa: S311 - any moment will do


async def run(kills: int, seed: int) -> Findings:
    """Kill so many times, with a seed for the moments."""
    async with _trial(seed) as trial:
        await trial.run(kills)
        return trial.findings


def main() -> None:
    """Kill, and report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--seed", type=int, default=os.getpid())
    arguments = parser.parse_args()
    findings = asyncio.run(run(arguments.kills, arguments.seed))
    print(json.dumps(asdict(findings) | {"seed": arguments.seed}, indent=1))  # noqa: T201
    sys.exit(not findings.clean)


if __name__ == "__main__":
    main()
