"""What a map says of its face: how far to trust it, and what is wrong with it.

A quality head reads the map alone, on the camera as in the recognizer, so that a camera's claim
can be checked. It is a small dense network without torch: well below 1 ms. The recognizer also
knows how long the embedding is, which foresees errors better than the head alone.
"""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load

from shared.codec.compact_map import MapFormat, dequantize
from shared.errors import InvalidModel
from shared.faces.fitness import UNFIT_QUALITY
from shared.model_directory import QUALITY_FILE, ModelDirectory, QualityConfig, Scale

Floats = NDArray[np.float32]

NOT_A_FACE = "not_a_face"
"""The part that tells that a map shows no face."""
FLAWED = 0.5
"""From here on a part counts as spoilt."""
_CLAIMED_ALIKE = 0.01


@dataclass(frozen=True, slots=True)
class Judged:
    """N faces as a head sees them.

    Attributes:
        quality: (N,) fitness for recognition in [0, 1].
        parts: (N, K) how far each part of the head's `parts` is spoilt, in [0, 1].
        spread: (K + 2,) by how much the similarity of strangers rises per spoilt part that both
            have, where both are of poor quality, and where both resemble many; in cosine.
        names: K names of parts.
        resembling: how much more similar strangers of one sex, age and origin are, in cosine.
        crowded: (N,) whether many resemble the face, in [0, 1]; None: unknown.
        by_map: (N,) `quality` if the map alone is known, as to a camera; None: that is all it is.
    """

    quality: Floats
    parts: Floats
    spread: Floats
    names: tuple[str, ...] = ()
    resembling: float = 0.0
    crowded: Floats | None = None
    by_map: Floats | None = None

    @classmethod
    def without_head(cls, quality: Floats) -> "Judged":
        """Of a model that has no head: nothing is known but a quality from elsewhere."""
        return cls(quality, np.zeros((len(quality), 0), np.float32), np.zeros(2, np.float32))

    def __getitem__(self, rows: NDArray[np.integer] | NDArray[np.bool_] | slice) -> "Judged":
        """Some of the faces."""
        return replace(
            self,
            quality=self.quality[rows],
            parts=self.parts[rows],
            crowded=None if self.crowded is None else self.crowded[rows],
            by_map=None if self.by_map is None else self.by_map[rows],
        )

    @property
    def usual_claims(self) -> Floats:
        """(N,) what cameras claim, unless a picture tells them of something worse."""
        return self.quality if self.by_map is None else self.by_map

    def given(self, claims: Floats) -> "Judged":
        """The same faces, given what cameras claim their qualities to be (N,).

        Only a claim of something worse than the map tells counts, and then the lower of both.
        """
        worse = (claims < self.usual_claims - _CLAIMED_ALIKE) | (claims <= UNFIT_QUALITY)
        counted = np.where(worse, np.minimum(claims, self.quality), self.quality)
        return replace(self, quality=counted.astype(np.float32))

    @property
    def traits(self) -> Floats:
        """(N, K + 2) what two faces may have in common: flaws, a poor quality, many lookalikes."""
        crowded = np.zeros_like(self.quality) if self.crowded is None else self.crowded
        return np.column_stack([self.parts, 1 - self.quality, crowded])

    def allowance(self, others: "Judged | None" = None) -> Floats:
        """(N, M) how much more similar than unspoilt ones strangers like these are, in cosine.

        Args:
            others: M faces, judged by a head of the same parts; None takes the same ones.
        """
        others = others or self
        alike = (self.traits * np.maximum(self.spread, others.spread)) @ others.traits.T
        return np.asarray(alike + max(self.resembling, others.resembling), np.float32)

    def in_common(self, other: "Judged") -> Floats:
        """(K + 2,) what each trait of two faces, the first of each, adds to their allowance."""
        added: Floats = np.maximum(self.spread, other.spread) * self.traits[0] * other.traits[0]
        return added


class QualityHead:
    """The quality head of a codec's networks; safe to use from threads."""

    def __init__(self, config: QualityConfig, weights: bytes) -> None:
        """Read the weights.

        Args:
            config: what the manifest says of the head.
            weights: contents of the file.

        Raises:
            InvalidModel: MODEL_DAMAGED; not the weights of such a head.
        """
        self.config = config
        try:
            tensors = {name: array.astype(np.float32) for name, array in load(weights).items()}
            self._hidden, self._hidden_bias = tensors["hidden.weight"], tensors["hidden.bias"]
            self._out, self._out_bias = tensors["out.weight"], tensors["out.bias"]
        except SafetensorError as error:
            raise InvalidModel(
                "MODEL_DAMAGED", f"{QUALITY_FILE} cannot be read ({error}); fit the head again"
            ) from None
        except KeyError as error:
            raise InvalidModel(
                "MODEL_DAMAGED", f"{QUALITY_FILE} lacks the tensor {error}; fit the head again"
            ) from None
        outputs = 1 + len(config.parts) + (config.crowd is not None)
        if self._out.shape != (outputs, len(self._hidden)):
            raise InvalidModel(
                "MODEL_DAMAGED",
                f"{QUALITY_FILE} has a last layer of shape {self._out.shape}; {outputs} outputs of "
                f"{len(self._hidden)} are expected",
            )
        crowd_spread = config.crowd.spread if config.crowd else 0.0
        self._spread = np.array([*config.spread, config.poor_spread, crowd_spread], np.float32)

    @classmethod
    def of_model(cls, model: ModelDirectory, point: str | None) -> "QualityHead | None":
        """The head of an operating point (None: the default); None where the model has none."""
        owner = model.manifest.networks_of(point or model.manifest.default_point)
        config = model.manifest.quality.get(owner)
        if config is None:
            return None
        return cls(config, model.codec_path(point, QUALITY_FILE).read_bytes())

    def judge(
        self, symbols: NDArray[np.uint8], fmt: MapFormat, lengths: Floats | None = None
    ) -> Judged:
        """Judge N maps, (N, C, H, W) symbols of a format of the head's codec.

        Args:
            symbols: of the maps.
            fmt: the format.
            lengths: (N,) of their embeddings, which only a recognizer knows.
        """
        raw, parts, crowded = self.raw(symbols, fmt)
        by_map = quality = _scaled(raw, self.config.scale)
        if (length := self.config.length) and lengths is not None:
            raw += np.float32(length.weight) * (np.log(lengths) - np.float32(length.usual))
            quality = _scaled(raw, length.scale)
        return Judged(
            quality,
            parts,
            self._spread,
            self.config.parts,
            self.config.resembling,
            _scaled(crowded, self.config.crowd.scale) if self.config.crowd else None,
            by_map,
        )

    def raw(self, symbols: NDArray[np.uint8], fmt: MapFormat) -> tuple[Floats, Floats, Floats]:
        """(N,) quality and (N, K) parts in [0, 1], and (N,) how crowded; the first and the last
        before they are brought to scale.
        """
        seen = dequantize(symbols, fmt).reshape(len(symbols), -1)
        hidden = np.maximum(seen @ self._hidden.T + self._hidden_bias, 0)
        out = hidden @ self._out.T + self._out_bias
        parts = out[:, 1 : 1 + len(self.config.parts)]
        return out[:, 0], 1 / (1 + np.exp(-np.clip(parts, -30, 30))), out[:, -1]


def _scaled(measured: Floats, scale: Scale) -> Floats:
    quality: Floats = np.interp(measured, *np.array(scale).T).astype(np.float32)
    return quality
