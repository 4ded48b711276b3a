"""At which operating point the command line encodes photos in its own process."""

from pathlib import Path

import pytest

from command_line.photos import LocalEncoder
from shared.model_directory import CodecConfig, ModelDirectory
from tests import tiny_model
from tests.tiny_model import FAMILY, write_tiny_model

PHOTO = Path(__file__).parents[1] / "data" / "joe_biden_blue_room.jpg"


def codec_of(encoder: LocalEncoder) -> str:
    return encoder.encode(PHOTO.read_bytes()).faces[0].map.codec_id


def test_enrolment_takes_the_fine_point_and_questions_the_default_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fine = CodecConfig(channels=12, levels=4, layout="row", widths=(4, 8, 8, 12))
    monkeypatch.setitem(tiny_model.CODECS, "fine", fine)
    write_tiny_model(tmp_path / "models", tmp_path / "scratch")
    manifest = ModelDirectory.load(tmp_path / "models", FAMILY).manifest
    enrolling = LocalEncoder(tmp_path / "models", FAMILY, enrolling=True)
    assert codec_of(enrolling) == manifest.codecs["fine"].codec_id
    asking = LocalEncoder(tmp_path / "models", FAMILY)
    assert codec_of(asking) == manifest.codecs["standard"].codec_id


def test_a_model_without_a_fine_point_enrols_at_its_default_one(
    tiny_models: Path, tiny_model: ModelDirectory
) -> None:
    encoder = LocalEncoder(tiny_models, FAMILY, enrolling=True)
    assert codec_of(encoder) == tiny_model.codec().codec_id
