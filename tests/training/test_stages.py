"""Every stage of training, from pictures to a model."""

from pathlib import Path

from shared.model_directory import ModelDirectory
from shared.training.nuisances import DIRECTIONS
from tests.training.invented import run_train


def test_all_stages_lead_to_a_model_directory(cache: Path, extractor: Path) -> None:
    folder = cache.parent
    codec, classifier, joint = (folder / stage for stage in ("codec", "classifier", "joint"))
    told = ("--smoke", "--cache", cache)
    judged = ("--teacher", folder / "teacher.onnx")
    run_train("codec", *told, *judged, "--extractor", extractor, "--out", codec)
    run_train("classifier", *told, "--extractor", extractor, "--out", classifier)
    run_train("joint", *told, *judged, "--extractor", classifier, "--codec", codec, "--out", joint)

    runs = ("--run", extractor, "--run", codec, "--run", joint)
    run_train("publish", "1", *runs, "--cache", cache, "--models", folder / "models")

    model = ModelDirectory.load(folder / "models", "default", "1")
    assert set(model.manifest.codecs) == {"tiny", "small", "standard", "fine"}
    assert {path.parent.name for path in model.path.glob("codecs/*/*")} == {"fine"}
    assert set(model.manifest.provenance["stages"]) == {"extractor", "codec", "joint"}
    assert model.manifest.nuisances == DIRECTIONS
    assert {*model.manifest.readouts} == {"tiny", "small", "standard", "fine"}
    assert b"QuantizeLinear" in model.codec_path(None, "compnet.onnx").read_bytes()

    resumed = ("--extractor", extractor, "--codec", model.path, "--out", folder / "resumed")
    run_train("joint", *told, *judged, *resumed, "--samples", 8)

    run_train("average", joint, folder / "resumed", "--out", folder / "mean")

    runs = (*runs, "--run", folder / "mean")
    run_train(
        "publish", "2", *runs, "--carry", "1", "--cache", cache, "--models", folder / "models"
    )
    newer = ModelDirectory.load(folder / "models", "default", "2").manifest
    camera_codec = model.codec("tiny").codec_id
    assert newer.codecs["tiny-1"].codec_id == camera_codec
    assert {*newer.readouts} == {*model.manifest.readouts}
    assert newer.calibration_for(camera_codec, newer.codecs["standard"].codec_id)

    again = ("--of", "2", "--cache", cache, "--models", folder / "models")
    run_train("quantize", "2.1", *again)
    quantized = ModelDirectory.load(folder / "models", "default", "2.1").manifest
    assert quantized.codecs == newer.codecs
    assert quantized.embedding_space == newer.embedding_space
    assert quantized.files == newer.files
    assert quantized.calibration_for(camera_codec, newer.codecs["standard"].codec_id)
