"""Faces to enrol: reproducible unit vectors, and bytes in the place of maps."""

import time

import numpy as np

from recognizer_service.gallery.codec_thresholds import CodecThresholds
from recognizer_service.gallery.gallery import Gallery
from recognizer_service.gallery.sightings.types import Sighting, SightingOutcome
from recognizer_service.gallery.types import Embedding, Enrolment, NewFace
from shared.errors import CompactfaceError

SPACE = "space-a"
CODEC = "00112233aabbccdd"


def embedding(seed: int, *, like: int | None = None, cosine: float = 0.0) -> Embedding:
    """A unit vector of its seed; with `like`, at this cosine to the vector of that seed."""
    vector = np.random.default_rng(seed).standard_normal(512)
    if like is not None:
        other = embedding(like).astype(np.float64)
        vector -= vector @ other * other
        vector = cosine * other + np.sqrt(1 - cosine**2) * vector / np.linalg.norm(vector)
    return (vector / np.linalg.norm(vector)).astype(np.float32)


def new_face(seed: int, vector: Embedding | None = None, *, codec_id: str = CODEC) -> NewFace:
    """A face of a seed; its map is 200 random bytes."""
    png = np.random.default_rng([seed, 1]).bytes(200)
    return NewFace(codec_id, png, embedding(seed) if vector is None else vector, 0.5)


def person(*seeds: int, subject_id: str | None = None, name: str = "") -> Enrolment:
    """An enrolment of one face per seed, named after the first where no id is given."""
    return Enrolment(
        tuple(new_face(seed) for seed in seeds), subject_id or f"person-{seeds[0]}", name
    )


def from_similarity(similarity: float) -> dict[str, CodecThresholds]:
    """Takes for a duplicate whoever is as similar as that."""
    return {CODEC: CodecThresholds(others=similarity)}


def wait_until_erased(gallery: Gallery, *, within_s: float = 60) -> None:
    """Wait until the bytes of all deletions are said to be off the disk."""
    deadline = time.monotonic() + within_s
    while gallery.database.erasures_pending():
        if time.monotonic() > deadline:
            raise TimeoutError(f"not erased within {within_s} s")
        time.sleep(0.02)


def store(gallery: Gallery, collection_id: str, sighting: Sighting) -> SightingOutcome:
    """Store one sighting, or raise its error."""
    (outcome,) = gallery.sightings.store_all(collection_id, [sighting])
    if isinstance(outcome, CompactfaceError):
        raise outcome
    return outcome
