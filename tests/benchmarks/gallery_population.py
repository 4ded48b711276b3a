"""Made-up galleries of any size whose embeddings lie as those of photographs do.

The constants were fitted to 8,000 photographs of LFW under the extractor of default/1: how the
variance falls over the principal components, and how similar photographs of one person are.
Strangers come out at cosines of 0 +- 0.11 (LFW: 0.05 +- 0.11), photographs of one person at 0.52
+- 0.14 (0.52 +- 0.15).
"""

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from recognizer_service.gallery.archive.format import Kind, Record, RecordReader, RecordWriter
from recognizer_service.gallery.gallery import Gallery
from recognizer_service.gallery.types import Enrolment
from tests.gallery_faces import new_face

SPACE = "made-up"
FACES_PER_SUBJECT = 2
_MAP_BYTES = 340
_BATCH = 1000
_DECAY, _BEND = 20, 0.65
_LIKENESS, _SPREAD = 0.72, 0.13


@dataclass(frozen=True, slots=True)
class Population:
    """Subjects with two faces each, reproducible from a seed."""

    subjects: int
    seed: int = 0

    def batches(self) -> Iterator[NDArray[np.float32]]:
        """The embeddings of up to 1,000 subjects at a time: (n, 2, 512)."""
        for first in range(0, self.subjects, _BATCH):
            count = min(_BATCH, self.subjects - first)
            rng = np.random.default_rng([self.seed, first])
            centres = _unit(_draw(rng, (count, 1)))
            yield _faces(rng, centres, FACES_PER_SUBJECT)

    def probes(self, count: int) -> NDArray[np.float32]:
        """Further faces of the first subjects of every batch in turn: (count, 512)."""
        per_batch = -(-count // -(-self.subjects // _BATCH))
        found = []
        for first in range(0, self.subjects, _BATCH):
            rng = np.random.default_rng([self.seed, first])
            centres = _unit(_draw(rng, (min(_BATCH, self.subjects - first), 1)))[:per_batch]
            found.append(_faces(np.random.default_rng([self.seed, first, 1]), centres, 1)[:, 0])
        return np.concatenate(found)[:count]


def fill(gallery: Gallery, population: Population) -> None:
    """Restore an archive of the population into the collection "default"."""
    with gallery.archives.importing(collection_id="default") as importer:
        for chunk in _archive(population):
            importer.feed(chunk)
        importer.finish()


def _archive(population: Population) -> Iterator[bytes]:
    header, subject, face = _records()
    rng = np.random.default_rng(population.seed)
    writer = RecordWriter()
    yield writer.header({**header.document, "embedding_space": SPACE})
    number = 0
    for batch in population.batches():
        for vectors in batch:
            number += 1
            yield writer.record(Kind.SUBJECT, {**subject.document, "id": f"subject-{number}"})
            for side, vector in enumerate(vectors):
                document = {**face.document, "id": f"{number}-{side}", "png_bytes": _MAP_BYTES}
                blob = rng.bytes(_MAP_BYTES) + vector.tobytes()
                yield writer.record(Kind.FACE, document, blob)
    yield writer.end()


def _records() -> tuple[Record, Record, Record]:
    """Header, subject and face of a gallery with one face, to be varied."""
    with (
        tempfile.TemporaryDirectory() as folder,
        Gallery(Path(folder) / "gallery.sqlite", embedding_space=SPACE) as gallery,
    ):
        gallery.enroll("default", Enrolment((new_face(0),), "subject"))
        header, subject, face = RecordReader().feed(b"".join(gallery.archives.export("default")))
    return header, subject, face


def _draw(rng: np.random.Generator, shape: tuple[int, ...]) -> NDArray[np.float32]:
    drawn: NDArray[np.float32] = rng.standard_normal((*shape, 512), dtype=np.float32) @ _mixing()
    return drawn


@cache
def _mixing() -> NDArray[np.float32]:
    """Standard normal numbers to embeddings, whose principal components are no axes."""
    scales = np.exp(-((np.arange(512) / _DECAY) ** _BEND) / 2)
    axes, _ = np.linalg.qr(np.random.default_rng(0).standard_normal((512, 512)))
    return (scales[:, np.newaxis] * axes).astype(np.float32)


def _faces(
    rng: np.random.Generator, centres: NDArray[np.float32], count: int
) -> NDArray[np.float32]:
    shape = (len(centres), count)
    likeness = np.clip(rng.normal(_LIKENESS, _SPREAD, (*shape, 1)), 0.2, 0.97).astype(np.float32)
    own = _unit(_draw(rng, shape))
    return _unit(likeness * centres + np.sqrt(1 - likeness**2) * own)


def _unit(vectors: NDArray[np.floating]) -> NDArray[np.float32]:
    unit: NDArray[np.float32] = vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)
    return unit
