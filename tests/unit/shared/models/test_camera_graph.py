"""CompNet as cameras run it: in 8 bits, with the same maps but for steps to the next level."""

from collections import Counter
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from shared.codec.compact_map import quantize
from shared.errors import InvalidModel
from shared.inference import crop_encoder
from shared.inference.crop_encoder import OnnxCropEncoder
from shared.inference.torch_crop_encoder import TorchCropEncoder
from shared.model_directory import CodecConfig, ModelDirectory
from shared.models.face_codec import make_codec
from shared.models.sphere20 import Sphere20
from shared.training import export
from shared.training.camera_graph import with_fast_prelu
from shared.training.export import TrainedCodec, export_model
from tests.tiny_model import WIDTH, describe, smooth_images

CONFIG = CodecConfig(channels=4, levels=4, layout="row", widths=(4, 8, 8, 8), face_width=WIDTH)


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


@torch.no_grad()
def networks() -> TrainedCodec:
    """Untrained, but with slopes and biases that are not all alike."""
    torch.manual_seed(0)
    codec = TrainedCodec(*make_codec(channels=4, widths=CONFIG.widths, face_width=WIDTH))
    for name, weight in codec.compnet.named_parameters():
        if name.endswith("bias") or weight.ndim == 1:
            weight.add_(torch.randn_like(weight) * 0.1)
    return codec


def pictures(count: int, seed: int) -> NDArray[np.uint8]:
    """(N, 112, 96, 3)."""
    pixels = ((smooth_images(count, seed=seed) + 1) * 127.5).round().byte()
    return np.ascontiguousarray(pixels.permute(0, 2, 3, 1).numpy())


def exported(models: Path, faces: NDArray[np.uint8] | None) -> ModelDirectory:
    description = describe(codecs={"standard": CONFIG}, default_point="standard")
    return export_model(
        models,
        description=description,
        extractor=Sphere20(width=WIDTH),
        codecs={"standard": networks()},
        faces=faces,
    )


def operators(path: Path) -> Counter[str]:
    return Counter(node.op_type for node in onnx.load(path, load_external_data=False).graph.node)


def test_the_extractor_computes_in_eight_bits_and_writes_the_same_map(tmp_path: Path) -> None:
    model = exported(tmp_path, pictures(24, seed=1))
    counted = operators(model.codec_path(None, "compnet.onnx"))
    assert counted["QuantizeLinear"] >= 2 * 8
    assert counted["PRelu"] == 0
    crops = pictures(16, seed=2)
    levels = CONFIG.levels
    ours = quantize(OnnxCropEncoder(model).latents(crops), levels).astype(int)
    theirs = quantize(TorchCropEncoder(model).latents(crops), levels).astype(int)
    assert 0 < np.mean(ours != theirs) < 0.1
    assert np.abs(ours - theirs).max() == 1


def test_its_weights_are_those_of_the_file_beside_it(tmp_path: Path) -> None:
    float32, int8 = (
        exported(tmp_path / name, faces)
        for name, faces in (("float32", None), ("int8", pictures(24, seed=1)))
    )
    assert int8.codec().codec_id == float32.codec().codec_id
    path = int8.codec_path(None, "compnet.onnx")
    stored = [
        tensor
        for tensor in onnx.load(path, load_external_data=False).graph.initializer
        if tensor.data_type == onnx.TensorProto.INT8
    ]
    assert stored
    assert all(tensor.data_location == onnx.TensorProto.EXTERNAL for tensor in stored)
    assert path.stat().st_size < 2 * float32.codec_path(None, "compnet.onnx").stat().st_size


def test_integers_that_write_another_map_are_not_exported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(export, "MAX_SYMBOLS_APART_INT8", 1e-6)
    with pytest.raises(InvalidModel, match="symbols of ONNX Runtime differ"):
        exported(tmp_path, pictures(24, seed=1))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(("steepest", "operator"), [(1.0, "Max"), (1.5, "PRelu")])
def test_only_slopes_of_at_most_1_get_another_operator(steepest: float, operator: str) -> None:
    slopes = np.array([-0.5, 0.25, steepest], np.float32).reshape(3, 1, 1)
    graph = helper.make_graph(
        [helper.make_node("PRelu", ["x", "slopes"], ["y"], "prelu")],
        "graph",
        [helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, (1, 3, 2, 2))],
        [helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, (1, 3, 2, 2))],
        [numpy_helper.from_array(slopes, "slopes")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=9)
    fast = with_fast_prelu(model)
    assert operator in {node.op_type for node in fast.graph.node}
    x = np.random.default_rng(0).normal(size=(1, 3, 2, 2)).astype(np.float32)
    before, after = (
        onnxruntime.InferenceSession(each.SerializeToString()).run(None, {"x": x})[0]
        for each in (model, fast)
    )
    np.testing.assert_array_equal(before, after)


def test_processors_that_overflow_take_the_slower_way(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = exported(tmp_path, pictures(24, seed=1))
    crops = pictures(4, seed=2)
    fast = OnnxCropEncoder(model).latents(crops)
    monkeypatch.setattr(crop_encoder, "_overflows", lambda: True)
    np.testing.assert_allclose(OnnxCropEncoder(model).latents(crops), fast, atol=1e-5)
