"""Judges on crops as they are shown, the foreign one with a network that is made here."""

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from shared.errors import FailedPrecondition
from shared.evaluation.judges import ExtractorJudge, Judge, OnnxJudge
from shared.inference.map_decoder import MapDecoder
from shared.model_directory import ModelDirectory


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Embeds a picture as itself, 4 x 4 pixels averaged into one; takes one at a time."""
    shapes = {"input": [1, 3, 112, 112], "output": [1, 3 * 28 * 28]}
    values = {
        name: helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)
        for name, shape in shapes.items()
    }
    nodes = [
        helper.make_node("AveragePool", ["input"], ["pooled"], kernel_shape=[4, 4], strides=[4, 4]),
        helper.make_node("Flatten", ["pooled"], ["output"]),
    ]
    graph = helper.make_graph(nodes, "tiny", [values["input"]], [values["output"]])
    opset = helper.make_opsetid("", 17)
    path = tmp_path_factory.mktemp("judges") / "averages.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[opset], ir_version=8), path)
    return path


def _crops(count: int) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    return np.random.default_rng(0).integers(0, 256, (count, 112, 96, 3), np.uint8)


def test_foreign_judge_sees_the_crop_with_its_edges_repeated(network: Path) -> None:
    crops = _crops(2)
    judge = OnnxJudge(network)
    pictures = np.stack(
        [np.column_stack([crop[:, :1]] * 8 + [crop] + [crop[:, -1:]] * 8) for crop in crops]
    )
    blocks = pictures.reshape(2, 28, 4, 28, 4, 3).mean((2, 4)).transpose(0, 3, 1, 2)
    expected = ((blocks - 127.5) / 128).reshape(2, -1)
    expected /= np.linalg.norm(expected, axis=1, keepdims=True)
    np.testing.assert_allclose(judge.embed(crops), expected, atol=1e-6)
    assert judge.name == "averages"


def test_foreign_judge_embeds_more_than_a_batch(network: Path) -> None:
    judge = OnnxJudge(network)
    crops = _crops(70)
    embeddings = judge.embed(crops)
    assert (embeddings.shape, embeddings.dtype) == ((70, 2352), np.float32)
    np.testing.assert_allclose(embeddings[69], judge.embed(crops[69:])[0], atol=1e-6)


def test_foreign_judge_names_the_file_it_misses(tmp_path: Path) -> None:
    with pytest.raises(FailedPrecondition, match=r"gone\.onnx is missing") as raised:
        OnnxJudge(tmp_path / "gone.onnx")
    assert raised.value.reason == "EVALUATION_DATA_MISSING"


def test_extractor_judges_crops_as_the_recognizer_embeds_them(tiny_model: ModelDirectory) -> None:
    decoder = MapDecoder(tiny_model)
    judge: Judge = ExtractorJudge(decoder)
    crops = _crops(3)
    np.testing.assert_array_equal(judge.embed(crops), decoder.embed_crops(crops))
    assert judge.name == "default/1"
