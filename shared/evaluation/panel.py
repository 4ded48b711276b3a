"""The judges of an evaluation besides the model's own extractor, with their digests."""

import hashlib
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from torch.nn import functional

from shared.errors import InvalidModel
from shared.evaluation.judges import Judge, OnnxJudge
from shared.evaluation.names import REFERENCE, UNSEEN
from shared.inference.pixels import to_network
from shared.model_directory import InputNormalisation
from shared.models.embedder import Embedder
from shared.models.sphere20 import BASE_WIDTHS, Sphere20
from shared.models.weights import load_weights

_FIRST_LAYER = "stages.0.weight"
_BATCH = 64


@dataclass(frozen=True, slots=True)
class Panel:
    """Judges by role: REFERENCE, UNSEEN.

    Attributes:
        judges: judges, applied to crops of 8-bit pixels.
        digests: sha256 of each one's weights.
    """

    judges: Mapping[str, Judge] = field(default_factory=dict)
    digests: Mapping[str, str] = field(default_factory=dict)

    def joined_by(self, role: str, judge: Judge, digest: str) -> "Panel":
        """The panel with one more judge."""
        return Panel({role: judge, **self.judges}, {role: digest, **self.digests})

    def only(self, roles: Collection[str]) -> "Panel":
        """The panel with no other judges than these."""
        return Panel(
            {role: judge for role, judge in self.judges.items() if role in roles},
            {role: digest for role, digest in self.digests.items() if role in roles},
        )


NO_JUDGES = Panel()


def open_panel(*, reference: Path | None, unseen: Path | None, threads: int) -> Panel:
    """Open the judges in these files.

    Args:
        reference: weights of a sphere20 of any width, as the project stores them.
        unseen: an ONNX file for 112x112 faces.
        threads: number of ONNX Runtime threads.

    Raises:
        InvalidModel: `reference` holds no sphere20.
        FailedPrecondition: EVALUATION_DATA_MISSING; the file `unseen` is missing.
    """
    panel = NO_JUDGES
    if unseen:
        panel = panel.joined_by(UNSEEN, OnnxJudge(unseen, threads=threads), _sha256(unseen))
    if reference:
        panel = panel.joined_by(REFERENCE, StandaloneExtractor(reference), _sha256(reference))
    return panel


class StandaloneExtractor:
    """A sphere20 outside of any model directory, as a judge of crops; with mirroring."""

    def __init__(self, path: Path) -> None:
        """Load a safetensors file; the width follows from its shapes.

        Raises:
            InvalidModel: it holds no sphere20.
        """
        self.name = path.stem
        network = load_weights(Sphere20(width=_width(path)), path.read_bytes())
        self._embedder = Embedder(network, mirrored=True)

    @torch.inference_mode()
    def embed(self, crops: NDArray[np.uint8]) -> NDArray[np.float32]:
        """(N, 112, 96, 3) RGB in [0, 255] -> (N, 512) unit vectors."""
        batches = (crops[start : start + _BATCH] for start in range(0, len(crops), _BATCH))
        pictures = (torch.from_numpy(to_network(batch, InputNormalisation())) for batch in batches)
        embeddings = torch.cat([self._embedder(picture) for picture in pictures])
        return functional.normalize(embeddings).numpy()


def _width(path: Path) -> float:
    try:
        with safe_open(path, "numpy") as file:
            channels: int = file.get_slice(_FIRST_LAYER).get_shape()[0]
    except SafetensorError as error:
        raise InvalidModel("WEIGHTS_UNREADABLE", f"{path} holds no sphere20") from error
    return channels / BASE_WIDTHS[0]


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
