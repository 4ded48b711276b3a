"""Load the networks of a model directory: float32, eval mode, channels last."""

import warnings
from collections.abc import Sequence
from typing import TypeVar

import torch
from torch import Tensor, nn

from shared.errors import InvalidModel
from shared.inference.fixed_sizes import Run, as_cuda_graphs
from shared.model_directory import (
    COMPNET_FILE,
    RECNET_FILE,
    CodecConfig,
    ModelDirectory,
    Sphere20Config,
)
from shared.models.embedder import Embedder
from shared.models.face_codec import AnyCompNet, AnyRecNet, make_codec
from shared.models.sphere20 import Sphere20
from shared.models.weights import load_weights

Network = TypeVar("Network", bound=nn.Module)


def new_codec(codec: CodecConfig) -> tuple[AnyCompNet, AnyRecNet]:
    """Untrained networks of the codec's sizes."""
    return make_codec(
        channels=codec.channels,
        widths=codec.widths,
        face_width=codec.face_width,
        face_mirrored=codec.face_mirrored,
    )


def load_compnet(model: ModelDirectory, point: str | None, device: torch.device) -> AnyCompNet:
    """The CompNet of an operating point; None takes the default point."""
    network, _ = new_codec(model.codec(point))
    weights = model.codec_path(point, COMPNET_FILE).read_bytes()
    return _placed(load_weights(network, weights), device)


def load_recnet(model: ModelDirectory, point: str | None, device: torch.device) -> AnyRecNet:
    """The RecNet of an operating point; None takes the default point."""
    _, network = new_codec(model.codec(point))
    weights = model.codec_path(point, RECNET_FILE).read_bytes()
    return _placed(load_weights(network, weights), device)


def load_extractor(model: ModelDirectory, device: torch.device) -> Embedder:
    """The extractor that all operating points share, if it is a sphere20.

    Raises:
        InvalidModel: EXTRACTOR_NOT_OURS; it has another architecture.
    """
    config = model.manifest.extractor
    if not isinstance(config, Sphere20Config):
        raise InvalidModel(
            "EXTRACTOR_NOT_OURS",
            f"the extractor of {model.path} is of architecture {config.architecture!r}; only a "
            "sphere20 can be trained on",
        )
    network = Sphere20(width=config.width, embedding_size=config.embedding_size)
    weights = load_weights(network, model.extractor_path.read_bytes())
    return Embedder(_placed(weights, device), mirrored=config.mirrored).eval()


def without_python(network: nn.Module, shape: Sequence[int]) -> Run:
    """The network as a graph that torch runs without Python; on a GPU, as CUDA graphs.

    Layer by layer, Python's lock is let go and asked for again, and a thread that asks has to wait
    for the others of a busy service. A graph asks once.

    Args:
        network: in eval mode, placed and of its final type; on the CPU its PReLU are replaced.
        shape: (C, H, W) of its input.
    """
    first = next(network.parameters())
    if first.device.type == "cuda":
        return as_cuda_graphs(network, shape)
    _replace_prelu(network)
    example = torch.zeros((2, *shape), dtype=first.dtype).contiguous(
        memory_format=torch.channels_last
    )
    with torch.inference_mode(), warnings.catch_warnings():
        # Deprecated; what torch names instead asks for the lock as well, or needs a compiler.
        warnings.simplefilter("ignore", DeprecationWarning)
        traced = torch.jit.trace(network, example, check_trace=False)  # type: ignore[no-untyped-call]
        graph: Run = torch.jit.freeze(traced)
        return graph


class _FastPReLU(nn.Module):
    """PReLU as max(x, slope * x): equal for slopes of at most 1.

    torch's PReLU takes up to half of a network's time in bfloat16 on a CPU.
    """

    def __init__(self, slope: Tensor) -> None:
        super().__init__()
        self.register_buffer("_slope", slope.detach())

    def forward(self, x: Tensor) -> Tensor:
        slope = self.get_buffer("_slope").view(-1, *(1,) * (x.ndim - 2))
        return torch.maximum(x, slope * x)


def _replace_prelu(network: nn.Module) -> None:
    for name, layer in list(network.named_modules()):
        if isinstance(layer, nn.PReLU) and layer.weight.max() <= 1:
            network.set_submodule(name, _FastPReLU(layer.weight))


def _placed(network: Network, device: torch.device) -> Network:
    # Channels last is the fastest layout for convolutions on CPU and GPU; torch's annotations
    # lack the argument.
    return network.to(device).to(memory_format=torch.channels_last)  # type: ignore[call-overload, no-any-return]
