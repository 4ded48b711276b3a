"""The last stage: turn checkpoints into a calibrated model directory."""

import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from shared.errors import InvalidTraining
from shared.inference.onnx_embedder import network_of_any_batch
from shared.model_directory import (
    COMPNET_FILE,
    COSFACE_112X96,
    CodecConfig,
    InputNormalisation,
    ModelDescription,
    ModelDirectory,
    OnnxConfig,
    Sphere20Config,
    codec_file,
)
from shared.models.sphere20 import Sphere20
from shared.training.codec import load_codecs
from shared.training.export import TrainedCodec, export_model
from shared.training.faces import SIZE, Faces
from shared.training.network_input import NetworkInput, describe
from shared.training.rewrite import carried_name, corrected, seen_by_cameras
from shared.training.run_folder import read_run
from shared.training.split import Split, split_faces
from shared.training.student import AnyStudent, Student
from shared.training.teacher_file import NORMALISATIONS


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
    off (`shared.inference.nuisances`) and what maps add to them (`shared.inference.readouts`), and
    they are evaluated and calibrated on the held-out identities.

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
        return corrected(model, faces, split, {}, models=models, threads=threads)


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
        faces=seen_by_cameras(faces, split),
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

    Those that earlier versions can only read are left out: there are no maps to calibrate on.
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
                yield carried_name(point, model), (model, point)


def _renamed(model: ModelDirectory, point: str) -> CodecConfig:
    codec = model.codec(point)
    changes: dict[str, str | None] = {}
    if codec.networks:
        changes["networks"] = carried_name(codec.networks, model)
    elif codec.rounding:  # only the earlier version has what such maps are rounded by
        changes["compnet"] = model.manifest.files[codec_file(point, COMPNET_FILE)]
    return codec.model_copy(update=changes)
