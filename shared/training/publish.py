"""The last stage: from checkpoints to a calibrated model directory."""

import json
import tempfile
from dataclasses import asdict
from pathlib import Path

import torch

from shared.calibration import calibrate
from shared.compact_map import Layout
from shared.evaluation.validation import embed_validation, evaluate_validation
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
    run: Path, *, faces: Faces, models: Path, family: str, version: str, point: str, threads: int
) -> ModelDirectory:
    """Write the averaged networks of a run of stage 3 as a model directory.

    They are stored first, and measured and calibrated as stored, on the held-out identities.

    Args:
        run: folder of the joint run.
        faces: the cache it was trained on.
        models: folder of model families to write into.
        family: name of the family.
        version: name of the version.
        point: name of the operating point.
        threads: cores for the measurements.

    Raises:
        AlreadyExists: the version is there.
    """
    codec = load_codec(run)
    description = _describe(run, codec, faces, family=family, version=version, point=point)
    with tempfile.TemporaryDirectory() as scratch:
        model = export_model(
            Path(scratch),
            description=description,
            extractor=codec.student.extractor,
            codecs={point: TrainedCodec(codec.compnet, codec.recnet)},
        )
        torch.set_num_threads(threads)
        embedded, identities = embed_validation(
            model, point, faces, split_faces(faces), threads=threads
        )
        codec_id = model.codec(point).codec_id
        tables = [
            calibrate(
                embedded.compressed, identities, probe_codec=codec_id, enrolled_codec=codec_id
            ),
            calibrate(
                embedded.compressed,
                identities,
                enrolled=embedded.uncompressed,
                probe_codec=codec_id,
                enrolled_codec=UNCOMPRESSED,
            ),
            calibrate(
                embedded.uncompressed,
                identities,
                probe_codec=UNCOMPRESSED,
                enrolled_codec=UNCOMPRESSED,
            ),
        ]
        measured = asdict(evaluate_validation(model, point, faces, threads=threads))
        return publish_results(model, models, calibration=tables, measured={"validation": measured})


def _describe(
    run: Path, codec: Codec, faces: Faces, *, family: str, version: str, point: str
) -> ModelDescription:
    split = split_faces(faces)
    config = json.loads((run / CONFIG_FILE).read_text())
    layout: Layout = "row"
    return ModelDescription(
        family=family,
        version=version,
        extractor=ExtractorConfig(width=codec.student.shape["width"]),
        alignment=COSFACE_112X96,
        codecs={
            point: CodecConfig(
                channels=config["channels"],
                levels=config["levels"],
                layout=layout,
                widths=config["widths"],
            )
        },
        default_point=point,
        provenance={
            "faces": len(split.train),
            "classes": split.classes,
            "held_out_identities": len(split.held_out),
            "stages": {"joint": config},
        },
    )
