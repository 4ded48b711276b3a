"""A gallery before and after a change of model: accuracy on people of LFW, and faces a second.

    python -m tests.benchmarks.bench_reembed --data DATA --before 1 --after 2

Everybody is enrolled with the first photograph and asked about with the second. The gallery is a
real one; its maps were written by the one version, and are embedded anew by the other. What the
stored maps cost shows beside a gallery of the same photographs that the other version encoded.
"""

import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import typer
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from recognizer_service.core.changeover import CrossCodecEmbedder
from recognizer_service.gallery.gallery import Gallery
from recognizer_service.gallery.types import Enrolment, NewFace
from shared.evaluation.lfw_files import open_lfw
from shared.evaluation.pipeline import crops_of
from shared.evaluation.protocol import FAR, tar_at_far
from shared.evaluation.weights import model_name
from shared.inference.crop_encoder import OnnxCropEncoder
from shared.inference.map_decoder import MapDecoder
from shared.model_directory import ModelDirectory
from tests.benchmarks.gallery_report import (
    ModelChange,
    ModelChangeRow,
    Origin,
    record_model_change,
)

COLLECTION = "default"
OTHERS = 10
"""Subjects that every probe is verified against besides its own."""

Crops = NDArray[np.uint8]
"""(N, 112, 96, 3) RGB."""


class Version:
    """A model's way from crops to maps and embeddings, at its default operating point."""

    def __init__(self, model: ModelDirectory, *, threads: int = 1) -> None:
        self.name = model_name(model)
        self.decoder = MapDecoder(model)
        self._encoder = OnnxCropEncoder(model, threads=threads)

    @property
    def space(self) -> str:
        """Of the embeddings."""
        return self.decoder.embedding_space

    def faces(self, crops: Crops) -> list[NewFace]:
        """Encode and embed, as the two services would."""
        codec_id = self._encoder.codec_id
        pngs = self._encoder.encode(crops)
        maps = [(codec_id, self.decoder.unpack(codec_id, png)) for png in pngs]
        vectors = self.decoder.embed(maps)
        return [NewFace(codec_id, png, row) for png, row in zip(pngs, vectors, strict=True)]


@dataclass(frozen=True, slots=True)
class Accuracy:
    """How well a gallery answers.

    Attributes:
        rank1: share of probes to which their own subject is found to be the most similar.
        tar: share of probes that are verified as their own subject, at a false accept rate
            of 1e-3 among `OTHERS` other subjects each.
    """

    rank1: float
    tar: float


def main(
    *,
    data: Annotated[Path, typer.Option(envvar="COMPACTFACE_DATA", help="Holds lfw112/lfw.zip.")],
    before: Annotated[str, typer.Option(help="Version that wrote the maps.")],
    after: Annotated[str, typer.Option(help="Version that embeds them anew.")],
    models: Annotated[Path, typer.Option(help="Folder of model families.")] = Path("deploy/models"),
    family: Annotated[str, typer.Option(help="Model family.")] = "default",
    subjects: Annotated[int, typer.Option(min=2, help="People to enroll, at most.")] = 1000,
    threads: Annotated[int, typer.Option(min=1, help="Cores to use.")] = 1,
    report: Annotated[Path | None, typer.Option(help="Folder of gallery.json and .md.")] = None,
) -> None:
    """Print accuracy before and after, and how fast the faces were embedded anew."""
    origin = Origin.here()
    torch.set_num_threads(threads)
    old, new = (
        Version(ModelDirectory.load(models, family, version), threads=threads)
        for version in (before, after)
    )
    if old.space == new.space:
        raise typer.BadParameter(f"{old.name} and {new.name} share an extractor: nothing to do")
    enrolled, asked = photographs(data, subjects)
    with tempfile.TemporaryDirectory() as folder:
        change = change_model(Path(folder), old, new, enrolled, asked, origin=origin)
    _show(change)
    if report:
        record_model_change(report, change)


def photographs(data: Path, count: int) -> tuple[Crops, Crops]:
    """Of LFW's first people who have two: the first photograph by name, and the second."""
    with open_lfw(data) as files:
        everybody = (list(own) for _, own in groupby(files.names, lambda name: Path(name).parent))
        several = [own for own in everybody if len(own) > 1][:count]
        first, second = (
            np.concatenate(list(files.batches([own[number] for own in several])))
            for number in (0, 1)
        )
    return crops_of(first), crops_of(second)


def change_model(
    folder: Path, old: Version, new: Version, enrolled: Crops, asked: Crops, *, origin: Origin
) -> ModelChange:
    """Enrol with one version, change over to another, and ask before and after.

    Args:
        folder: for the galleries.
        old: the version before.
        new: the version after, of another embedding space; both of one folder of models.
        enrolled: (N, 112, 96, 3) a crop of each subject.
        asked: (N, 112, 96, 3) another of each.
        origin: of the figures.
    """
    probes = new.faces(asked)
    with Gallery(folder / "changed.db", embedding_space=old.space) as gallery:
        enrol(gallery, old.faces(enrolled))
        before = ask(gallery, old.faces(asked), old.space)
        steps = gallery.spaces.fill(CrossCodecEmbedder(new.decoder))
        next(steps)  # loads what decodes the old maps
        began = time.perf_counter()
        for _ in steps:
            pass
        filled = time.perf_counter()
        gallery.spaces.serve(new.space)
        served = time.perf_counter()
        after = ask(gallery, probes, new.space)
    with Gallery(folder / "anew.db", embedding_space=new.space) as gallery:
        enrol(gallery, new.faces(enrolled))
        enrolled_anew = ask(gallery, probes, new.space)
    return ModelChange(
        faces=len(enrolled),
        # All faces embedded anew, the networks being loaded; then indexes built and swapped.
        faces_per_s=len(enrolled) / (filled - began),
        swap_ms=1000 * (served - filled),
        rows=(
            _row(old, old, before),
            _row(old, new, after),
            _row(new, new, enrolled_anew),
        ),
        origin=origin,
    )


def _row(maps_of: Version, embedded_by: Version, accuracy: Accuracy) -> ModelChangeRow:
    return ModelChangeRow(
        maps_of=maps_of.name,
        embedded_by=embedded_by.name,
        rank1=accuracy.rank1,
        tar_at_far_1e3=accuracy.tar,
    )


def enrol(gallery: Gallery, faces: Sequence[NewFace]) -> None:
    """Enrol subjects "0", "1", and so on with one face each."""
    for person, face in enumerate(faces):
        gallery.enroll(COLLECTION, Enrolment((face,), subject_id=str(person)))


def ask(gallery: Gallery, probes: Sequence[NewFace], space: str) -> Accuracy:
    """Identify every probe, and verify it against its own subject and the next few."""
    right, similarities = 0, []
    others = min(OTHERS, len(probes) - 1)
    for person, probe in enumerate(probes):
        (best,) = gallery.search(COLLECTION, probe.embedding, count=1, space=space)
        right += best.subject_id == str(person)
        for step in range(1 + others):
            claimed = str((person + step) % len(probes))
            hit = gallery.similarity_to_subject(COLLECTION, claimed, probe.embedding, space=space)
            similarities.append(hit.similarity)
    same = np.tile([True] + [False] * others, len(probes))
    tar = tar_at_far(np.array(similarities, np.float32), same, far=FAR)
    return Accuracy(right / len(probes), tar)


def _show(change: ModelChange) -> None:
    table = Table("maps of", "embedded by", "rank 1, %", "TAR at FAR 1e-3, %")
    for row in change.rows:
        shares = (f"{100 * share:.2f}" for share in (row.rank1, row.tar_at_far_1e3))
        table.add_row(row.maps_of, row.embedded_by, *shares)
    console = Console()
    console.print(table)
    console.print(
        f"{change.faces:,} faces embedded anew, {change.faces_per_s:.1f} a second; "
        f"indexes built and swapped in {change.swap_ms:.0f} ms"
    )


if __name__ == "__main__":
    typer.run(main)
