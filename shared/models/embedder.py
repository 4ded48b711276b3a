"""From pictures to embeddings of unit length."""

from torch import Tensor, nn
from torch.nn import functional

from shared.models.sphere20 import Sphere20


class Embedder(nn.Module):
    """A sphere20 whose answers are unit vectors, their inner product being the similarity.

    A face and its mirror image show the same person; the sum of the two embeddings errs less
    than either (CosFace, section 4, puts the two side by side; the sum keeps the size).
    """

    def __init__(self, network: Sphere20, *, mirrored: bool) -> None:
        """Wrap a trained network.

        Args:
            network: the extractor.
            mirrored: whether to embed the mirror image too, at twice the cost.
        """
        super().__init__()
        self.network = network
        self._mirrored = mirrored

    def forward(self, pictures: Tensor) -> Tensor:
        """(N, 3, 112, 96) in [-1, 1] -> (N, D) unit vectors."""
        embeddings = functional.normalize(self.network(pictures))
        if self._mirrored:
            embeddings = embeddings + functional.normalize(self.network(pictures.flip(-1)))
            embeddings = functional.normalize(embeddings)
        return embeddings
