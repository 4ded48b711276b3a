"""Imported face networks in ONNX files: the teacher, and evaluators that training never sees."""

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray

from shared.errors import InvalidModel


def network_of_any_batch(path: Path) -> bytes:
    """Read an ONNX network with its weights, with the batch size made variable.

    Args:
        path: ONNX file with one input and one output, both with the batch as first axis; its
            weights may be in other files beside it.

    Raises:
        FileNotFoundError: no such file.
        InvalidModel: EXTRACTOR_UNUSABLE; not an ONNX file, or it has other inputs or outputs.
    """
    try:
        model = onnx.load(path)
    except OSError:
        raise
    except Exception as error:  # protobuf's own error class
        raise InvalidModel("EXTRACTOR_UNUSABLE", f"{path} is not an ONNX file") from error
    weights = {tensor.name for tensor in model.graph.initializer}
    inputs = [value for value in model.graph.input if value.name not in weights]
    if (len(inputs), len(model.graph.output)) != (1, 1):
        raise InvalidModel(
            "EXTRACTOR_UNUSABLE",
            f"{path} has {len(inputs)} inputs and {len(model.graph.output)} outputs; it must have "
            "one of each: pictures and their embeddings",
        )
    for value in (*inputs, *model.graph.output):
        dimensions = value.type.tensor_type.shape.dim
        if not dimensions or value.type.tensor_type.elem_type != onnx.TensorProto.FLOAT:
            raise InvalidModel(
                "EXTRACTOR_UNUSABLE",
                f"{value.name!r} of {path} is not a float32 array; export the network in float32",
            )
        dimensions[0].dim_param = "N"
    content: bytes = model.SerializeToString()
    return content


class OnnxEmbedder:
    """Runs a network of N pictures -> N embeddings, even where the file fixes N to 1."""

    def __init__(self, path: Path, *, threads: int) -> None:
        """Load the network.

        Args:
            path: ONNX file with one input and one output, both with the batch as first axis.
            threads: of ONNX Runtime.

        Raises:
            FileNotFoundError: no such file.
        """
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.log_severity_level = 3  # it warns that the file declares a batch of 1
        self._session = onnxruntime.InferenceSession(
            network_of_any_batch(path), options, providers=["CPUExecutionProvider"]
        )
        self._input = self._session.get_inputs()[0].name

    def embed(self, pictures: NDArray[np.float32]) -> NDArray[np.float32]:
        """(N, 3, 112, 112), normalised as the network expects -> (N, D) unit vectors."""
        (raw,) = self._session.run(None, {self._input: np.ascontiguousarray(pictures)})
        embeddings = np.asarray(raw, np.float32).reshape(len(pictures), -1)
        unit: NDArray[np.float32] = embeddings / np.linalg.norm(embeddings, axis=1)[:, None]
        return unit
