"""The last stage: turn checkpoints into a calibrated model directory."""

import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from itertools import combinations_with_replacement
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from shared.calibration import CalibrationTable, calibrate
from shared.errors import InvalidTraining
from shared.evaluation.pipeline import Embedded, crops_of
from shared.evaluation.result import score_result
from shared.evaluation.validation import PAIRS, balanced_pairs, embed_validation
from shared.inference.onnx_embedder import network_of_any_batch
from shared.inference.pixels import to_network
from shared.model_directory import (
    COMPNET_FILE,
    COSFACE_112X96,
    NUISANCE_FILE,
    ONNX_FILE,
    UNCOMPRESSED,
    CodecConfig,
    InputNormalisation,
    ModelDescription,
    ModelDirectory,
    OnnxConfig,
    Sphere20Config,
    codec_file,
    expected_files,
    publish_results,
    write_model_directory,
)
from shared.models.sphere20 import Sphere20
from shared.training.codec import load_codecs
from shared.training.export import TrainedCodec, camera_file, export_model
from shared.training.faces import SIZE, Faces
from shared.training.network_input import NetworkInput, describe
from shared.training.nuisances import fit_nuisances
from shared.training.run_folder import read_run
from shared.training.split import Split, split_faces
from shared.training.student import AnyStudent, Student
from shared.training.teacher_file import NORMALISATIONS

_RANGED_BY = 64


def publish(
    runs: Sequence[Path],
    *,
    faces: Faces,
    models: Path,
    family: str,
    version: str,
    default_point: str,
    carried: Sequence[str] = (),
    threads: int,
) -> ModelDirectory:
    """Write the averaged networks of the last stage as a model directory.

    The networks are stored first. Of the stored networks' embeddings it is then found what to take
    off (`shared.inference.nuisances`), and they are evaluated and calibrated on the held-out
    identities.

    Args:
        runs: run folders of all stages in order; the last holds the networks, the others are
            recorded as provenance.
        faces: the cache of training faces.
        models: folder of model families to write into.
        family: name of the family.
        version: name of the version.
        default_point: default operating point.
        carried: earlier versions of the family whose codecs are still in use by cameras and
            galleries; the new version decodes them and is calibrated for them.
        threads: number of cores for the measurements.

    Raises:
        AlreadyExists: the version exists.
        InvalidTraining: a folder holds no run, the last run is not of stage 1 or 3 or lacks the
            operating point `default_point`, or an earlier version has other crops.
        InvalidModel: an earlier version cannot be loaded.
    """
    split = split_faces(faces)
    earlier = [ModelDirectory.load(models, family, name) for name in carried]
    with tempfile.TemporaryDirectory() as scratch:
        model = store(
            runs,
            models=Path(scratch),
            faces=faces,
            split=split,
            family=family,
            version=version,
            default_point=default_point,
            carried=earlier,
        )
        return _without_nuisances(model, faces, split, models=models, threads=threads)


def quantize(
    model: ModelDirectory, *, faces: Faces, models: Path, version: str, threads: int
) -> ModelDirectory:
    """Write a model once more, with the CompNets as `publish` writes them now, calibrated anew.

    Cameras compute them in 8 bits. Weights, codec ids and embedding space stay what they are.

    Args:
        model: of older software, or with other ranges.
        faces: the cache that it was trained on.
        models: folder of model families to write into.
        version: name of the new version.
        threads: number of cores for the measurements.

    Raises:
        AlreadyExists: the version exists.
        InvalidModel: the integers disagree with the weights, or a CompNet is left out
            (DECODE_ONLY).
    """
    split = split_faces(faces)
    manifest = model.manifest
    crops = to_network(_seen_by_cameras(faces, split), manifest.normalisation)
    files = {name: (model.path / name).read_bytes() for name in manifest.files}
    for point, config in manifest.codecs.items():
        if config.networks is None:
            weights = model.codec_path(point, COMPNET_FILE).read_bytes()
            files[codec_file(point, ONNX_FILE)] = camera_file(weights, config, crops)
    description = manifest.model_copy(
        update={
            "version": version,
            "provenance": {**manifest.provenance, "quantized": manifest.version},
        }
    )
    with tempfile.TemporaryDirectory() as scratch:
        written = write_model_directory(Path(scratch), description=description, files=files)
        return _calibrated(written, faces, split, models=models, threads=threads)


def remove_nuisances(
    model: ModelDirectory, *, faces: Faces, models: Path, version: str, threads: int
) -> ModelDirectory:
    """Write a model once more, with nuisances taken off its embeddings; calibrated anew.

    Codec ids stay what they are. Embeddings change: galleries embed their maps again. Quality heads
    are left out, since they allow for what strangers had in common before.

    Args:
        model: of older software; nuisances that it has are found anew.
        faces: the cache that it was trained on.
        models: folder of model families to write into.
        version: name of the new version.
        threads: number of cores for the measurements.

    Raises:
        AlreadyExists: the version exists.
        InvalidModel: DECODE_ONLY; a CompNet is left out, and maps cannot be made to calibrate on.
    """
    split = split_faces(faces)
    manifest = model.manifest
    plain = manifest.model_copy(
        update={
            "version": version,
            "nuisances": None,
            "quality": {},
            "calibration": (),
            "measured": {},
            "provenance": {**manifest.provenance, "nuisances": {"of_version": manifest.version}},
        }
    )
    files = {name: (model.path / name).read_bytes() for name in expected_files(plain)}
    with tempfile.TemporaryDirectory() as scratch:
        written = write_model_directory(Path(scratch), description=plain, files=files)
        return _without_nuisances(written, faces, split, models=models, threads=threads)


def _without_nuisances(
    model: ModelDirectory, faces: Faces, split: Split, *, models: Path, threads: int
) -> ModelDirectory:
    """The model with nuisances taken off its embeddings, calibrated."""
    torch.set_num_threads(threads)
    nuisances = fit_nuisances(model, faces, split.train, threads=threads)
    description = model.manifest.model_copy(update={"nuisances": nuisances.count})
    files = {name: (model.path / name).read_bytes() for name in model.manifest.files}
    files[NUISANCE_FILE] = nuisances.to_bytes()
    with tempfile.TemporaryDirectory() as scratch:
        written = write_model_directory(Path(scratch), description=description, files=files)
        return _calibrated(written, faces, split, models=models, threads=threads)


def _calibrated(
    model: ModelDirectory, faces: Faces, split: Split, *, models: Path, threads: int
) -> ModelDirectory:
    torch.set_num_threads(threads)
    began = time.perf_counter()
    embedded, identities = embed_validation(model, faces, split, threads=threads)
    result = score_result(
        model,
        embedded,
        balanced_pairs(identities, count=PAIRS),
        dataset="validation",
        seconds=time.perf_counter() - began,
    )
    return publish_results(
        model,
        models,
        calibration=calibration_of(model, embedded, identities),
        measured={"validation": asdict(result)},
    )


def _seen_by_cameras(faces: Faces, split: Split) -> NDArray[np.uint8]:
    """Crops of training faces that set the ranges of 8-bit activations."""
    rows = np.random.default_rng(0).choice(split.train, min(_RANGED_BY, len(split.train)), False)
    return crops_of(faces.pixels[np.sort(rows)])


def store(
    runs: Sequence[Path],
    *,
    models: Path,
    faces: Faces,
    split: Split,
    family: str,
    version: str,
    default_point: str,
    carried: Sequence[ModelDirectory] = (),
) -> ModelDirectory:
    """Write the averaged networks of the last stage as they will be shipped, uncalibrated.

    Args:
        runs: run folders of all stages in order.
        models: folder of model families to write into.
        faces: the cache of training faces.
        split: the training and held-out rows.
        family: name of the family.
        version: name of the version.
        default_point: default operating point.
        carried: earlier versions whose codecs to include.

    Raises:
        AlreadyExists, InvalidTraining: as `publish`.
    """
    recipe, network = load_codecs(runs[-1])
    if default_point not in recipe.points:
        known = ", ".join(recipe.points)
        raise InvalidTraining("NO_POINT", f"no operating point {default_point!r}; known: {known}")
    # Shared networks are stored under the point that sends the most symbols.
    owner = min(recipe.points, key=lambda name: recipe.points[name].spared)
    codecs = {
        name: CodecConfig(
            **recipe.networks.model_dump(exclude={"dropout"}),
            spared=point.spared,
            networks=None if name == owner else owner,
        )
        for name, point in recipe.points.items()
    }
    config, extractor = _extractor(network.student)
    others = dict(_carried_codecs(carried))
    description = ModelDescription(
        family=family,
        version=version,
        extractor=config,
        alignment=COSFACE_112X96,
        codecs=codecs | {name: _renamed(*other) for name, other in others.items()},
        default_point=default_point,
        provenance={
            "faces": len(split.train),
            "classes": split.classes,
            "held_out_identities": len(split.held_out),
            "stages": {run.name: read_run(run) for run in runs},
        },
    )
    return export_model(
        models,
        description=description,
        extractor=extractor,
        codecs={owner: TrainedCodec(network.compnet, network.recnet)},
        carried={n: o for n, o in others.items() if _renamed(*o).networks is None},
        faces=_seen_by_cameras(faces, split),
    )


def _extractor(student: AnyStudent) -> tuple[Sphere20Config | OnnxConfig, Sphere20 | bytes]:
    """An extractor and its configuration in the manifest."""
    if isinstance(student, Student):
        config = Sphere20Config(width=student.shape["width"], mirrored=student.shape["mirrored"])
        return config, student.extractor
    mean, std = NORMALISATIONS[student.file.normalisation]
    fed = NetworkInput(
        height=SIZE,
        width=SIZE,
        mean=tuple(mean.tolist()),
        std=tuple(std.tolist()),
        mirrored=True,
    )
    network = network_of_any_batch(student.file.path)
    return describe(network, fed), network


def _carried_codecs(
    models: Sequence[ModelDirectory],
) -> Iterator[tuple[str, tuple[ModelDirectory, str]]]:
    """Every codec of earlier versions once, under a name that includes its version.

    Those without CompNet are left out: there are no maps to calibrate on.
    """
    seen: set[str] = set()
    for model in models:
        manifest = model.manifest
        if (manifest.alignment, manifest.normalisation) != (COSFACE_112X96, InputNormalisation()):
            raise InvalidTraining(
                "OTHER_CROPS",
                f"{model.path} has another alignment or input; its codecs cannot be included",
            )
        for point in manifest.encodable:
            codec = manifest.codecs[point]
            if codec.codec_id not in seen:
                seen.add(codec.codec_id)
                yield _carried_name(point, model), (model, point)


def _carried_name(point: str, model: ModelDirectory) -> str:
    return f"{point}-{model.manifest.version}"


def _renamed(model: ModelDirectory, point: str) -> CodecConfig:
    codec = model.codec(point)
    owner = codec.networks and _carried_name(codec.networks, model)
    return codec.model_copy(update={"networks": owner})


def calibration_of(
    model: ModelDirectory, embedded: Embedded, identities: NDArray[np.int64]
) -> list[CalibrationTable]:
    """One table for every pair of {maps of each codec, uncompressed crops}."""
    embeddings = {
        UNCOMPRESSED if form == UNCOMPRESSED else model.codec(form).codec_id: vectors
        for form, vectors in embedded.own.items()
    }
    return [
        calibrate(
            embeddings[probe],
            identities,
            enrolled=None if probe == enrolled else embeddings[enrolled],
            probe_codec=probe,
            enrolled_codec=enrolled,
        )
        for probe, enrolled in combinations_with_replacement(embeddings, 2)
    ]
