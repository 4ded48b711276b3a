"""Strangers on photographs of LFW: how many join the right one, and what a sighting costs.

    python -m tests.benchmarks.bench_strangers --data DATA

Photographs of people who are not enrolled arrive in random order, as sightings of a camera: half of
the people have several, half have one. They go through the default model and a gallery on disk, as
in the recognizer. For each setting of `max_stranger_fpir`, the joins are compared with who is
really on the photographs.
"""

import random
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated
from uuid import uuid4

import typer
from prometheus_client import CollectorRegistry
from rich.console import Console
from rich.table import Table

from recognizer_service.core.networks import Networks, OpenedMap
from recognizer_service.core.types import FaceMap
from recognizer_service.gallery.gallery import Gallery
from recognizer_service.gallery.sightings.types import Sighting, SightingFinding, UnknownFace
from recognizer_service.metrics import RecognizerMetrics
from recognizer_service.settings import RecognizerSettings
from recognizer_service.startup import open_networks_of
from shared.evaluation.lfw_files import open_lfw
from shared.evaluation.pipeline import crops_of
from shared.inference.crop_encoder import OnnxCropEncoder
from shared.model_directory import ModelDirectory
from shared.model_directory.shipped import shipped_models
from shared.serving.background import Background

RATES = (0.01, 0.05, 0.1, 0.2)
PEOPLE = 400
MOST_PHOTOGRAPHS = 6
AT_ONCE = 16
NOBODY = SightingFinding("no_match")


@dataclass(frozen=True, slots=True)
class Seen:
    """A photograph as a sighting, and who is on it."""

    person: str
    sighting: Sighting
    face: UnknownFace


def main(
    data: Annotated[Path, typer.Option(help="Folder with lfw112/lfw.zip.")],
) -> None:
    """Measure joins and costs at several rates."""
    with TemporaryDirectory() as folder:
        networks = _networks(Path(folder))
        seen = _photographs(data, networks)
        table = Table(
            "max_stranger_fpir", "first sightings that joined another", "returning: right",
            "wrong", "new row", "rows", "per sighting, ms",
        )  # fmt: skip
        for rate in RATES:
            table.add_row(
                f"{rate:g}", *_measure(Path(folder) / f"{rate}.sqlite", seen, rate, networks)
            )
    people = len({one.person for one in seen})
    console = Console(width=140)
    console.print(f"{len(seen)} sightings of {people} people, in batches of {AT_ONCE}")
    console.print(table)


def _networks(folder: Path) -> Networks:
    model = ModelDirectory.load(shipped_models(), "default")
    registry = CollectorRegistry()
    settings = RecognizerSettings(gallery=folder / "none.sqlite", models=shipped_models())
    return open_networks_of(settings, RecognizerMetrics(registry), Background(registry), model)


def _photographs(data: Path, networks: Networks) -> list[Seen]:
    """Choose photographs, encode and embed them, in random order."""
    chance = random.Random(0)  # noqa: S311 - the same photographs every time
    encoder = OnnxCropEncoder(networks.decoder.model)
    with open_lfw(data) as files:
        of_person = defaultdict(list)
        for name in files.names:
            of_person[name.split("/")[0]].append(name)
        several = [person for person, names in of_person.items() if len(names) > 1]
        single = [person for person, names in of_person.items() if len(names) == 1]
        chosen = chance.sample(several, PEOPLE // 2) + chance.sample(single, PEOPLE // 2)
        names = [
            name
            for person in chosen
            for name in chance.sample(
                of_person[person], min(MOST_PHOTOGRAPHS, len(of_person[person]))
            )
        ]
        chance.shuffle(names)
        found: list[Seen] = []
        left = iter(names)
        for faces in files.batches(names):
            pngs = encoder.encode(crops_of(faces))
            maps = networks.opened([FaceMap(encoder.codec_id, png) for png in pngs])
            found += _seen(list(islice(left, len(maps))), maps, networks)
    return found


def _seen(names: Sequence[str], maps: Sequence[OpenedMap], networks: Networks) -> Iterator[Seen]:
    vectors = networks.decoder.embed([(one.face.codec_id, one.symbols) for one in maps])
    for name, one, vector in zip(names, maps, vectors, strict=True):
        face = networks.unknown(networks.judged(one), vector)
        if face:  # else too poor to be grouped
            sighting = Sighting(str(uuid4()), "door", one.face.codec_id, one.face.png)
            yield Seen(name.split("/")[0], sighting, face)


def _measure(path: Path, seen: Sequence[Seen], rate: float, networks: Networks) -> list[str]:
    """One row of the table."""
    with Gallery(
        path,
        embedding_space=networks.space,
        embedding_size=networks.decoder.embedding_size,
    ) as gallery:
        gallery.collections.update("default", max_stranger_fpir=rate)
        began, cost = time.perf_counter(), 0.0
        for start in range(0, len(seen), AT_ONCE):
            some = seen[start : start + AT_ONCE]
            gallery.sightings.store_all("default", [one.sighting for one in some])
            kept = gallery.sightings.find("default", [one.sighting.sighting_id for one in some])
            began = time.perf_counter()
            gallery.sightings.keep_findings(
                {one.key: NOBODY for one in kept},
                {one.key: each.face for one, each in zip(kept, some, strict=True)},
            )
            cost += time.perf_counter() - began
        ids = [one.sighting.sighting_id for one in seen]
        strangers = [
            one.stranger
            for start in range(0, len(ids), 500)
            for one in gallery.sightings.find("default", ids[start : start + 500])
        ]
    return [*_joins([one.person for one in seen], strangers), f"{1000 * cost / len(seen):.1f}"]


def _joins(people: Sequence[str], strangers: Sequence[int]) -> list[str]:
    """Count joins by what was right when the sighting came."""
    founder: dict[int, str] = {}
    known: set[str] = set()
    counts = dict.fromkeys(("first", "first wrong", "back", "right", "wrong", "new"), 0)
    for person, stranger in zip(people, strangers, strict=True):
        joined = founder.get(stranger)
        if person in known:
            counts["back"] += 1
            counts["new" if joined is None else "right" if joined == person else "wrong"] += 1
        else:
            counts["first"] += 1
            counts["first wrong"] += joined is not None
        known.add(person)
        founder.setdefault(stranger, person)
    return [
        f"{counts['first wrong']} of {counts['first']}",
        *(f"{counts[what] / counts['back']:.1%}" for what in ("right", "wrong", "new")),
        f"{len(founder)} for {len(known)} people",
    ]


if __name__ == "__main__":
    typer.run(main)
