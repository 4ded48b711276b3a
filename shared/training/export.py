"""Export trained networks to a model directory."""

import io
import tempfile
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from onnx.external_data_helper import set_external_data
from torch import nn

from shared.codec.compact_map import quantize
from shared.errors import InvalidModel
from shared.inference.crop_encoder import open_session
from shared.inference.networks import new_codec
from shared.inference.pixels import to_network
from shared.model_directory import (
    COMPNET_FILE,
    ONNX_FILE,
    RECNET_FILE,
    CodecConfig,
    ModelDescription,
    ModelDirectory,
    OnnxConfig,
    Sphere20Config,
    codec_file,
    expected_files,
    write_model_directory,
)
from shared.models.face_codec import AnyCompNet, AnyRecNet
from shared.models.sphere20 import Sphere20
from shared.models.weights import (
    Storage,
    int8_ranges,
    load_weights,
    weights_to_bytes,
    with_stored_weights,
)
from shared.training.camera_graph import with_fast_prelu, with_int8_activations

# Runtimes sum in different orders; a value between two levels may round either way.
MAX_SYMBOLS_APART = 1e-3
MAX_SYMBOLS_APART_INT8 = 0.1
"""With 8-bit activations more do. The next level is seldom another meaning: with 5 to 7 % of the
symbols one level apart, and none two, people held out are recognized as well as before."""


@dataclass(frozen=True, slots=True)
class TrainedCodec:
    """The networks of one operating point."""

    compnet: AnyCompNet
    recnet: AnyRecNet


def export_model(
    models: Path,
    *,
    description: ModelDescription,
    extractor: Sphere20 | bytes,
    codecs: Mapping[str, TrainedCodec],
    carried: Mapping[str, tuple[ModelDirectory, str]] | None = None,
    storage: Storage = "int8",
    faces: NDArray[np.uint8] | None = None,
) -> ModelDirectory:
    """Write `<models>/<family>/<version>` and load it.

    Evaluation then uses the stored networks, whose weights are rounded by `storage`;
    `publish_results` adds the calibration.

    Args:
        models: folder of model families.
        description: its codecs must have the names and sizes of `codecs` and `carried`.
        extractor: trained sphere20, or the file of an imported network.
        codecs: trained networks by operating point, for points that have their own networks.
        carried: likewise, points of other models whose files, and so codec ids, are kept.
        storage: storage of large weights.
        faces: (N, 112, 96, 3) RGB crops, as cameras will see, some tens. By them the ranges of
            8-bit activations are set (`camera_graph`); without them activations stay float32.

    Raises:
        AlreadyExists: the version exists.
        InvalidModel: networks and description disagree, or ONNX and torch do.
    """
    crops = None if faces is None else to_network(faces, description.normalisation)
    files = {description.extractor.file: _extractor_file(extractor, description, storage)}
    for point, codec in codecs.items():
        if point not in description.codecs:
            raise InvalidModel("UNKNOWN_OPERATING_POINT", f"{point!r} is not in the description")
        config = description.codecs[point]
        for name, content in _codec_files(codec, config, storage, crops).items():
            files[codec_file(point, name)] = content
    for point, (model, as_point) in (carried or {}).items():
        for name in (COMPNET_FILE, RECNET_FILE, ONNX_FILE):
            if codec_file(point, name) in expected_files(description):
                files[codec_file(point, name)] = model.codec_path(as_point, name).read_bytes()
    return write_model_directory(models, description=description, files=files)


def _extractor_file(
    extractor: Sphere20 | bytes, description: ModelDescription, storage: Storage
) -> bytes:
    config = description.extractor
    if isinstance(extractor, bytes) != isinstance(config, OnnxConfig):
        raise InvalidModel("UNKNOWN_EXTRACTOR", f"the extractor is not a {config.architecture!r}")
    if isinstance(extractor, bytes):
        return extractor
    assert isinstance(config, Sphere20Config)
    weights = weights_to_bytes(extractor, storage=storage)
    load_weights(Sphere20(width=config.width, embedding_size=config.embedding_size), weights)
    return weights


def _codec_files(
    codec: TrainedCodec, config: CodecConfig, storage: Storage, crops: NDArray[np.float32] | None
) -> dict[str, bytes]:
    compnet = weights_to_bytes(codec.compnet, storage=storage)
    recnet = weights_to_bytes(codec.recnet, storage=storage)
    _, fresh_recnet = new_codec(config)
    load_weights(fresh_recnet, recnet)
    computation = camera_file(compnet, config, crops)
    return {COMPNET_FILE: compnet, RECNET_FILE: recnet, ONNX_FILE: computation}


def camera_file(weights: bytes, config: CodecConfig, crops: NDArray[np.float32] | None) -> bytes:
    """A CompNet as cameras run it: the content of ONNX_FILE, for the weights beside it.

    Args:
        weights: content of COMPNET_FILE.
        config: its codec.
        crops: (N, 3, 112, 96) normalised faces that set the ranges of 8-bit activations; None:
            activations are float32.

    Raises:
        InvalidModel: the weights are not of this codec, or ONNX Runtime and torch disagree.
    """
    fresh, _ = new_codec(config)
    compnet = load_weights(fresh, weights)
    content = to_onnx(compnet, weights, crops=crops)
    _check_agreement(
        compnet, {COMPNET_FILE: weights, ONNX_FILE: content}, levels=config.levels, crops=crops
    )
    return content


def camera_extractor(
    weights: bytes, config: Sphere20Config, crops: NDArray[np.float32] | None
) -> bytes:
    """The extractor as cameras run it: the content of CAMERA_EXTRACTOR_FILE.

    Output "embedding" is (N, D), not normalised. The mirror image is up to the caller.

    Args:
        weights: content of the extractor's file, beside which it lies.
        config: of the extractor.
        crops: as in `camera_file`.
    """
    fresh = Sphere20(width=config.width, embedding_size=config.embedding_size)
    extractor = load_weights(fresh, weights)
    return to_onnx(extractor, weights, file=config.file, output="embedding", crops=crops)


def to_onnx(
    network: nn.Module,
    weights: bytes,
    *,
    file: str = COMPNET_FILE,
    output: str = "latent",
    crops: NDArray[np.float32] | None = None,
) -> bytes:
    """An ONNX file: input "crop" (N, 3, 112, 96), N dynamic.

    The file holds only the graph. It reads int8 weights from the file beside it, so that they are
    shipped once. ONNX Runtime dequantizes them on load.

    Args:
        network: loaded from `weights`; a CompNet or an extractor.
        weights: content of its file.
        file: name of its file.
        output: name of the output.
        crops: as in `camera_file`.
    """
    graph = io.BytesIO()
    with warnings.catch_warnings():
        # torch recommends its newer exporter, which is 50 times slower and writes this machine's
        # stack traces into the file.
        warnings.simplefilter("ignore", DeprecationWarning)
        torch.onnx.export(
            with_stored_weights(network, weights),
            (torch.zeros(1, 3, 112, 96),),
            graph,  # type: ignore[arg-type] # annotated for the newer exporter only
            dynamo=False,
            input_names=["crop"],
            output_names=[output],
            do_constant_folding=False,  # it would store int8 weights as float32
            dynamic_axes={"crop": {0: "n"}, output: {0: "n"}},
        )
    model = with_fast_prelu(onnx.load_from_string(graph.getvalue()))
    if crops is not None:
        model = with_int8_activations(model, crops)
    stored = int8_ranges(weights)
    for tensor in model.graph.initializer:
        if tensor.name in stored:
            offset, length = stored[tensor.name]
            set_external_data(tensor, file, offset, length)
            tensor.ClearField("raw_data")
    content: bytes = model.SerializeToString(deterministic=True)
    return content


@torch.inference_mode()
def _check_agreement(
    compnet: AnyCompNet,
    files: Mapping[str, bytes],
    *,
    levels: int,
    crops: NDArray[np.float32] | None,
) -> None:
    allowed = MAX_SYMBOLS_APART if crops is None else MAX_SYMBOLS_APART_INT8
    if crops is None:
        crops = np.random.default_rng(0).uniform(-1, 1, (8, 3, 112, 96)).astype(np.float32)
    with tempfile.TemporaryDirectory() as folder:
        for name, content in files.items():
            (Path(folder) / name).write_bytes(content)
        session = open_session(Path(folder) / ONNX_FILE)
    (latents,) = session.run(["latent"], {"crop": crops})
    ours = quantize(latents, levels)
    theirs = quantize(compnet(torch.from_numpy(crops)).numpy(), levels)
    apart = float(np.mean(ours != theirs))
    if apart > allowed:
        raise InvalidModel(
            "ONNX_DISAGREES",
            f"{apart:.2%} of the symbols of ONNX Runtime differ from torch's; "
            f"at most {allowed:.2%} may",
        )
