"""Unit-length embeddings of crops."""

from torch import Tensor, nn
from torch.nn import functional

from shared.models.sphere20 import Sphere20


class Embedder(nn.Module):
    """A sphere20 with unit-length output, so that the inner product is the cosine similarity.

    With `mirrored` it sums the embeddings of a face and its mirror image, which is more accurate
    than either. CosFace, section 4, concatenates the two; the sum keeps the size.
    """

    def __init__(self, network: Sphere20, *, mirrored: bool) -> None:
        """Wrap a trained network.

        Args:
            network: the extractor.
            mirrored: also embed the mirror image, at twice the cost.
        """
        super().__init__()
        self.network = network
        self._mirrored = mirrored

    def forward(self, pictures: Tensor) -> Tensor:
        """(N, 3, 112, 96) in [-1, 1] -> (N, D) unit vectors."""
        embeddings = self._unit(pictures)
        if self._mirrored:
            embeddings = functional.normalize(embeddings + self._unit(pictures.flip(-1)))
        return embeddings

    def _unit(self, pictures: Tensor) -> Tensor:
        """Unit vectors in float32, whatever the network computes with."""
        return functional.normalize(self.network(pictures).float())
