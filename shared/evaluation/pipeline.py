"""Embed aligned faces with the product's own code: real PNG files, the services' precision."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import JsonValue

from shared.evaluation.cache import NO_CACHE, Arrays, Cache, pixels_digest
from shared.evaluation.names import OWN
from shared.evaluation.panel import NO_JUDGES, Panel
from shared.evaluation.weights import weights_sha256
from shared.inference.crop_encoder import OnnxCropEncoder
from shared.inference.map_decoder import CodedMap, MapDecoder
from shared.model_directory import UNCOMPRESSED, ModelDirectory

BATCH = 64
"""Faces in memory at once."""

Faces = NDArray[np.uint8]
"""(N, 112, 112, 3) RGB, aligned to ArcFace's template."""

Vectors = NDArray[np.float32]
"""(N, D) unit vectors."""

Maker = tuple[ModelDirectory, str]
"""An earlier version, and its name for an operating point whose maps it makes."""

Progress = Callable[[int, int], None]
"""Called with the number of photographs done and the total."""

# ArcFace's 112x112 template is the 112x96 template shifted by 8 pixels.
_CROP_COLUMNS = slice(8, 104)
_BYTES = "bytes"  # key of file sizes in a cached batch; no judge has this name


@dataclass(frozen=True, slots=True)
class Embedded:
    """Embeddings of N photographs in several forms, by several judges.

    A *form* is what the judge embeds: UNCOMPRESSED is the crop itself; the name of an operating
    point is RecNet's reconstruction from the crop's map.

    Attributes:
        vectors: (N, D) unit vectors by judge and form; every judge has every form.
        map_bytes: (N,) sizes of the PNG files by operating point.
    """

    vectors: Mapping[str, Mapping[str, Vectors]]
    map_bytes: Mapping[str, NDArray[np.int64]]

    @property
    def own(self) -> Mapping[str, Vectors]:
        """The own extractor's vectors by form."""
        return self.vectors[OWN]


class Pipeline:
    """Encoder and recognizer in one process, for several operating points of a model."""

    def __init__(
        self,
        model: ModelDirectory,
        points: Sequence[str] | None = None,
        *,
        makers: Mapping[str, Maker] | None = None,
        panel: Panel = NO_JUDGES,
        threads: int = 1,
        cache: Cache = NO_CACHE,
    ) -> None:
        """Load the networks.

        Args:
            model: a verified model directory.
            points: operating points; None takes all that cameras can use.
            makers: what makes the maps of points for which the model has no camera's part.
            panel: further judges besides the own extractor.
            threads: number of ONNX Runtime threads; torch's are process-wide.
            cache: cache of embedded batches.
        """
        self._encoders = {
            point: OnnxCropEncoder(*(makers or {}).get(point, (model, point)), threads=threads)
            for point in points or model.manifest.encodable
        }
        self._decoder = MapDecoder(model, precision="auto")  # as the recognizer does
        self._panel = panel
        self._cache = cache
        self._key: dict[str, JsonValue] = {
            "software": version("compactface"),
            "weights": {point: weights_sha256(model, point) for point in self._encoders},
            "codecs": {point: encoder.codec_id for point, encoder in self._encoders.items()},
            "space": model.manifest.embedding_space,
            "judges": dict(panel.digests),
            "arithmetic": self._decoder.arithmetic,
        }

    def embed(self, batches: Iterable[Faces], *, total: int, progress: Progress) -> Embedded:
        """Embed batches of faces, `total` in all, at least one."""
        parts = []
        done = 0
        for faces in batches:
            parts.append(self.embed_batch(faces))
            done += len(faces)
            progress(done, total)
        return join(parts)

    def embed_batch(self, faces: Faces) -> Embedded:
        """Embed one batch of faces."""
        crops = crops_of(faces)
        key = {**self._key, "crops": pixels_digest(crops)}
        return _unflattened(self._cache.arrays(key, lambda: _flattened(self._embed_crops(crops))))

    def _embed_crops(self, crops: Faces) -> Embedded:
        maps: dict[str, list[CodedMap]] = {}
        sizes = {}
        latents: dict[Path, NDArray[np.float32]] = {}
        embeddings: dict[Path | None, NDArray[np.float32] | None] = {}
        for point, encoder in self._encoders.items():
            if encoder.compnet not in latents:
                latents[encoder.compnet] = encoder.latents(crops)
            if encoder.extractor not in embeddings:
                embeddings[encoder.extractor] = encoder.embeddings(crops)
            symbols = encoder.rounded(latents[encoder.compnet], embeddings[encoder.extractor])
            files = encoder.pack(symbols)
            sizes[point] = np.array([len(png) for png in files], np.int64)
            codec_id = encoder.codec_id
            maps[point] = [(codec_id, self._decoder.unpack(codec_id, png)) for png in files]
        own, pictures = self._decoded(maps)
        vectors = {OWN: {UNCOMPRESSED: self._decoder.embed_crops(crops), **own}}
        for role, judge in self._panel.judges.items():
            seen = {UNCOMPRESSED: crops, **pictures}
            vectors[role] = {form: judge.embed(each) for form, each in seen.items()}
        return Embedded(vectors, sizes)

    def _decoded(
        self, maps: Mapping[str, list[CodedMap]]
    ) -> tuple[dict[str, Vectors], dict[str, NDArray[np.uint8]]]:
        """Own embeddings and, if there are other judges, pictures, by operating point."""
        if not self._panel.judges:
            return {point: self._decoder.embed(coded) for point, coded in maps.items()}, {}
        both = {point: self._decoder.embed_and_reconstruct(coded) for point, coded in maps.items()}
        return (
            {point: vectors for point, (vectors, _) in both.items()},
            {point: pictures for point, (_, pictures) in both.items()},
        )


def crops_of(faces: Faces) -> NDArray[np.uint8]:
    """Cut (N, 112, 112, 3) aligned faces to the (N, 112, 96, 3) crops that the product uses."""
    return np.ascontiguousarray(faces[:, :, _CROP_COLUMNS])


def join(parts: Sequence[Embedded]) -> Embedded:
    """Concatenate results with the same judges and forms."""
    first = parts[0]
    return Embedded(
        vectors={
            judge: {
                form: np.concatenate([part.vectors[judge][form] for part in parts])
                for form in forms
            }
            for judge, forms in first.vectors.items()
        },
        map_bytes={
            point: np.concatenate([part.map_bytes[point] for part in parts])
            for point in first.map_bytes
        },
    )


def _flattened(embedded: Embedded) -> dict[str, NDArray[Any]]:
    arrays: dict[str, NDArray[Any]] = {
        f"{judge}/{form}": vectors
        for judge, forms in embedded.vectors.items()
        for form, vectors in forms.items()
    }
    return arrays | {f"{_BYTES}/{point}": sizes for point, sizes in embedded.map_bytes.items()}


def _unflattened(arrays: Arrays) -> Embedded:
    nested: defaultdict[str, dict[str, NDArray[Any]]] = defaultdict(dict)
    for name, array in arrays.items():
        group, _, member = name.partition("/")
        nested[group][member] = array
    return Embedded(map_bytes=nested.pop(_BYTES), vectors=dict(nested))


def no_progress(done: int, total: int) -> None:
    """Ignore progress."""
