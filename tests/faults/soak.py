"""Runs both services under mixed load for a long time and looks at what they keep.

Clients forward crops, identify, verify, enroll and delete people, list and watch. Memory, handles,
threads and the gallery's write-ahead log are sampled meanwhile. As a script it prints what it found
as JSON; it ends with 1 if a call failed, or the processes' handles or threads grew::

    python -m tests.faults.soak --minutes 30
"""

import argparse
import asyncio
import itertools
import json
import os
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import grpc
import numpy as np

from compactface.v1 import encoder_pb2, gallery_pb2, recognizer_pb2
from compactface.v1.compact_map_pb2 import CompactMap
from tests.services.asking import CAMERAS, crop_map, keep_for
from tests.services.conftest import clouds
from tests.services.processes import Process, process
from tests.tiny_model import write_tiny_model

SAMPLES = 120
SETTLED = 0.4
"""The share of a run after which memory is expected to stay as it is."""
_PEOPLE = 24
_ALLOWED_GROWTH = 8  # handles, threads; gRPC opens and closes some as it likes
_PAUSE_S = 0.02
_MOST_AT_ONCE = 48


@dataclass(frozen=True, slots=True)
class Sample:
    """A process at one moment.

    Attributes:
        at_s: since the start.
        rss_mb: resident memory.
        handles: open file descriptors.
        threads: of them all.
    """

    at_s: float
    rss_mb: float
    handles: int
    threads: int


@dataclass
class Kept:
    """What one process kept.

    Attributes:
        rss_mb: at the end.
        rss_slope_mb_per_hour: a line through the settled part of the run; short runs say little.
        handles: when settled, and at the end.
        threads: likewise.
    """

    rss_mb: float
    rss_slope_mb_per_hour: float
    handles: tuple[int, int]
    threads: tuple[int, int]

    @classmethod
    def of(cls, samples: list[Sample]) -> "Kept":
        """Sum up the settled part of a run."""
        settled = samples[int(SETTLED * len(samples)) :]
        hours = [sample.at_s / 3600 for sample in settled]
        slope = np.polyfit(hours, [sample.rss_mb for sample in settled], 1)[0]
        first, last = settled[0], settled[-1]
        return cls(
            last.rss_mb,
            round(float(slope), 1),
            (first.handles, last.handles),
            (first.threads, last.threads),
        )

    @property
    def grew(self) -> bool:
        """Whether handles or threads became more."""
        pairs = (self.handles, self.threads)
        return any(last > first + _ALLOWED_GROWTH for first, last in pairs)


@dataclass
class Findings:
    """What was found.

    Attributes:
        minutes: of load.
        calls: answered, by method.
        failures: calls that failed, by method and status.
        wal_mb: the longest write-ahead log.
        kept: by service.
    """

    minutes: float
    calls: dict[str, int] = field(default_factory=dict)
    failures: dict[str, int] = field(default_factory=dict)
    wal_mb: float = 0.0
    kept: dict[str, Kept] = field(default_factory=dict)

    @property
    def clean(self) -> bool:
        """Whether nothing failed, and nothing but memory grew."""
        return not self.failures and not any(kept.grew for kept in self.kept.values())


def sample(pid: int, at_s: float) -> Sample:
    """Look at a process."""
    root = Path("/proc") / str(pid)
    pages = int((root / "statm").read_text().split()[1])
    return Sample(
        at_s,
        round(pages * os.sysconf("SC_PAGE_SIZE") / 1e6, 1),
        len(list((root / "fd").iterdir())),
        len(list((root / "task").iterdir())),
    )


class Load:
    """Clients of both services, each of which does one thing again and again."""

    def __init__(self, encoder: Process, recognizer: Process, findings: Findings) -> None:
        self._encoder, self._recognizer, self._findings = encoder, recognizer, findings
        self._maps: list[CompactMap] = []
        self._numbers = itertools.count()

    async def prepare(self) -> None:
        """Let sightings be kept, enroll some people, and make the services as busy as they get.

        Threads and connections come when they are needed, and stay: later they would look like a
        leak.
        """
        await keep_for(self._recognizer, 60)  # type: ignore[arg-type] # it has the same stubs
        for seed in range(_PEOPLE):
            self._maps.append(await crop_map(self._encoder, clouds(seed)))  # type: ignore[arg-type]
            await self._enroll(f"person-{seed}", self._maps[-1])
        for call in (self._identify, self._forward):
            await asyncio.gather(*(call() for _ in range(_MOST_AT_ONCE)))

    def tasks(self) -> list[Callable[[], Awaitable[object]]]:
        """One call of each kind."""
        return [self._forward, self._identify, self._verify, self._come_and_go, self._list]

    async def keep(self, call: Callable[[], Awaitable[object]], until_s: float) -> None:
        """Repeat a call until a time of the monotonic clock."""
        while time.monotonic() < until_s:
            name = call.__name__.strip("_")
            try:
                await call()
                _add_one(self._findings.calls, name)
            except grpc.aio.AioRpcError as error:
                _add_one(self._findings.failures, f"{name} {error.code().name}")
            await asyncio.sleep(_PAUSE_S)

    def _face(self) -> CompactMap:
        return self._maps[next(self._numbers) % _PEOPLE]

    async def _forward(self) -> object:
        request = encoder_pb2.EncodeRequest(
            image=clouds(next(self._numbers) % 500),
            kind=encoder_pb2.PICTURE_KIND_CROP,
            forward=True,
        )
        return await self._encoder.encoder.Encode(request, timeout=30)

    async def _identify(self) -> object:
        probe = recognizer_pb2.Probe(map=self._face())
        request = recognizer_pb2.IdentifyRequest(probe=probe)
        return await self._recognizer.recognizer.Identify(request, timeout=30)

    async def _verify(self) -> object:
        probe = recognizer_pb2.Probe(map=self._face())
        request = recognizer_pb2.VerifyRequest(probe=probe, subject_id="person-1")
        return await self._recognizer.recognizer.Verify(request, timeout=30)

    async def _come_and_go(self) -> None:
        name = f"guest-{next(self._numbers)}"
        await self._enroll(name, self._face())
        request = gallery_pb2.DeleteSubjectRequest(subject_id=name)
        await self._recognizer.gallery.DeleteSubject(request, timeout=30)

    async def _enroll(self, name: str, face: CompactMap) -> None:
        request = gallery_pb2.EnrollRequest(
            subject_id=name, maps=[face], on_duplicate=gallery_pb2.ON_DUPLICATE_ALLOW
        )
        await self._recognizer.gallery.Enroll(request, timeout=30)

    async def _list(self) -> None:
        """List, and watch for a moment: streams come and go."""
        request = recognizer_pb2.ListSightingsRequest(collection=CAMERAS, page_size=20)
        await self._recognizer.recognizer.ListSightings(request, timeout=30)
        watch = self._recognizer.recognizer.WatchSightings(
            recognizer_pb2.WatchSightingsRequest(collection=CAMERAS)
        )
        await watch.read()
        watch.cancel()


def _add_one(counts: dict[str, int], name: str) -> None:
    counts[name] = counts.get(name, 0) + 1


async def soak(folder: Path, minutes: float) -> Findings:
    """Run both services for so long."""
    models = folder / "models"
    write_tiny_model(models, folder / "scratch")
    findings = Findings(minutes)
    gallery = folder / "gallery.sqlite"
    settings: dict[str, Any] = {"models": models, "within_s": 120}
    async with (
        process(
            "recognizer",
            folder / "recognizer.log",
            gallery=gallery,
            stream_collection=CAMERAS,
            **settings,
        ) as recognizer,
        process(
            "encoder",
            folder / "encoder.log",
            uplink_target=recognizer.events("listening")[0]["address"],
            uplink_spool=folder / "spool",
            **settings,
        ) as encoder,
    ):
        load = Load(encoder, recognizer, findings)
        await load.prepare()
        began = time.monotonic()
        until_s = began + 60 * minutes
        callers = [asyncio.create_task(load.keep(call, until_s)) for call in load.tasks()]
        samples: dict[str, list[Sample]] = {"encoder": [], "recognizer": []}
        log = gallery.with_name(f"{gallery.name}-wal")
        while time.monotonic() < until_s:
            await asyncio.sleep(60 * minutes / SAMPLES)
            for name, running in (("encoder", encoder), ("recognizer", recognizer)):
                samples[name].append(sample(running.child.pid, time.monotonic() - began))
            findings.wal_mb = max(findings.wal_mb, round(log.stat().st_size / 1e6, 2))
        await asyncio.gather(*callers)
        findings.kept = {name: Kept.of(some) for name, some in samples.items()}
    return findings


def main() -> int:
    """Soak, and print what was found."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=30)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        findings = asyncio.run(soak(Path(folder), options.minutes))
    print(json.dumps(asdict(findings), indent=1))  # noqa: T201
    return int(not findings.clean)


if __name__ == "__main__":
    sys.exit(main())
