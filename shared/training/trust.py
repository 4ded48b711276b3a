"""What a quality head is worth, by people held out: its scale, and how far strangers are alike.

A calibration table holds for unspoilt photographs of strangers at large. Who has something wrong
in common, and who is of one sex, age and origin, is more similar than that: by how much is fitted
here, so that a threshold holds for them, too.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from shared.codec.compact_map import MapFormat
from shared.evaluation.cache import NO_CACHE, Cache
from shared.evaluation.coded import Coder
from shared.evaluation.pipeline import Progress, no_progress
from shared.evaluation.spoilings import PARTS, RANDOM
from shared.inference.quality_head import Judged, QualityHead
from shared.model_directory import (
    QUALITY_FILE,
    CrowdConfig,
    LengthConfig,
    ModelDirectory,
    QualityConfig,
    codec_file,
    write_model_directory,
)
from shared.training.crowd import Impostors, crowd_scale, fit_crowd
from shared.training.faces import Faces
from shared.training.quality import (
    UNSPOILT,
    Sample,
    draw_alike,
    draw_sample,
    together,
    train_head,
    two_each,
)
from shared.training.split import split_faces

QUALITIES = (0.15, 0.5, 1.0)
SHARES = (0.02, 0.2, 0.95)
"""Of unspoilt held-out faces, these lie below those qualities."""

# Few pairs are left above what is decided by; those a little below are more alike.
_FITTED_FROM = 0.05
_RATE = 1e-3
_SPOILT_RATE = 5e-4
_PAIRS = 12_000
_STEPS = 600
_ROUNDS = 4
_GROUPS = 3
_ITERATIONS = 30
_LENGTH_COUNTS = 2
_ONE_LENGTH = 1e-3
"""Logarithms of lengths that vary less are of embeddings that come normalised."""
_TEACHING_SEED, _HELD_OUT_SEED = 1, 2


def add_quality(
    model: ModelDirectory,
    faces: Faces,
    *,
    models: Path,
    version: str,
    people: int,
    held_out: int,
    fitted: Sequence[str] | None = None,
    threads: int = 1,
    cache: Cache = NO_CACHE,
    progress: Progress = no_progress,
) -> ModelDirectory:
    """Fit quality heads and write the same model with them as another version.

    Codec ids and embedding space stay what they are: maps and galleries go on.

    Args:
        model: a calibrated model; heads that it has are fitted anew.
        faces: the cache that it was trained on.
        models: folder of model families to write into.
        version: name of the new version.
        people: people of training that teach a head, two photographs each, at most.
        held_out: people held out, likewise.
        fitted: operating points whose networks get a new head, others keep theirs; None: all.
        threads: of ONNX Runtime.
        cache: keeps what faces were coded to.
        progress: called for every batch.

    Raises:
        AlreadyExists: the version is there.
        InvalidTraining: TOO_FEW_FACES.
        InvalidModel: UNKNOWN_OPERATING_POINT.
    """
    split = split_faces(faces)
    teaching = two_each(faces, split.train, people=people, seed=_TEACHING_SEED)
    others = two_each(faces, split.validation, people=held_out, seed=_HELD_OUT_SEED)
    manifest = model.manifest
    owners = dict.fromkeys(model.codec(name).networks or name for name in fitted or manifest.codecs)
    configs = {name: head for name, head in manifest.quality.items() if name not in owners}
    files = {name: (model.path / name).read_bytes() for name in manifest.files}
    for owner in owners:
        points = [name for name in manifest.codecs if manifest.networks_of(name) == owner]
        coder = Coder(
            model,
            manifest.default_point if manifest.default_point in points else owner,
            threads=threads,
            cache=cache,
        )
        samples = [
            draw_sample(coder, faces, rows, seed=seed, progress=progress)
            for rows, seed in ((teaching, _TEACHING_SEED), (others, _HELD_OUT_SEED))
        ]
        alike = draw_alike(coder, faces, others, seed=_HELD_OUT_SEED, progress=progress)
        formats = [manifest.codecs[name].map_format for name in points]
        fmt = manifest.codecs[coder.point].map_format
        weights = train_head(samples[0], formats)
        configs[owner] = fit_quality(weights, together([samples[1], alike]), fmt)
        files[codec_file(owner, QUALITY_FILE)] = weights
    description = manifest.model_copy(
        update={
            "version": version,
            "quality": configs,
            "provenance": {
                **manifest.provenance,
                "quality": {
                    "of_version": manifest.version,
                    "teaching_people": len(teaching) // 2,
                    "held_out_people": len(others) // 2,
                },
            },
        }
    )
    return write_model_directory(models, description=description, files=files)


def fit_quality(weights: bytes, held_out: Sample, fmt: MapFormat) -> QualityConfig:
    """What the manifest says of a head.

    Args:
        weights: of the head.
        held_out: of people who did not teach it.
        fmt: of the point that they were coded at.
    """
    config = fit_scale(weights, held_out, fmt)
    return fit_spread(QualityHead(config, weights), held_out, fmt)


def fit_scale(weights: bytes, sample: Sample, fmt: MapFormat) -> QualityConfig:
    """A head's scales, by unspoilt faces of people held out; nothing is known of spread yet.

    The length of the embedding counts twice as much as what the head says.
    """
    nothing = QualityConfig(
        parts=PARTS,
        scale=((0, 0), (1, 1)),
        spread=(0.0,) * len(PARTS),
        poor_spread=0.0,
        resembling=0.0,
        crowd=CrowdConfig(scale=((0, 0), (1, 1)), spread=0, eased=()),
    )
    unspoilt = sample.coded[sample.kinds == UNSPOILT]
    raw, _, crowded = QualityHead(nothing, weights).raw(unspoilt.symbols, fmt)
    logarithms = np.log(unspoilt.lengths)
    usual, varied = float(logarithms.mean()), float(logarithms.std())
    length = None
    if varied > _ONE_LENGTH:
        weight = _LENGTH_COUNTS * float(raw.std()) / varied
        scale = _scale(raw + weight * (logarithms - usual))
        length = LengthConfig(usual=usual, weight=weight, scale=scale)
    crowd = CrowdConfig(scale=crowd_scale(crowded), spread=0, eased=())
    return nothing.model_copy(update={"scale": _scale(raw), "length": length, "crowd": crowd})


def _scale(measured: NDArray[np.floating]) -> tuple[tuple[float, float], ...]:
    at = [float(np.quantile(measured, share)) for share in SHARES]
    return (at[0] - (at[1] - at[0]), 0.0), *zip(at, QUALITIES, strict=True)


@dataclass(frozen=True, slots=True)
class _Strangers:
    """Pairs of one kind: similarities, what flaws both have, how crowded both are."""

    similarity: NDArray[np.float32]
    common: NDArray[np.float32]
    crowded: NDArray[np.float32]


def fit_spread(head: QualityHead, sample: Sample, fmt: MapFormat) -> QualityConfig:
    """How much more similar strangers are who have something in common, on people held out.

    First what unspoilt ones of a crowd, or of one sex, age and origin, have in common. Then what
    is spoilt: the similarity that one in 2,000 strangers spoilt alike reaches is fitted, by
    quantile regression, as that of unspoilt ones and a sum over what both faces have in common,
    none of it negative. The kind of spoiling whose rate is exceeded most counts more in every
    further round.
    """
    judged = head.judge(sample.coded.symbols, fmt, sample.coded.lengths)
    assert head.config.crowd is not None
    assert judged.crowded is not None
    unspoilt = sample.kinds == UNSPOILT
    vectors, crowded = sample.coded.vectors[unspoilt], judged.crowded[unspoilt]
    impostors = Impostors.among(vectors, sample.people[unspoilt])
    crowd = fit_crowd(head.config.crowd.scale, crowded, impostors)
    allowed = crowd.spread * crowded[impostors.one] * crowded[impostors.other]
    base, resembling = _resembling(vectors, impostors, allowed)
    random = np.random.default_rng(0)
    kinds = [
        found for kind in range(len(RANDOM)) if (found := _strangers(sample, judged, kind, random))
    ]
    over = torch.from_numpy(
        np.concatenate(
            [kind.similarity - np.float32(crowd.spread) * kind.crowded for kind in kinds]
        )
        - np.float32(base + resembling)
    )
    common = torch.from_numpy(np.concatenate([kind.common for kind in kinds]))
    which = np.repeat(np.arange(len(kinds)), [len(kind.similarity) for kind in kinds])
    counts = np.bincount(which)
    weights = np.ones(len(kinds))
    spread = np.zeros(common.shape[1], np.float32)
    for _ in range(_ROUNDS):
        spread = _regress(over, common, torch.from_numpy((weights / counts)[which]), spread)
        missed = np.bincount(which, over.numpy() > common.numpy() @ spread)
        surely = missed - np.sqrt(missed)  # less what chance alone may do
        weights *= np.clip(surely / counts / _SPOILT_RATE, 1, 2)
    *parts, poor = spread.tolist()
    return head.config.model_copy(
        update={
            "spread": tuple(parts),
            "poor_spread": poor,
            "resembling": resembling,
            "crowd": crowd,
        }
    )


def _strangers(
    sample: Sample, judged: Judged, kind: int, random: np.random.Generator
) -> _Strangers | None:
    """Strangers of one kind who are spoilt alike; None: there are none."""
    found: list[NDArray[np.int64]] = []
    fit = (sample.kinds == kind) & (judged.quality >= _FITTED_FROM)
    for number in np.unique(sample.alike[fit]):
        rows = np.nonzero(fit & (sample.alike == number))[0]
        pairs = rows[np.stack(np.triu_indices(len(rows), 1))]
        strangers = sample.people[pairs[0]] != sample.people[pairs[1]]
        found.append(random.permutation(pairs[:, strangers], axis=1)[:, :_PAIRS])
    one, other = np.concatenate(found, axis=1) if found else np.empty((2, 0), np.int64)
    if not len(one):
        return None
    vectors = sample.coded.vectors
    common = judged.traits[one] * judged.traits[other]
    return _Strangers(
        np.einsum("nd,nd->n", vectors[one], vectors[other]), common[:, :-1], common[:, -1]
    )


def _regress(
    over: torch.Tensor, common: torch.Tensor, weights: torch.Tensor, start: NDArray[np.float32]
) -> NDArray[np.float32]:
    """Coefficients, none negative, of the quantile of `over` at 1 - `_SPOILT_RATE`."""
    spread = torch.from_numpy(np.maximum(start, 0.05)).requires_grad_()
    optimizer = torch.optim.Adam([spread], lr=0.02)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, _STEPS)
    for _ in range(_STEPS):
        left = over - common @ spread
        loss = (torch.maximum((1 - _SPOILT_RATE) * left, -_SPOILT_RATE * left) * weights).sum()
        optimizer.zero_grad()
        (1 / _SPOILT_RATE * loss).backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        schedule.step()
        with torch.no_grad():
            spread.clamp_(0, 2)
    found: NDArray[np.float32] = spread.detach().numpy()
    return found


def _resembling(
    vectors: NDArray[np.float32], impostors: Impostors, allowed: NDArray[np.float32]
) -> tuple[float, float]:
    """What one in 1,000 strangers at large reaches, and how much more those of one group reach.

    Both less what is allowed for already, (P,) by pair. Groups are found by k-means among the
    embeddings: two would be little more than the sexes, with each further one they are more alike,
    in origin and in age, and thresholds stricter.
    """
    group = _groups(vectors)
    left = impostors.similarity - allowed
    near = left[group[impostors.one] == group[impostors.other]]
    base = float(np.quantile(left, 1 - _RATE))
    return base, max(0.0, float(np.quantile(near, 1 - _RATE)) - base) if len(near) else 0.0


def _groups(vectors: NDArray[np.float32]) -> NDArray[np.int64]:
    """Spherical k-means."""
    random = np.random.default_rng(0)
    centres = vectors[random.permutation(len(vectors))[:_GROUPS]]
    nearest = np.zeros(len(vectors), np.int64)
    for _ in range(_ITERATIONS):
        nearest = (vectors @ centres.T).argmax(1)
        sums = np.stack([vectors[nearest == group].sum(0) + 1e-6 for group in range(len(centres))])
        centres = sums / np.linalg.norm(sums, axis=1, keepdims=True)
    return nearest
