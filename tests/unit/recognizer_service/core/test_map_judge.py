"""The recognizer's judgment of maps, and its memory of enrolled ones."""

from pathlib import Path

import numpy as np
import pytest

from recognizer_service.core import quality
from recognizer_service.core.quality import MapJudge
from recognizer_service.core.types import FaceMap
from shared.inference.map_decoder import Symbols
from shared.model_directory import ModelDirectory
from tests.tiny_quality import write_judging_model


@pytest.fixture
def model(tiny_model: ModelDirectory, tmp_path: Path) -> ModelDirectory:
    return write_judging_model(tiny_model, tmp_path)


class Map:
    """A map of one brightness that counts how often it is unpacked."""

    def __init__(self, model: ModelDirectory, bright: int) -> None:
        codec = model.codec(None)
        self.face = FaceMap(codec.codec_id, bytes([bright]))
        self.unpacked = 0
        self._symbols = np.full(codec.map_format.shape, bright, np.uint8)

    def unpack(self) -> Symbols:
        self.unpacked += 1
        return self._symbols


def test_a_map_that_comes_again_is_judged_once_and_alike(
    model: ModelDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(quality, "_KNOWN", 2)
    judge = MapJudge(model)
    dark, light, other = (Map(model, bright) for bright in (0, 2, 1))
    for each in (dark, light, dark, light):
        face = judge.judged_again(each.face, each.unpack)
        fresh = judge.judged(each.face, each.unpack())
        assert face.quality == fresh.quality
        assert face.judged is not None
        assert fresh.judged is not None
        assert (face.judged.parts == fresh.judged.parts).all()
    assert (dark.unpacked, light.unpacked) == (1 + 2, 1 + 2)
    judge.judged_again(other.face, other.unpack)  # the first one is forgotten
    judge.judged_again(dark.face, dark.unpack)
    judge.judged_again(other.face, other.unpack)
    assert (dark.unpacked, other.unpacked) == (3 + 1, 1)


def test_a_map_of_a_codec_without_a_head_stays_as_it_is(tiny_model: ModelDirectory) -> None:
    each = Map(tiny_model, 1)
    assert MapJudge(tiny_model).judged_again(each.face, each.unpack) == each.face
