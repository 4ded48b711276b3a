"""Encoder, recognizer and a backend over a bad line, and what had arrived in the end.

Faces are forwarded through the line by the encoder's uplink, and people are enrolled and identified
through it by the client, while the line changes: far, lossy, thin, cut. As a script it prints what
it found as JSON; it ends with 1 if a face that the encoder had taken is missing or there twice, if
an enrolled person is missing or has a face too many, or if a call outlived its deadline::

    python -m tests.faults.line_faults --seconds 300

It needs /dev/net/tun and the right to use it, as root has it.
"""

import argparse
import asyncio
import itertools
import json
import random
import sys
import tempfile
import time
from collections import Counter
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from compactface.client import RequestFailed
from compactface.client.aio import RecognizerClient
from compactface.v1.compact_map_pb2 import CompactMap
from compactface.v1.encoder_pb2 import PICTURE_KIND_CROP, EncodeRequest
from tests.faults.line import CUT, FAR, GOOD, NEAR, Line, Weather
from tests.faults.uplink_faults import drained, stored_ids, subjects_of
from tests.services.asking import CAMERAS, crop_map
from tests.services.conftest import clouds
from tests.services.processes import Process, process
from tests.tiny_model import write_tiny_model

WEATHERS = {
    "far": Weather(delay_s=0.3, jitter_s=0.2),
    "lossy": Weather(delay_s=0.05, loss=0.1),
    "thin": Weather(delay_s=0.05, bytes_per_s=4000),
    "cut": CUT,
}
_LONGEST_S = 8.0  # of one weather
_CALLERS = 3
_TIMEOUT_S = 3.0
_LATE_S = 1.0  # on a busy machine


@dataclass
class Findings:
    """What the line did, and what was there in the end.

    Attributes:
        seconds: of bad weather.
        weathers: times that the line became each of `WEATHERS`.
        packets: that went over the line.
        packets_lost: of these.
        accepted: faces that the encoder said it had taken.
        stored: sightings that the recognizer has.
        enrolled: people that it said it had enrolled.
        calls: of the client.
        failed: calls that the client gave up, by reason.
        late: calls that took longer than their deadline.
        lost: faces taken and people enrolled that the recognizer lacks.
        doubled: sightings that it has more than once, and people with a face too many.
    """

    seconds: float
    weathers: dict[str, int]
    packets: int
    packets_lost: int
    accepted: int
    stored: int
    enrolled: int
    calls: int
    failed: dict[str, int]
    late: int
    lost: int
    doubled: int

    @property
    def clean(self) -> bool:
        """Whether nothing is missing, nothing there twice and nothing was late."""
        return not (self.lost or self.doubled or self.late)


class Trial:
    """An encoder and a backend on one side of a line, a recognizer on the other."""

    def __init__(self, line: Line, encoder: Process, recognizer: Process, *, until: float) -> None:
        self._line = line
        self._encoder = encoder
        self._recognizer = recognizer
        self._until = until
        self._accepted: set[str] = set()
        self._enrolled: set[str] = set()
        self._calls = self._late = 0
        self._failed: Counter[str] = Counter()

    async def run(self, client: RecognizerClient, chance: random.Random) -> Findings:
        """Work in bad weather; then let all arrive in good weather, and count."""
        began = time.monotonic()
        maps = [await crop_map(self._encoder, clouds(seed)) for seed in range(8)]  # type: ignore[arg-type]
        callers = [asyncio.create_task(self._keep_forwarding(n)) for n in range(_CALLERS)]
        callers.append(asyncio.create_task(self._keep_asking(client, maps)))
        weathers: Counter[str] = Counter()
        while time.monotonic() < self._until:
            name = chance.choice(list(WEATHERS))
            weathers[name] += 1
            self._line.weather = WEATHERS[name]
            left = self._until - time.monotonic()
            await asyncio.sleep(min(left, chance.uniform(1, _LONGEST_S)))
        seconds = time.monotonic() - began
        await asyncio.gather(*callers)
        self._line.weather = GOOD
        await drained(self._encoder.encoder)
        stored = Counter([id_ async for id_ in stored_ids(self._recognizer.recognizer)])
        there = subjects_of(self._recognizer.gallery)
        people = {each.subject_id: each.face_count async for each in there}
        return Findings(
            seconds=round(seconds, 1),
            weathers=dict(weathers),
            packets=self._line.carried,
            packets_lost=self._line.lost,
            accepted=len(self._accepted),
            stored=len(stored),
            enrolled=len(self._enrolled),
            calls=self._calls,
            failed=dict(self._failed),
            late=self._late,
            lost=len(self._accepted - stored.keys()) + len(self._enrolled - people.keys()),
            doubled=sum(count > 1 for count in [*stored.values(), *people.values()]),
        )

    async def _keep_forwarding(self, caller: int) -> None:
        for number in itertools.count(caller, _CALLERS):
            if time.monotonic() >= self._until:
                return
            image = clouds(number % 500)
            answer = await self._encoder.encoder.Encode(
                EncodeRequest(image=image, kind=PICTURE_KIND_CROP, forward=True), timeout=10
            )
            self._accepted.update(face.sighting_id for face in answer.faces)
            await asyncio.sleep(0.1)

    async def _keep_asking(self, client: RecognizerClient, maps: list[CompactMap]) -> None:
        for number in itertools.count():
            if time.monotonic() >= self._until:
                return
            name, face = f"person-{number}", maps[number % len(maps)]
            enrolling = client.subjects.enroll([face], subject_id=name, on_duplicate="allow")
            if await self._in_time(enrolling):
                self._enrolled.add(name)
            await self._in_time(client.identify(face))

    async def _in_time(self, call: Any) -> bool:
        """Whether a call succeeded; those that fail do so by their deadline."""
        self._calls += 1
        began = time.monotonic()
        try:
            await call
        except RequestFailed as error:
            self._failed[error.reason] += 1
            return False
        finally:
            self._late += time.monotonic() - began > _TIMEOUT_S + _LATE_S
        return True


async def run(folder: Path, models: Path, *, seconds: float, seed: int) -> Findings:
    """Work so long over a bad line, with a seed for its weather.

    Args:
        folder: for gallery, spool and logs.
        models: with the tiny model.
        seconds: of bad weather.
        seed: of weather and losses.
    """
    chance = random.Random(seed)  # noqa: S311 - any weather will do
    with Line(random.Random(seed)) as line:  # noqa: S311
        async with process(
            "recognizer",
            folder / "recognizer.jsonl",
            within_s=120,
            models=models,
            host=NEAR,
            insecure=True,
            gallery=folder / "gallery.sqlite",
            stream_collection=CAMERAS,
        ) as recognizer:
            port = recognizer.events("listening")[0]["address"].rpartition(":")[2]
            async with (
                process(
                    "encoder",
                    folder / "encoder.jsonl",
                    within_s=120,
                    models=models,
                    uplink_target=f"{FAR}:{port}",
                    uplink_spool=folder / "spool",
                ) as encoder,
                RecognizerClient(f"{FAR}:{port}", timeout_s=_TIMEOUT_S) as client,
            ):
                trial = Trial(line, encoder, recognizer, until=time.monotonic() + seconds)
                return await trial.run(client, chance)


def main() -> int:
    """Work over a bad line, and print what was found."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=300)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    if missing := Line.missing():
        parser.error(missing)
    with tempfile.TemporaryDirectory() as folder:
        models = Path(folder) / "models"
        write_tiny_model(models, Path(folder) / "scratch")
        found = asyncio.run(run(Path(folder), models, seconds=options.seconds, seed=options.seed))
    print(json.dumps(asdict(found), indent=1))  # noqa: T201
    return int(not found.clean)


if __name__ == "__main__":
    sys.exit(main())
