"""Input description of imported face networks, and the check that they are usable."""

from dataclasses import asdict, dataclass
from typing import Literal, cast

import numpy as np
import torch
from pydantic import ValidationError

from shared.errors import InvalidInput, InvalidModel
from shared.inference.onnx_extractor import OnnxExtractor, first_line
from shared.model_directory import InputNormalisation, OnnxConfig

# Batch sizes change the order of summation; networks that mix pictures up differ far more.
_TOLERANCE = 1e-3


@dataclass(frozen=True, slots=True)
class NetworkInput:
    """Input of a face network; see `OnnxConfig`."""

    height: int
    width: int
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    colour: Literal["RGB", "BGR"] = "RGB"
    mirrored: bool = False


def describe(network: bytes, fed: NetworkInput) -> OnnxConfig:
    """Check that a network embeds crops independently, and return its configuration.

    Args:
        network: content of an ONNX file: N pictures in, N embeddings out.
        fed: the network's input.

    Raises:
        InvalidModel: EXTRACTOR_UNUSABLE; it is no such network.
        InvalidInput: EXTRACTOR_INPUT; `fed` is invalid.
    """
    try:
        extractor = OnnxExtractor(
            network,
            OnnxConfig(**asdict(fed), embedding_size=1),
            InputNormalisation(),
            torch.device("cpu"),
        )
    except ValidationError as error:
        problems = "; ".join(problem["msg"] for problem in error.errors())
        raise InvalidInput("EXTRACTOR_INPUT", f"the extractor's input: {problems}") from error
    crops = torch.rand(3, 3, 112, 96, generator=torch.Generator().manual_seed(0)) * 2 - 1
    try:
        together = extractor.embed(crops)
        alone = np.concatenate([extractor.embed(crop[None]) for crop in crops])
    except Exception as error:  # ONNX Runtime's errors share no base class
        raise InvalidModel(
            "EXTRACTOR_UNUSABLE",
            f"the network cannot embed three {fed.height}x{fed.width} pictures, together and one "
            f"by one ({first_line(error)}); export it for this size and a variable batch size",
        ) from error
    if together.shape != alone.shape or not np.allclose(together, alone, atol=_TOLERANCE):
        raise InvalidModel(
            "EXTRACTOR_UNUSABLE",
            "the embedding of a picture depends on the others in its batch; export the network in "
            "evaluation mode, with a variable batch size",
        )
    return OnnxConfig(**asdict(fed), embedding_size=cast("int", together.shape[1]))
