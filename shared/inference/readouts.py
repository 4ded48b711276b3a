"""The embedding that a map carries beside its picture.

On its way through the picture that RecNet draws, some of the identity is lost, since the extractor
must find it again in what people see. A readout is a linear function of the symbols that an
operating point sends. It estimates the embedding of the uncompressed face, towards which cameras
round the symbols (`shared.inference.rounding`). A share of the estimate is added to the embedding
of the picture: the two err differently.

Maps that no camera of ours has made could show one person and speak of another. Where picture and
estimate disagree, the picture alone counts: what people see is what is compared.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import save

from shared.inference.nuisances import normalised
from shared.inference.tensors import read_tensors
from shared.model_directory import READOUT_FILE, ModelDirectory, ReadoutConfig

Floats = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Readout:
    """The readout of one operating point.

    Attributes:
        weight: (S, D) of the S symbols that it sends.
        bias: (D,).
    """

    weight: Floats
    bias: Floats

    def estimate(self, latents: Floats) -> Floats:
        """The embeddings (N, D), of any length, that latents (N, C, H, W) in [-1, 1] tell of."""
        seen = latents.reshape(len(latents), -1)[:, : len(self.weight)]
        estimated: Floats = seen @ self.weight + self.bias
        return estimated


class Readouts:
    """The readouts of a model's operating points; thread-safe."""

    def __init__(self, of_points: Mapping[str, Readout], uses: Mapping[str, ReadoutConfig]) -> None:
        """By operating point, and how each is used."""
        self.of_points = dict(of_points)
        self.uses = dict(uses)

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
                point: Readout(found[f"{point}.weight"], found[f"{point}.bias"])
                for point in manifest.readouts
            },
            manifest.readouts,
        )

    def to_bytes(self) -> bytes:
        """Content of the file, in half precision."""
        # `save` writes memory as it lies, whatever the order of axes.
        return save(
            {
                f"{point}.{name}": np.ascontiguousarray(tensor, np.float16)
                for point, readout in self.of_points.items()
                for name, tensor in (("weight", readout.weight), ("bias", readout.bias))
            }
        )

    def added_to(self, vectors: Floats, latents: Floats, point: str) -> Floats:
        """Unit vectors (N, D) of pictures, with what the maps add, again of unit length.

        Args:
            vectors: unit embeddings of the pictures.
            latents: (N, C, H, W) what RecNet drew them from, in [-1, 1].
            point: the operating point; without a readout the vectors remain as they are.
        """
        if point not in self.of_points:
            return vectors
        use, estimate = self.uses[point], self.of_points[point].estimate(latents)
        similarity = np.einsum("nd,nd->n", vectors, normalised(estimate)[0])
        shares = np.where(similarity < use.agreement, 0, use.share).astype(np.float32)
        return normalised(vectors + shares[:, np.newaxis] * estimate)[0]
