"""Import a face network as a model's extractor: same codecs, new embedding space."""

import hashlib
import json
import tempfile
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydantic import JsonValue

from shared.errors import InvalidTraining
from shared.evaluation.pipeline import BATCH, Pipeline, Progress, no_progress
from shared.evaluation.result import score_result
from shared.evaluation.validation import PAIRS, balanced_pairs
from shared.inference.onnx_embedder import network_of_any_batch
from shared.model_directory import (
    ModelDirectory,
    expected_files,
    publish_results,
    write_model_directory,
)
from shared.training.face_cache import cache_faces
from shared.training.faces import (
    NAMES_FILE,
    PIXELS_FILE,
    TEACHER_FILE,
    UNLABELLED,
    Faces,
)
from shared.training.network_input import NetworkInput, describe
from shared.training.rewrite import calibration_of, carried_name, read_only
from shared.training.split import split_faces

# More photographs per person add little; more people make the bootstrap take gigabytes.
_PHOTOGRAPHS_EACH = 10
_MOST_PEOPLE = 1000


@dataclass(frozen=True, slots=True)
class People:
    """Photographs for calibration.

    Attributes:
        pixels: (N, 112, 112, 3) RGB, aligned; may be memory-mapped.
        rows: (V,) rows of `pixels` to use, ascending.
        identities: (V,) the person in each of those rows, as an integer.
    """

    pixels: NDArray[np.uint8]
    rows: NDArray[np.int64]
    identities: NDArray[np.int64]

    def batches(self) -> Iterator[NDArray[np.uint8]]:
        """The pixels of the rows, in batches."""
        for start in range(0, len(self.rows), BATCH):
            yield self.pixels[self.rows[start : start + BATCH]]


def read_people(source: Path, scratch: Path, *, most: int) -> People:
    """Read photographs of as many named people as possible, up to ten of each.

    Args:
        source: a folder with one folder per person; or a cache of training faces, of which only
            held-out people are used, since codecs do better on people they were trained on.
        scratch: folder for the faces found in photographs.
        most: approximate number of photographs.

    Raises:
        InvalidTraining: NO_FACES; no photograph shows a face.
    """
    cache = source
    if not (source / PIXELS_FILE).is_file():
        cache_faces(source, scratch)
        cache = scratch
    names: list[str] = json.loads((cache / NAMES_FILE).read_text())
    pixels: NDArray[np.uint8] = np.load(cache / PIXELS_FILE, mmap_mode="r")
    usable = np.arange(len(names))
    if (cache / TEACHER_FILE).is_file():
        teacher = np.load(cache / TEACHER_FILE, mmap_mode="r")
        no_yaw = np.zeros(len(names), np.float32)  # the split does not use yaw
        usable = split_faces(Faces(names, pixels, teacher, no_yaw)).validation
    rows_of: defaultdict[str, list[int]] = defaultdict(list)
    for row in usable.tolist():
        rows_of[names[row].split("/")[0]].append(row)
    rows_of.pop(UNLABELLED, None)
    taken = _drawn(list(rows_of.values()), most=most)
    owners = {row: person for person, rows in enumerate(taken) for row in rows}
    rows = sorted(owners)
    return People(pixels, np.array(rows, np.int64), np.array([owners[row] for row in rows]))


def _drawn(people: list[list[int]], *, most: int) -> list[list[int]]:
    """Up to ten photographs per person, people with two or more first."""
    random = np.random.default_rng(0)
    order = random.permutation(len(people)).tolist()
    order.sort(key=lambda person: len(people[person]) < 2)
    taken: list[list[int]] = []
    count = 0
    for person in order[:_MOST_PEOPLE]:
        if count >= most:
            break
        rows = random.permutation(people[person])[:_PHOTOGRAPHS_EACH].tolist()
        taken.append(rows)
        count += len(rows)
    return taken


def import_extractor(
    path: Path,
    fed: NetworkInput,
    *,
    base: ModelDirectory,
    models: Path,
    version: str,
    licence: str,
    people: People,
    threads: int = 1,
    progress: Progress = no_progress,
) -> ModelDirectory:
    """Write a version with the codecs of `base`, byte for byte, and this file as its extractor.

    It is calibrated on photographs that pass through each of its codecs. Where the base's cameras
    round towards its own extractor, their maps are read as those of carried codecs, and cameras of
    the new version round to the nearest symbols. Codecs of which the base cannot make maps are left
    out altogether.

    Args:
        path: ONNX file of a face network: N pictures in, N embeddings out.
        fed: the network's input.
        base: version whose codecs are kept.
        models: folder of model families to write into.
        version: name of the new version.
        licence: licence of the network; informational, stored in the manifest's provenance.
        people: photographs for calibration.
        threads: number of ONNX Runtime threads; torch's are process-wide.
        progress: called after every batch.

    Raises:
        InvalidModel: EXTRACTOR_UNUSABLE; the file is no such network.
        InvalidInput: EXTRACTOR_INPUT; `fed` is invalid.
        InvalidTraining: TOO_FEW_FACES; too few people for calibration.
        AlreadyExists: the version exists.
    """
    network = network_of_any_batch(path)
    config = describe(network, fed)
    manifest = base.manifest
    rounded = read_only(base, manifest.readouts)
    codecs = {
        point: manifest.codecs[point].model_copy(update={"rounding": None})
        for point in manifest.encodable
    }
    provenance: dict[str, JsonValue] = {
        "extractor": {
            "file": path.name,
            "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
            "licence": licence,
        },
        "calibrated_on": {
            "people": len(np.unique(people.identities)),
            "photographs": len(people.rows),
        },
        "codecs": {f"{manifest.family}/{manifest.version}": manifest.provenance},
    }
    description = manifest.model_copy(
        update={
            "version": version,
            "extractor": config,
            "nuisances": None,  # they are those of the other extractor, as are readouts
            "readouts": {},
            "codecs": codecs | rounded,
            "quality": {point: head for point, head in manifest.quality.items() if point in codecs},
            "calibration": (),
            "measured": {},
            "provenance": provenance,
        }
    )
    files = {
        name: (base.path / name).read_bytes()
        for name in expected_files(description)
        if name != config.file
    }
    try:
        pairs = balanced_pairs(people.identities, count=PAIRS)
    except ValueError as error:
        raise InvalidTraining("TOO_FEW_FACES", f"to calibrate on: {error}") from error
    with tempfile.TemporaryDirectory() as scratch:
        model = write_model_directory(
            Path(scratch), description=description, files={**files, config.file: network}
        )
        makers = {carried_name(point, base): (base, point) for point in manifest.readouts}
        pipeline = Pipeline(model, list(codecs | rounded), makers=makers, threads=threads)
        embedded = pipeline.embed(people.batches(), total=len(people.rows), progress=progress)
        result = score_result(model, embedded, pairs, dataset="calibration", seconds=0)
        return publish_results(
            model,
            models,
            calibration=calibration_of(model, embedded, people.identities),
            measured={"calibration": asdict(result)},
        )
