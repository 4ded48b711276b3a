"""Face networks of others, from ONNX files: the teacher, and judges that training never sees."""

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray


class OnnxEmbedder:
    """A network from N pictures to N embeddings, even where the file fixes N to 1."""

    def __init__(self, path: Path, *, threads: int) -> None:
        """Load the network.

        Args:
            path: ONNX file with one input and one output, both of which count pictures first.
            threads: of ONNX Runtime.

        Raises:
            FileNotFoundError: no such file.
        """
        model = onnx.load(path)
        for value in (*model.graph.input, *model.graph.output):
            value.type.tensor_type.shape.dim[0].dim_param = "N"
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.log_severity_level = 3  # the file promises one embedding; we know better
        self._session = onnxruntime.InferenceSession(
            model.SerializeToString(), options, providers=["CPUExecutionProvider"]
        )
        self._input = self._session.get_inputs()[0].name

    def embed(self, pictures: NDArray[np.float32]) -> NDArray[np.float32]:
        """(N, 3, 112, 112), normalised as the network wants it -> (N, D) unit vectors."""
        (raw,) = self._session.run(None, {self._input: np.ascontiguousarray(pictures)})
        embeddings = np.asarray(raw, np.float32).reshape(len(pictures), -1)
        unit: NDArray[np.float32] = embeddings / np.linalg.norm(embeddings, axis=1)[:, None]
        return unit
