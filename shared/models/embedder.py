"""Embeddings of crops."""

from torch import Tensor, nn
from torch.nn import functional

from shared.models.sphere20 import Sphere20


class Embedder(nn.Module):
    """A sphere20 whose output has the direction of the embedding, in float32.

    Its length says how sure the network is: of a face that it hardly knows, nothing points far in
    any direction. Meng et al. ("MagFace", 2021) train for that; here it comes by itself.

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
        """(N, 3, 112, 96) in [-1, 1] -> (N, D), of any length."""
        embeddings: Tensor = self.network(pictures).float()
        if self._mirrored:
            mirrored = self.network(pictures.flip(-1)).float()
            embeddings = functional.normalize(embeddings) + functional.normalize(mirrored)
        return embeddings
