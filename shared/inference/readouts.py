"""What a map says of a face beyond the picture that RecNet draws from it.

CompNet writes an identity into the map. On its way through the picture some of it is lost, since
the extractor must find it again in what people see. A readout is a linear function of the symbols
that an operating point sends. It estimates the embedding of the uncompressed face, and a share of
the estimate is added to the embedding of the picture: the two ways err differently.
"""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import save

from shared.inference.extractor import normalised
from shared.inference.tensors import read_tensors
from shared.model_directory import READOUT_FILE, ModelDirectory

Floats = NDArray[np.float32]


class Readouts:
    """The readouts of a model's operating points; thread-safe."""

    def __init__(self, of_points: Mapping[str, tuple[Floats, Floats]]) -> None:
        """By operating point, the share included: weights (S, D) of S symbols, and bias (D,)."""
        self._of_points = dict(of_points)

    @classmethod
    def of_model(cls, model: ModelDirectory) -> "Readouts | None":
        """Those of a model; None: its maps say nothing beyond their pictures.

        Raises:
            InvalidModel: as `read_tensors`.
        """
        manifest = model.manifest
        if not manifest.readouts:
            return None
        size = manifest.extractor.embedding_size
        shapes: dict[str, tuple[int, ...]] = {}
        for point in manifest.readouts:
            shapes[f"{point}.weight"] = (manifest.codecs[point].map_format.sent, size)
            shapes[f"{point}.bias"] = (size,)
        found = read_tensors(model, READOUT_FILE, shapes)
        return cls(
            {
                point: (found[f"{point}.weight"], found[f"{point}.bias"])
                for point in manifest.readouts
            }
        )

    @property
    def points(self) -> tuple[str, ...]:
        """The operating points that have one."""
        return tuple(self._of_points)

    def to_bytes(self) -> bytes:
        """Content of the file, in half precision."""
        # `save` writes memory as it lies, whatever the order of axes.
        return save(
            {
                f"{point}.{name}": np.ascontiguousarray(tensor, np.float16)
                for point, tensors in self._of_points.items()
                for name, tensor in zip(("weight", "bias"), tensors, strict=True)
            }
        )

    def added_to(self, vectors: Floats, latents: Floats, point: str) -> Floats:
        """Unit vectors (N, D) of pictures, with what the maps add, again of unit length.

        Args:
            vectors: unit embeddings of the pictures.
            latents: (N, C, H, W) what RecNet drew them from, in [-1, 1].
            point: the operating point; without a readout the vectors remain as they are.
        """
        if point not in self._of_points:
            return vectors
        weight, bias = self._of_points[point]
        sent = latents.reshape(len(latents), -1)[:, : len(weight)]
        return normalised(vectors + sent @ weight + bias)[0]
