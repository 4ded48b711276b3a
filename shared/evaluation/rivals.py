"""Conventional codecs on the same crops and at the same size, before the same judges."""

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
"""Faces compressed before anything is kept: a minute's work, and 33 MB."""


@dataclass(frozen=True, slots=True)
class Rival:
    """A codec that is given so many bytes for each crop.

    Attributes:
        codec: which.
        target_bytes: the most a crop may take; the best picture that fits is taken.
        measure: which bytes count.
    """

    codec: Codec
    target_bytes: int
    measure: Measure


@dataclass(frozen=True, slots=True)
class JudgedRival:
    """N photographs that went through a rival.

    Attributes:
        vectors: (N, D) unit vectors by judge.
        sizes: (N,) bytes of the files, or of their payloads if those were measured.
        reached: (N,) whether the codec could keep to the target.
    """

    vectors: Mapping[str, Vectors]
    sizes: NDArray[np.int64]
    reached: NDArray[np.bool_]


def judge_rival(
    rival: Rival,
    blocks: Iterable[Faces],
    panel: Panel,
    *,
    total: int,
    workers: int,
    progress: Progress,
    cache: Cache = NO_CACHE,
) -> JudgedRival:
    """Compress faces that come in blocks, `total` in all, and show them to every judge."""
    parts = []
    done = 0
    for faces in blocks:
        parts.append(_judge_block(rival, crops_of(faces), panel, workers=workers, cache=cache))
        done += len(faces)
        progress(done, total)
    return JudgedRival(
        vectors={
            role: np.concatenate([part.vectors[role] for part in parts]) for role in panel.judges
        },
        sizes=np.concatenate([part.sizes for part in parts]),
        reached=np.concatenate([part.reached for part in parts]),
    )


def _judge_block(
    rival: Rival, crops: NDArray[np.uint8], panel: Panel, *, workers: int, cache: Cache
) -> JudgedRival:
    key: dict[str, JsonValue] = {
        "crops": pixels_digest(crops),
        "codec": rival.codec.name,
        "pillow": PIL.__version__,
        "target_bytes": rival.target_bytes,
        "measure": rival.measure,
    }

    def compressed() -> Arrays:
        files = [
            one.file
            for one in compress_all(
                rival.codec, crops, rival.target_bytes, measure=rival.measure, workers=workers
            )
        ]
        content = np.frombuffer(b"".join(files), np.uint8)
        return {"content": content, "lengths": np.array([len(file) for file in files])}

    @remember
    def files() -> list[bytes]:
        # What took longest: kept, so that another judge is only shown the pictures.
        kept = cache.arrays({**key, "kept": "files"}, compressed)
        ends = kept["lengths"].cumsum()[:-1]
        return [file.tobytes() for file in np.split(kept["content"], ends)]

    @remember
    def pictures() -> NDArray[np.uint8]:
        return np.stack([rival.codec.decode(file) for file in files()])

    def judged(role: str, judge: Judge) -> Vectors:
        whole_key = {**key, "judge": panel.digests[role]}
        return cache.arrays(whole_key, lambda: {"vectors": judge.embed(pictures())})["vectors"]

    return JudgedRival(
        vectors={role: judged(role, judge) for role, judge in panel.judges.items()},
        **cache.arrays(key, lambda: _sizes(rival, files())),
    )


def _sizes(rival: Rival, files: Sequence[bytes]) -> dict[str, NDArray[Any]]:
    size = len if rival.measure == "file" else rival.codec.payload_bytes
    sizes = np.array([size(file) for file in files])
    return {"sizes": sizes, "reached": sizes <= rival.target_bytes}
