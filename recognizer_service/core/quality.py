"""Judges faces by their maps and embeddings; a camera's quality is only a claim."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from hashlib import blake2b
from threading import Lock

import numpy as np

from recognizer_service.core.types import FaceMap
from shared.errors import InvalidInput
from shared.inference.map_decoder import Symbols
from shared.inference.quality_head import FLAWED, NOT_A_FACE, Judged, QualityHead
from shared.model_directory import ModelDirectory

POOR_QUALITY, RESEMBLES_MANY = "poor_quality", "resembles_many"
_KNOWN = 16_384  # judgments of enrolled maps in memory, 450 bytes each
_TOLD = 0.02  # cosine; a smaller contribution is not reported


@dataclass(frozen=True, slots=True)
class Allowance:
    """How much more similar two strangers may be than strangers in general.

    They may share sex, age and origin, many lookalikes, and the flaws of their photographs.

    Attributes:
        similarity: cosine to add to the threshold of flawless faces.
        alike: flaws of both photographs, largest contribution first.
        judged: whether both faces were judged, so that a threshold for similarities less their
            allowance applies.
    """

    similarity: float = 0.0
    alike: tuple[str, ...] = ()
    judged: bool = False


NO_ALLOWANCE = Allowance()
LEAST_ALLOWANCE = Allowance(judged=True)
"""Any allowance leads to this threshold, or a higher one."""


class MapJudge:
    """The quality heads of a model by codec; thread-safe."""

    def __init__(self, model: ModelDirectory) -> None:
        """Load the heads; without heads, faces are returned unchanged."""
        self._formats = {
            codec.codec_id: codec.map_format for codec in model.manifest.codecs.values()
        }
        self._heads: dict[str, QualityHead] = {}
        by_owner: dict[str, QualityHead | None] = {}
        for point, codec in model.manifest.codecs.items():
            owner = model.manifest.networks_of(point)
            if owner not in by_owner:
                by_owner[owner] = QualityHead.of_model(model, point)
            if head := by_owner[owner]:
                self._heads[codec.codec_id] = head
        self._known: dict[bytes, Judged] = {}
        self._knowing = Lock()

    def judged(self, face: FaceMap, symbols: Symbols, length: float | None = None) -> FaceMap:
        """Return the face with the judgment of its map, and the quality that counts.

        Args:
            face: the face.
            symbols: of its map.
            length: of its embedding, if it is known.
        """
        found = self._found(face.codec_id, symbols, length)
        return face if found is None else _told(face, found)

    def judged_again(self, face: FaceMap, unpacked: Callable[[], Symbols]) -> FaceMap:
        """Return `judged` of a face that comes often, as enrolled ones do.

        Judgments are kept by a digest of the map, from which it cannot be told.

        Args:
            face: the face.
            unpacked: returns the symbols of its map.
        """
        key = blake2b(face.png + face.codec_id.encode(), digest_size=16).digest()
        if found := self._known.get(key):
            return _told(face, found)
        found = self._found(face.codec_id, unpacked())
        if found is None:
            return face
        with self._knowing:
            while len(self._known) >= _KNOWN:
                del self._known[next(iter(self._known))]
            self._known[key] = found
        return _told(face, found)

    def _found(self, codec_id: str, symbols: Symbols, length: float | None = None) -> Judged | None:
        head = self._heads.get(codec_id)
        if head is None:
            return None
        lengths = None if length is None else np.array([length], np.float32)
        return head.judge(symbols[np.newaxis], self._formats[codec_id], lengths)


def _told(face: FaceMap, found: Judged) -> FaceMap:
    if face.quality is not None:
        found = found.given(np.array([face.quality], np.float32))
    return replace(face, quality=float(found.quality[0]), judged=found)


def allowance(one: FaceMap, other: FaceMap) -> Allowance:
    """Return the allowance for what two faces share, if heads of the same parts judged both."""
    ours, theirs = one.judged, other.judged
    if ours is None or theirs is None or ours.names != theirs.names:
        return NO_ALLOWANCE
    added = ours.in_common(theirs)
    names = (*ours.names, POOR_QUALITY, RESEMBLES_MANY)
    alike = [names[at] for at in np.argsort(-added) if added[at] >= _TOLD]
    similarity = float(added.sum()) + max(ours.resembling, theirs.resembling)
    return Allowance(similarity, tuple(alike), judged=True)


def flaws(face: FaceMap) -> Mapping[str, float]:
    """Return the probability of each flaw by name; empty if not judged."""
    if face.judged is None:
        return {}
    return dict(zip(face.judged.names, face.judged.parts[0].tolist(), strict=True))


def check_enrollable(face: FaceMap, *, min_quality: float, allow_low_quality: bool) -> None:
    """Refuse a map that shows no face or one of too low quality.

    Unjudged faces pass.

    Raises:
        InvalidInput: NOT_A_FACE; QUALITY_TOO_LOW.
    """
    if face.judged is None or face.quality is None:
        return
    found = flaws(face)
    if found.get(NOT_A_FACE, 0) >= FLAWED:
        raise InvalidInput(
            "NOT_A_FACE",
            f"the map shows no face ({found[NOT_A_FACE]:.2f} sure, {FLAWED} is the limit)",
            field=face.field,
        )
    if face.quality < min_quality and not allow_low_quality:
        told = [name.replace("_", " ") for name, sure in found.items() if sure >= FLAWED]
        why = f" ({', '.join(told)})" if told else ""
        raise InvalidInput(
            "QUALITY_TOO_LOW",
            f"quality is {face.quality:.2f}{why}; at least {min_quality:g} is needed, "
            "or allow_low_quality",
            field=face.field,
        )
