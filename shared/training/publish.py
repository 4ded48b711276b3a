"""The last stage: from checkpoints to a calibrated model directory."""

import json
import tempfile
import time
from collections.abc import Mapping
from dataclasses import asdict
from itertools import combinations_with_replacement
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from shared.calibration import CalibrationTable, calibrate
from shared.evaluation.pipeline import Embedded
from shared.evaluation.result import score_result
from shared.evaluation.validation import PAIRS, balanced_pairs, embed_validation
from shared.model_directory import (
    COSFACE_112X96,
    UNCOMPRESSED,
    CodecConfig,
    ExtractorConfig,
    ModelDescription,
    ModelDirectory,
    publish_results,
)
from shared.training.codec import Codec, load_codec
from shared.training.export import TrainedCodec, export_model
from shared.training.faces import Faces
from shared.training.loop import CONFIG_FILE
from shared.training.split import split_faces


def publish(
    stages: Mapping[str, Path],
    *,
    faces: Faces,
    models: Path,
    family: str,
    version: str,
    point: str,
    threads: int,
) -> ModelDirectory:
    """Write the averaged networks of the last stage as a model directory.

    They are stored first, and measured and calibrated as stored, on the held-out identities.

    Args:
        stages: run folders by name of the stage, in order; the last holds the networks, the
            others are recorded as its provenance.
        faces: the cache it was trained on.
        models: folder of model families to write into.
        family: name of the family.
        version: name of the version.
        point: name of the operating point.
        threads: cores for the measurements.

    Raises:
        AlreadyExists: the version is there.
    """
    configs = {name: json.loads((run / CONFIG_FILE).read_text()) for name, run in stages.items()}
    codec = load_codec(list(stages.values())[-1])
    description = _describe(configs, codec, faces, family=family, version=version, point=point)
    with tempfile.TemporaryDirectory() as scratch:
        model = export_model(
            Path(scratch),
            description=description,
            extractor=codec.student.extractor,
            codecs={point: TrainedCodec(codec.compnet, codec.recnet)},
        )
        torch.set_num_threads(threads)
        began = time.perf_counter()
        embedded, identities = embed_validation(
            model, point, faces, split_faces(faces), threads=threads
        )
        result = score_result(
            model,
            point,
            embedded,
            balanced_pairs(identities, count=PAIRS),
            dataset="validation",
            seconds=time.perf_counter() - began,
        )
        return publish_results(
            model,
            models,
            calibration=_calibration(embedded, identities, model.codec(point).codec_id),
            measured={"validation": asdict(result)},
        )


def _calibration(
    embedded: Embedded, identities: NDArray[np.int64], codec_id: str
) -> list[CalibrationTable]:
    """A table for every pair of {maps of the codec, uncompressed crops}."""
    embeddings = {codec_id: embedded.compressed, UNCOMPRESSED: embedded.uncompressed}
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


def _describe(
    configs: Mapping[str, dict[str, Any]],
    codec: Codec,
    faces: Faces,
    *,
    family: str,
    version: str,
    point: str,
) -> ModelDescription:
    split = split_faces(faces)
    config = list(configs.values())[-1]
    return ModelDescription(
        family=family,
        version=version,
        extractor=ExtractorConfig(width=codec.student.shape["width"]),
        alignment=COSFACE_112X96,
        codecs={
            point: CodecConfig(
                channels=config["channels"],
                levels=config["levels"],
                layout="row",
                widths=tuple(config["widths"]),
            )
        },
        default_point=point,
        provenance={
            "faces": len(split.train),
            "classes": split.classes,
            "held_out_identities": len(split.held_out),
            "stages": dict(configs),
        },
    )
