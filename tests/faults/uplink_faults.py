"""Kills encoder and recognizer under mixed load, again and again, and looks at what was stored.

Faces are forwarded, and people enrolled, identified and deleted meanwhile. Half the ends are losses
of power: of spool and gallery only what was synced is left. As a script it kills hundreds of times
and prints what it found as JSON; it ends with 1 if a face that the encoder had taken is missing or
there twice, an enrolled person is missing, or a deleted one is there::

    python -m tests.faults.uplink_faults --kills 200
"""

import argparse
import asyncio
import itertools
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

from compactface.v1.compact_map_pb2 import CompactMap
from compactface.v1.encoder_pb2 import PICTURE_KIND_CROP, EncodeRequest, GetEncoderInfoRequest
from compactface.v1.gallery_pb2 import (
    ON_DUPLICATE_ALLOW,
    DeleteSubjectRequest,
    EnrollRequest,
    ListSubjectsRequest,
    Subject,
)
from compactface.v1.recognizer_pb2 import IdentifyRequest, ListSightingsRequest, Probe
from tests.power_loss import PowerLoss, watch
from tests.services.asking import CAMERAS, crop_map
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
        power_losses: times that the machine of either lost power.
        recognizer_kills: times that the recognizer was killed.
        accepted: faces that the encoder said it had taken.
        stored: sightings that the recognizer has.
        enrolled: people that the recognizer said it had enrolled.
        deleted: people that it said it had deleted.
        lost: faces taken and people enrolled that it lacks.
        returned: people deleted that it has.
        doubled: sightings that it has more than once.
        bytes_a_face: of a map, on average.
        seed: of the moments.
    """

    encoder_kills: int = 0
    power_losses: int = 0
    recognizer_kills: int = 0
    accepted: int = 0
    stored: int = 0
    enrolled: int = 0
    deleted: int = 0
    lost: int = 0
    returned: int = 0
    doubled: int = 0
    bytes_a_face: float = 0

    seed: int = 0

    @classmethod
    def of_json(cls, text: bytes) -> "Findings":
        """What an earlier run printed."""
        return cls(**json.loads(text))

    @property
    def kills(self) -> int:
        """Of encoder and recognizer, losses of power among them."""
        return self.encoder_kills + self.recognizer_kills + self.power_losses

    @property
    def clean(self) -> bool:
        """Whether nothing is missing, nothing there twice and nobody back."""
        return not (self.lost or self.doubled or self.returned)


class Trial:
    """One encoder and one recognizer, which are killed and started again."""

    def __init__(self, folder: Path, models: Path, chance: random.Random) -> None:
        self.findings = Findings()
        self._folder = folder
        self._models = models
        self._chance = chance
        self._power: dict[str, PowerLoss] = {
            "encoder": watch(folder / "spool", _made(folder / "power" / "encoder")),
            "recognizer": watch(_made(folder / "gallery"), _made(folder / "power" / "recognizer")),
        }
        self._ports = {name: unused_port() for name in ("encoder", "recognizer")}
        self._running: dict[str, tuple[AsyncExitStack, Process]] = {}
        self._accepted: Counter[str] = Counter()
        self._enrolled: set[str] = set()
        self._deleted: set[str] = set()
        self._maps: list[CompactMap] = []
        self._sizes = 0
        self._stopped = False

    async def run(self, kills: int) -> None:
        """Kill so many times under load; then let all arrive and count."""
        await asyncio.gather(self._start("recognizer"), self._start("encoder"))
        _, encoder = self._running["encoder"]
        self._maps = [await crop_map(encoder, clouds(seed)) for seed in range(8)]  # type: ignore[arg-type]
        callers = [asyncio.create_task(self._keep_forwarding(n)) for n in range(_CALLERS)]
        callers.append(asyncio.create_task(self._keep_changing()))
        try:
            for _ in range(kills):
                await asyncio.sleep(self._chance.uniform(0, _LONGEST_LIFE_S))
                await self._kill(self._chance.choice(["encoder", "recognizer"]))
            self._stopped = True
            await asyncio.gather(*callers)
            await drained(self._running["encoder"][1].encoder)
            await self._count()
        finally:
            self._stopped = True
            for name in list(self._running):
                await self._end(name)

    async def _start(self, name: str) -> None:
        settings: dict[str, object] = {"models": self._models, "port": self._ports[name]}
        power = self._power[name]
        if name == "encoder":
            settings["uplink_target"] = f"127.0.0.1:{self._ports['recognizer']}"
            settings["uplink_spool"] = power.folder
        else:
            settings["gallery"] = power.folder / "gallery.sqlite"
            settings["stream_collection"] = CAMERAS
        stack = AsyncExitStack()
        log = self._folder / f"{name}.jsonl"
        running = await stack.enter_async_context(
            process(name, log, within_s=_STARTS_WITHIN_S, environment=power.environment, **settings)
        )
        self._running[name] = stack, running

    async def _end(self, name: str) -> None:
        stack, running = self._running.pop(name)
        await running.kill()
        await stack.aclose()

    async def _kill(self, name: str) -> None:
        await self._end(name)
        if self._chance.random() < 0.5:
            self.findings.power_losses += 1
            self._lose_power(self._power[name])
        elif name == "recognizer":
            self.findings.recognizer_kills += 1
        else:
            self.findings.encoder_kills += 1
        await self._start(name)

    def _lose_power(self, power: PowerLoss) -> None:
        left = power.left(self._folder / f"left-{uuid.uuid4()}")
        shutil.rmtree(power.folder)
        left.rename(power.folder)

    async def _keep_changing(self) -> None:
        """Enroll and identify, and delete every other person again."""
        for number in itertools.count():
            if self._stopped:
                return
            face, name = self._maps[number % len(self._maps)], f"person-{number}"
            try:
                _, recognizer = self._running["recognizer"]
                await recognizer.gallery.Enroll(
                    EnrollRequest(subject_id=name, maps=[face], on_duplicate=ON_DUPLICATE_ALLOW),
                    timeout=10,
                )
                self._enrolled.add(name)
                await recognizer.recognizer.Identify(
                    IdentifyRequest(probe=Probe(map=face)), timeout=10
                )
                if number % 2:
                    self._enrolled.discard(name)  # the deletion may be done and not answered
                    await recognizer.gallery.DeleteSubject(
                        DeleteSubjectRequest(subject_id=name), timeout=10
                    )
                    self._deleted.add(name)
            except (KeyError, grpc.aio.AioRpcError, grpc.aio.UsageError):
                await asyncio.sleep(0.05)
            except asyncio.CancelledError:  # of the call, as its channel was closed
                if self._stopped:
                    raise
            await asyncio.sleep(0.02)

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

    async def _count(self) -> None:
        _, recognizer = self._running["recognizer"]
        stored = Counter([id_ async for id_ in stored_ids(recognizer.recognizer)])
        found = self.findings
        found.accepted = len(self._accepted)
        found.stored = len(stored)
        found.lost = len(self._accepted.keys() - stored.keys())
        found.doubled = sum(count > 1 for count in stored.values())
        people = {each.subject_id async for each in subjects_of(recognizer.gallery)}
        found.enrolled, found.deleted = len(self._enrolled), len(self._deleted)
        found.lost += len(self._enrolled - people)
        found.returned = len(self._deleted & people)
        found.bytes_a_face = round(self._sizes / max(1, found.accepted), 1)


async def drained(encoder: Any) -> None:
    """Wait until an encoder, by its stub, has forwarded all faces."""
    waiting = 1
    async with asyncio.timeout(_DRAINED_WITHIN_S):
        while waiting:
            await asyncio.sleep(0.1)
            info = await encoder.GetEncoderInfo(GetEncoderInfoRequest())
            waiting = info.uplink_depth


async def subjects_of(gallery: Any) -> AsyncIterator[Subject]:
    """The people of a gallery, by its stub."""
    token = ""
    while True:
        page = await gallery.ListSubjects(ListSubjectsRequest(page_size=1000, page_token=token))
        for subject in page.subjects:
            yield subject
        if not (token := page.next_page_token):
            return


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


def _made(folder: Path) -> Path:
    folder.mkdir(parents=True)
    return folder


@asynccontextmanager
async def _trial(seed: int) -> AsyncIterator[Trial]:
    with tempfile.TemporaryDirectory() as folder:
        models = Path(folder) / "models"
        write_tiny_model(models, Path(folder) / "scratch")
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
    findings.seed = arguments.seed
    print(json.dumps(asdict(findings), indent=1))  # noqa: T201
    sys.exit(not findings.clean)


if __name__ == "__main__":
    main()
