"""Read a model directory's file of numbers that is no network."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load

from shared.errors import InvalidModel
from shared.model_directory import ModelDirectory


def read_tensors(
    model: ModelDirectory, file: str, shapes: Mapping[str, tuple[int, ...]]
) -> dict[str, NDArray[np.float32]]:
    """The tensors of a file by name, in single precision.

    Args:
        model: a verified model directory.
        file: path in the directory.
        shapes: of all tensors, by name.

    Raises:
        InvalidModel: WEIGHTS_UNREADABLE, WEIGHTS_MISMATCH; not such a file, or of other sizes.
    """
    try:
        tensors = load((model.path / file).read_bytes())
    except SafetensorError as error:
        raise InvalidModel("WEIGHTS_UNREADABLE", f"{file} is not a safetensors file") from error
    if {name: tensor.shape for name, tensor in tensors.items()} != dict(shapes):
        raise InvalidModel(
            "WEIGHTS_MISMATCH", f"{file} does not hold tensors of the sizes {dict(shapes)}"
        )
    return {name: tensor.astype(np.float32) for name, tensor in tensors.items()}
