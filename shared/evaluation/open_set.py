"""Open-set identification on LFW.

Terms and measures follow ISO/IEC 19795-1 and NIST's FRVT 1:N (NISTIR 8271):

- A *subject* is a person with two photographs or more, enrolled with the first by name. The others
  are *mated* probes. Photographs of people with only one are *non-mated* probes. LFW has 1,680
  subjects, 7,484 mated and 4,069 non-mated probes.
- Every probe is compared with all N subjects. The *rank-1 rate* is the share of mated probes that
  are more similar to their own subject than to any other; a tie is a miss.
- *FPIR(N, T)* is the share of non-mated probes whose similarity to any subject is at least T.
- *FNIR(N, R, T)* is the share of mated probes whose own subject is not among the R most similar,
  or is less similar than T. Here R = 1.
- FNIR at an FPIR uses the lowest 32-bit threshold T at which the FPIR is not exceeded.

At an FPIR of 1e-3 the threshold depends on four strangers, so it is recomputed for every bootstrap
sample. Samples draw strangers and, since the photographs of a person are correlated, subjects with
all their probes. The gallery stays the same.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from shared.errors import InvalidInput
from shared.evaluation.bootstrap import DRAWS
from shared.evaluation.lfw import Lfw
from shared.evaluation.pipeline import Vectors
from shared.evaluation.rows import CurvePoint, OpenSetRow
from shared.model_directory import UNCOMPRESSED, ModelDirectory

CURVE = (1e-3, 2e-3, 5e-3, 1e-2, 2e-2, 5e-2, 0.1, 0.2, 0.5)
"""False positive identification rates of a row's curve."""

_STATED = (1e-2, 1e-3)
_ENROLLMENT_POINT = "fine"  # the point at which clients enroll, if the model has it
_BLOCK = 512

Similarities = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Roles:
    """The roles of N photographs.

    Attributes:
        enrolled: (S,) rows of the subjects' enrolled photographs.
        mated: (M,) rows of the mated probes.
        mates: (M,) the subjects of the mated probes, as indices of `enrolled`.
        strangers: (U,) rows of the non-mated probes.
    """

    enrolled: NDArray[np.int64]
    mated: NDArray[np.int64]
    mates: NDArray[np.int64]
    strangers: NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Searches:
    """Results of searching the gallery with every probe.

    Attributes:
        identified: (M,) similarity of each mated probe to its own subject; -inf if another subject
            is at least as similar.
        mates: (M,) the subject of each mated probe, in [0, S).
        strangers: (U,) highest similarity of each non-mated probe to any subject.
        subjects: S.
    """

    identified: Similarities
    mates: NDArray[np.int64]
    strangers: Similarities
    subjects: int


def open_set_rows(model: ModelDirectory, lfw: Lfw) -> list[OpenSetRow]:
    """Identification in every form, for every judge.

    Each form of probe is searched among enrollments in the same form, in the form that clients
    enroll in, and uncompressed.

    Args:
        model: model of the forms.
        lfw: photographs in forms of this model.

    Raises:
        InvalidInput: NOT_AN_OPEN_SET; there are no strangers, or only strangers.
    """
    roles = assign_roles(lfw.people)
    return [
        score_searches(
            search(forms[probe], forms[enrolled], roles),
            judge=judge,
            probe=probe,
            enrolled=enrolled,
        )
        for judge, forms in lfw.embedded.vectors.items()
        for probe, enrolled in _pairings(list(forms), model.manifest.default_point)
    ]


def assign_roles(people: NDArray[np.int64]) -> Roles:
    """Enroll the first photograph of everyone who has several.

    Args:
        people: (N,) the person in each photograph; photographs are sorted by name.

    Raises:
        InvalidInput: NOT_AN_OPEN_SET; there are no strangers, or only strangers.
    """
    _, first, person, counts = np.unique(
        people, return_index=True, return_inverse=True, return_counts=True
    )
    known = counts > 1
    if known.all() or not known.any():
        raise InvalidInput(
            "NOT_AN_OPEN_SET",
            f"{known.sum()} of {len(known)} people have several photographs; "
            "identification needs people with several and people with one",
        )
    mated = np.setdiff1d(np.flatnonzero(known[person]), first)
    subject = np.cumsum(known) - 1
    return Roles(
        enrolled=first[known],
        mated=mated,
        mates=subject[person[mated]],
        strangers=first[~known],
    )


def search(probes: Vectors, enrolled: Vectors, roles: Roles) -> Searches:
    """Search the gallery with every probe, in blocks.

    Args:
        probes: (N, D) unit vectors in the form of the probes.
        enrolled: (N, D) unit vectors of the same photographs in the form of the enrollments.
        roles: roles of the photographs.
    """
    gallery = enrolled[roles.enrolled].T
    identified = [
        _identified(probes[roles.mated[block]] @ gallery, roles.mates[block])
        for block in _blocks(len(roles.mated))
    ]
    strangers = [
        (probes[roles.strangers[block]] @ gallery).max(axis=1)
        for block in _blocks(len(roles.strangers))
    ]
    return Searches(
        identified=np.concatenate(identified),
        mates=roles.mates,
        strangers=np.concatenate(strangers),
        subjects=len(roles.enrolled),
    )


def score_searches(
    searches: Searches, *, judge: str, probe: str, enrolled: str, draws: int = DRAWS
) -> OpenSetRow:
    """Rank-1 rate and FNIR of searches, with 95 % intervals from `draws` bootstrap samples."""
    identified, strangers = searches.identified, searches.strangers
    rank1, at_1e2, at_1e3 = _rates(identified, strangers).tolist()
    intervals = [(low, high) for low, high in _intervals(searches, draws=draws).tolist()]
    return OpenSetRow(
        judge=judge,
        probe=probe,
        enrolled=enrolled,
        subjects=searches.subjects,
        mated_probes=len(identified),
        non_mated_probes=len(strangers),
        rank1=rank1,
        rank1_interval=intervals[0],
        fnir_at_fpir_1e2=at_1e2,
        fnir_at_fpir_1e2_interval=intervals[1],
        fnir_at_fpir_1e3=at_1e3,
        fnir_at_fpir_1e3_interval=intervals[2],
        curve=tuple(
            CurvePoint(fpir=fpir, fnir=float(_missed(identified, strangers, fpir).mean()))
            for fpir in CURVE
        ),
    )


def _pairings(forms: list[str], default_point: str) -> Iterator[tuple[str, str]]:
    """Pairs of a probe form and an enrollment form to evaluate."""
    usual = _ENROLLMENT_POINT if _ENROLLMENT_POINT in forms else default_point
    for form in forms:
        enrollments = (form,) if form == UNCOMPRESSED else (form, usual, UNCOMPRESSED)
        yield from (
            (form, enrolled) for enrolled in dict.fromkeys(enrollments) if enrolled in forms
        )


def _identified(similarities: Similarities, mates: NDArray[np.int64]) -> Similarities:
    """(M, S) similarities to all subjects -> (M,) to the own one, -inf if it is not the highest."""
    own = np.arange(len(mates)), mates
    to_mate = similarities[own]
    similarities[own] = -np.inf
    return np.where(to_mate > similarities.max(axis=1), to_mate, np.float32(-np.inf))


def _rates(
    identified: Similarities, strangers: Similarities, times: NDArray[np.int64] | None = None
) -> NDArray[np.float64]:
    """(3,) rank-1 rate, and FNIR at the two FPIRs, with each mated probe weighted by `times`."""
    missed = [_missed(identified, strangers, fpir) for fpir in _STATED]
    rates: NDArray[np.float64] = np.average([identified > -np.inf, *missed], axis=1, weights=times)
    return rates


def _missed(identified: Similarities, strangers: Similarities, fpir: float) -> NDArray[np.bool_]:
    """(M,) which mated probes are missed at the threshold of a false positive rate `fpir` < 1."""
    refused = len(strangers) - int(fpir * len(strangers))
    missed: NDArray[np.bool_] = identified <= np.partition(strangers, refused - 1)[refused - 1]
    return missed


def _intervals(searches: Searches, *, draws: int) -> NDArray[np.float64]:
    """(3, 2) 95 % intervals of `_rates`."""
    random = np.random.default_rng(0)
    subjects, strangers = searches.subjects, searches.strangers
    rates = np.empty((draws, 1 + len(_STATED)))
    for draw in range(draws):
        times = np.bincount(random.integers(subjects, size=subjects), minlength=subjects)
        met = random.choice(strangers, len(strangers))
        rates[draw] = _rates(searches.identified, met, times[searches.mates])
    return np.percentile(rates, [2.5, 97.5], axis=0).T


def _blocks(count: int) -> Iterator[slice]:
    return (slice(start, start + _BLOCK) for start in range(0, count, _BLOCK))
