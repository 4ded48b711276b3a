"""Write a model once more, as `publish` writes models now, and calibrated anew."""

import tempfile
import time
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from itertools import combinations_with_replacement
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from shared.calibration import CalibrationTable, calibrate
from shared.errors import InvalidTraining
from shared.evaluation.pipeline import Embedded, Maker, crops_of
from shared.evaluation.result import score_result
from shared.evaluation.validation import PAIRS, balanced_pairs, embed_validation
from shared.inference.pixels import to_network
from shared.model_directory import (
    CAMERA_EXTRACTOR_FILE,
    COMPNET_FILE,
    NUISANCE_FILE,
    ONNX_FILE,
    READOUT_FILE,
    UNCOMPRESSED,
    CodecConfig,
    ModelDirectory,
    Sphere20Config,
    codec_file,
    expected_files,
    publish_results,
    write_model_directory,
)
from shared.training.export import camera_extractor, camera_file
from shared.training.faces import Faces
from shared.training.nuisances import fit_nuisances
from shared.training.readouts import fit_readouts, fit_uses
from shared.training.split import Split, split_faces

_RANGED_BY = 64
_UNMEASURED: Mapping[str, Any] = {"calibration": (), "measured": {}}


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
        InvalidModel: the integers disagree with the weights; or DECODE_ONLY: neither the model nor
            an earlier version in `models` makes the maps of an operating point.
    """
    torch.set_num_threads(threads)
    split = split_faces(faces)
    manifest = model.manifest
    crops = to_network(seen_by_cameras(faces, split), manifest.normalisation)
    compnets = {
        codec_file(point, ONNX_FILE): camera_file(
            model.codec_path(point, COMPNET_FILE).read_bytes(), config, crops
        )
        for point, config in manifest.codecs.items()
        if config.networks is None and point in manifest.encodable
    }
    with tempfile.TemporaryDirectory() as scratch:
        written = _changed(
            model, Path(scratch), compnets, version=version, provenance=_since(model, "quantized")
        )
        return _calibrated(written, faces, split, models=models, threads=threads)


def remove_nuisances(
    model: ModelDirectory, *, faces: Faces, models: Path, version: str, threads: int
) -> ModelDirectory:
    """Write a model once more, with nuisances taken off its embeddings, and readouts.

    Codecs change as by `add_readouts`. Embeddings change: galleries embed their maps again. Quality
    heads are left out, since they allow for what strangers had in common before.

    Args:
        model: of older software, without readouts; nuisances that it has are found anew.
        faces: the cache that it was trained on.
        models: folder of model families to write into.
        version: name of the new version.
        threads: number of cores for the measurements.

    Raises:
        AlreadyExists: the version exists.
        InvalidModel: DECODE_ONLY; neither the model nor an earlier version in `models` makes the
            maps of an operating point.
        InvalidTraining: HAS_READOUTS.
    """
    earlier = _before_readouts(model)
    with tempfile.TemporaryDirectory() as scratch:
        plain = _changed(
            model,
            Path(scratch),
            version=version,
            nuisances=None,
            quality={},
            provenance=_since(model, "nuisances"),
            **_UNMEASURED,
        )
        split = split_faces(faces)
        return corrected(plain, faces, split, earlier, models=models, threads=threads)


def add_readouts(
    model: ModelDirectory, *, faces: Faces, models: Path, version: str, threads: int
) -> ModelDirectory:
    """Write a model once more, with readouts of the operating points of its default networks.

    Cameras then round otherwise, so that these operating points have new codec ids. Maps that were
    made before stay readable: their codecs are kept, as `standard-4.5`. All other embeddings stay
    what they are. The quality head of these networks is left out, as by `remove_nuisances`.

    Args:
        model: of older software, or with an imported extractor; without readouts.
        faces: the cache that it was trained on.
        models: folder of model families to write into.
        version: name of the new version.
        threads: number of cores for the measurements.

    Raises:
        AlreadyExists, InvalidModel: as `remove_nuisances`.
        InvalidTraining: HAS_READOUTS.
    """
    torch.set_num_threads(threads)
    earlier = _before_readouts(model)
    with tempfile.TemporaryDirectory() as scratch:
        plain = _without_own_head(model, Path(scratch), version=version, change="readouts")
        split = split_faces(faces)
        return _with_readouts(plain, faces, split, earlier, models=models, threads=threads)


def renew_uses(
    model: ModelDirectory, *, faces: Faces, models: Path, version: str, threads: int
) -> ModelDirectory:
    """Write a model once more, with its readouts used as `publish` uses them now.

    Cameras and codec ids stay what they are. Embeddings of maps change: galleries embed them again.
    The quality head of these networks is left out, as by `remove_nuisances`.

    Args:
        model: with readouts.
        faces: the cache that it was trained on.
        models: folder of model families to write into.
        version: name of the new version.
        threads: number of cores for the measurements.

    Raises:
        AlreadyExists, InvalidModel: as `remove_nuisances`.
        InvalidTraining: NO_READOUTS; it has none.
    """
    torch.set_num_threads(threads)
    if not model.manifest.readouts:
        raise InvalidTraining("NO_READOUTS", f"{model.path} has no readouts; see `train readouts`")
    with tempfile.TemporaryDirectory() as scratch:
        plain = _without_own_head(model, Path(scratch), version=version, change="uses")
        return _with_uses(plain, faces, split_faces(faces), models=models, threads=threads)


def _without_own_head(
    model: ModelDirectory, models: Path, *, version: str, change: str
) -> ModelDirectory:
    """The model uncalibrated and without the quality head of its default networks."""
    manifest = model.manifest
    owner = manifest.networks_of(manifest.default_point)
    return _changed(
        model,
        models,
        version=version,
        quality={name: head for name, head in manifest.quality.items() if name != owner},
        provenance=_since(model, change),
        **_UNMEASURED,
    )


def _before_readouts(model: ModelDirectory) -> dict[str, CodecConfig]:
    """The codecs for which it gets readouts, under names that include its version, read only."""
    manifest = model.manifest
    if manifest.readouts:
        raise InvalidTraining("HAS_READOUTS", f"{model.path} has readouts; name an older version")
    owner = manifest.networks_of(manifest.default_point)
    own = [point for point in manifest.encodable if manifest.networks_of(point) == owner]
    return read_only(model, own)


def corrected(
    model: ModelDirectory,
    faces: Faces,
    split: Split,
    earlier: Mapping[str, CodecConfig],
    *,
    models: Path,
    threads: int,
) -> ModelDirectory:
    """The model with nuisances taken off its embeddings, and readouts, calibrated.

    Args:
        model: a stored model of our networks.
        faces: the cache of training faces.
        split: the training and held-out rows.
        earlier: its codecs before it had readouts, if there are maps of them.
        models: folder of model families to write into.
        threads: number of cores.
    """
    torch.set_num_threads(threads)
    nuisances = fit_nuisances(model, faces, split.train, threads=threads)
    files = {NUISANCE_FILE: nuisances.to_bytes()}
    with tempfile.TemporaryDirectory() as scratch:
        cleared = _changed(model, Path(scratch), files, nuisances=nuisances.count)
        return _with_readouts(cleared, faces, split, earlier, models=models, threads=threads)


def _with_readouts(
    model: ModelDirectory,
    faces: Faces,
    split: Split,
    earlier: Mapping[str, CodecConfig],
    *,
    models: Path,
    threads: int,
) -> ModelDirectory:
    """The model with readouts, calibrated."""
    config = model.manifest.extractor
    readouts = fit_readouts(model, faces, split.train, threads=threads)
    files = {READOUT_FILE: readouts.to_bytes()}
    if isinstance(config, Sphere20Config):
        crops = to_network(seen_by_cameras(faces, split), model.manifest.normalisation)
        files[CAMERA_EXTRACTOR_FILE] = camera_extractor(
            model.extractor_path.read_bytes(), config, crops
        )
    with tempfile.TemporaryDirectory() as scratch:
        codecs = {**model.manifest.codecs, **earlier}
        written = _changed(model, Path(scratch), files, readouts=readouts.uses, codecs=codecs)
        return _with_uses(written, faces, split, models=models, threads=threads)


def _with_uses(
    model: ModelDirectory, faces: Faces, split: Split, *, models: Path, threads: int
) -> ModelDirectory:
    """The model with its readouts used as is best for people held out, calibrated."""
    uses = fit_uses(model, faces, split.validation, threads=threads)
    with tempfile.TemporaryDirectory() as scratch:
        used = _changed(model, Path(scratch), readouts=uses)
        return _calibrated(used, faces, split, models=models, threads=threads)


def _changed(
    model: ModelDirectory,
    models: Path,
    files: Mapping[str, bytes] | None = None,
    **changes: Any,
) -> ModelDirectory:
    """The model with other fields in its manifest and other files, written into `models`."""
    description = model.manifest.model_copy(update=changes)
    new = files or {}
    kept = {
        name: (model.path / name).read_bytes()
        for name in expected_files(description)
        if name not in new
    }
    return write_model_directory(models, description=description, files={**kept, **new})


def _since(model: ModelDirectory, change: str) -> dict[str, Any]:
    """Provenance: which version was changed, and how."""
    manifest = model.manifest
    return {**manifest.provenance, change: {"of_version": manifest.version}}


def _calibrated(
    model: ModelDirectory, faces: Faces, split: Split, *, models: Path, threads: int
) -> ModelDirectory:
    began = time.perf_counter()
    makers = _makers(model, models)
    embedded, identities = embed_validation(model, faces, split, makers=makers, threads=threads)
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


def _makers(model: ModelDirectory, models: Path) -> dict[str, Maker]:
    """What makes the maps of points that the model can only read: earlier versions beside it."""
    family, codecs = model.manifest.family, model.manifest.codecs
    missing = set(codecs) - set(model.manifest.encodable)
    makers = {}
    for folder in sorted((models / family).glob("*/")):
        points = [point for point in missing if point.endswith(f"-{folder.name}")]
        if points:
            earlier = ModelDirectory.load(models, family, folder.name)
            made = {earlier.codec(name).codec_id: name for name in earlier.manifest.encodable}
            for point in points:
                if name := made.get(codecs[point].codec_id):
                    makers[point] = earlier, name
    return makers


def carried_name(point: str, model: ModelDirectory) -> str:
    """What a later version calls this operating point."""
    return f"{point}-{model.manifest.version}"


def read_only(model: ModelDirectory, points: Iterable[str]) -> dict[str, CodecConfig]:
    """Its codecs at some points as a later version with the same networks carries them."""
    manifest = model.manifest
    codecs: dict[str, CodecConfig] = {}
    for point in points:
        owner = manifest.networks_of(point)
        changes = {"networks": owner, "compnet": manifest.files[codec_file(owner, COMPNET_FILE)]}
        codecs[carried_name(point, model)] = manifest.codecs[point].model_copy(update=changes)
    return codecs


def seen_by_cameras(faces: Faces, split: Split) -> NDArray[np.uint8]:
    """Crops of training faces that set the ranges of 8-bit activations."""
    rows = np.random.default_rng(0).choice(split.train, min(_RANGED_BY, len(split.train)), False)
    return crops_of(faces.pixels[np.sort(rows)])


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
