"""Conventional codecs on the same crops, at the same size, with the same judges."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache as remember
from typing import Any

import numpy as np
import PIL
from numpy.typing import NDArray
from pydantic import JsonValue

from shared.evaluation.cache import NO_CACHE, Arrays, Cache, pixels_digest
from shared.evaluation.conventional import Codec, Measure, compress_all
from shared.evaluation.judges import Judge
from shared.evaluation.panel import Panel
from shared.evaluation.pipeline import Faces, Progress, Vectors, crops_of

BLOCK = 1024
"""Faces compressed before results are cached: a minute's work, and 33 MB."""


@dataclass(frozen=True, slots=True)
class Baseline:
    """A conventional codec with a size limit per crop.

    Attributes:
        codec: the codec.
        target_bytes: size limit per crop; the best quality that fits is used.
        measure: which bytes count.
    """

    codec: Codec
    target_bytes: int
    measure: Measure


@dataclass(frozen=True, slots=True)
class BaselineResult:
    """The results of N photographs.

    Attributes:
        vectors: (N, D) unit vectors by judge.
        sizes: (N,) bytes of the files, or of their payloads if those were measured.
        reached: (N,) whether the codec met the limit.
    """

    vectors: Mapping[str, Vectors]
    sizes: NDArray[np.int64]
    reached: NDArray[np.bool_]


def measure_baseline(
    baseline: Baseline,
    blocks: Iterable[Faces],
    panel: Panel,
    *,
    total: int,
    workers: int,
    progress: Progress,
    cache: Cache = NO_CACHE,
) -> BaselineResult:
    """Compress blocks of faces, `total` in all, and embed them with every judge."""
    parts = []
    done = 0
    for faces in blocks:
        parts.append(_judge_block(baseline, crops_of(faces), panel, workers=workers, cache=cache))
        done += len(faces)
        progress(done, total)
    return BaselineResult(
        vectors={
            role: np.concatenate([part.vectors[role] for part in parts]) for role in panel.judges
        },
        sizes=np.concatenate([part.sizes for part in parts]),
        reached=np.concatenate([part.reached for part in parts]),
    )


def _judge_block(
    baseline: Baseline, crops: NDArray[np.uint8], panel: Panel, *, workers: int, cache: Cache
) -> BaselineResult:
    key: dict[str, JsonValue] = {
        "crops": pixels_digest(crops),
        "codec": baseline.codec.name,
        "pillow": PIL.__version__,
        "target_bytes": baseline.target_bytes,
        "measure": baseline.measure,
    }

    def compressed() -> Arrays:
        files = [
            one.file
            for one in compress_all(
                baseline.codec,
                crops,
                baseline.target_bytes,
                measure=baseline.measure,
                workers=workers,
            )
        ]
        content = np.frombuffer(b"".join(files), np.uint8)
        return {"content": content, "lengths": np.array([len(file) for file in files])}

    @remember
    def files() -> list[bytes]:
        # The slowest step; cached, so that a new judge only needs to embed.
        kept = cache.arrays({**key, "kept": "files"}, compressed)
        ends = kept["lengths"].cumsum()[:-1]
        return [file.tobytes() for file in np.split(kept["content"], ends)]

    @remember
    def pictures() -> NDArray[np.uint8]:
        return np.stack([baseline.codec.decode(file) for file in files()])

    def judged(role: str, judge: Judge) -> Vectors:
        whole_key = {**key, "judge": panel.digests[role]}
        return cache.arrays(whole_key, lambda: {"vectors": judge.embed(pictures())})["vectors"]

    return BaselineResult(
        vectors={role: judged(role, judge) for role, judge in panel.judges.items()},
        **cache.arrays(key, lambda: _sizes(baseline, files())),
    )


def _sizes(baseline: Baseline, files: Sequence[bytes]) -> dict[str, NDArray[Any]]:
    size = len if baseline.measure == "file" else baseline.codec.payload_bytes
    sizes = np.array([size(file) for file in files])
    return {"sizes": sizes, "reached": sizes <= baseline.target_bytes}
