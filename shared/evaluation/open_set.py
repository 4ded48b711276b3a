"""Identification among strangers on LFW: who of those enrolled is this, if any of them?

Words and measures are those of ISO/IEC 19795-1 and of NIST's FRVT 1:N (NISTIR 8271):

- A *subject* is a person with two photographs or more, and is enrolled with one of them, the
  first by name. The others are *mated* probes. People with one photograph are strangers, and
  their photographs *non-mated* probes. LFW has 1,680 subjects, 7,484 mated and 4,069 non-mated
  probes.
- Every probe is compared with all N subjects. The *rank-1 rate* is the share of mated probes to
  which their own subject is more similar than any other; a tie is a miss.
- *FPIR(N, T)* is the share of non-mated probes to which any subject is as similar as T or more.
- *FNIR(N, R, T)* is the share of mated probes whose own subject is not among the R most similar,
  or is less similar than T. Here R = 1.
- FNIR at an FPIR is that at the lowest T, of all 32-bit numbers, at which FPIR is not above it.

At an FPIR of 1e-3 the threshold rests on the four strangers that pass it, so it is drawn anew for
the intervals: bootstrap samples are of strangers and, since a person's photographs are hard or
easy together, of subjects with all their probes. The gallery stays as it is.
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
_ENROLMENT_POINT = "fine"  # what enrolling clients encode at, if the model has it
_BLOCK = 512

Similarities = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Roles:
    """What part each of N photographs has.

    Attributes:
        enrolled: (S,) row of each subject's photograph in the gallery.
        mated: (M,) rows of the mated probes.
        mates: (M,) their subjects, as rows of `enrolled`.
        strangers: (U,) rows of the non-mated probes.
    """

    enrolled: NDArray[np.int64]
    mated: NDArray[np.int64]
    mates: NDArray[np.int64]
    strangers: NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Searches:
    """What came of searching the gallery with every probe.

    Attributes:
        identified: (M,) similarity of each mated probe to its own subject; -inf where another
            subject is as similar.
        mates: (M,) which subject that is, of S.
        strangers: (U,) similarity of each non-mated probe to the subject most similar to it.
        subjects: S.
    """

    identified: Similarities
    mates: NDArray[np.int64]
    strangers: Similarities
    subjects: int


def open_set_rows(model: ModelDirectory, lfw: Lfw) -> list[OpenSetRow]:
    """Identification in every form, before every judge.

    A form is searched among enrolments in the same form, in the form that clients enrol in, and
    uncompressed.

    Args:
        model: whose forms they are.
        lfw: photographs in forms of this model.

    Raises:
        InvalidInput: NOT_AN_OPEN_SET; there are no strangers, or nobody else.
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
    """Enrol the first photograph of everyone who has several.

    Args:
        people: (N,) who each photograph shows; the photographs are in the order of their names.

    Raises:
        InvalidInput: NOT_AN_OPEN_SET; there are no strangers, or nobody else.
    """
    _, first, person, counts = np.unique(
        people, return_index=True, return_inverse=True, return_counts=True
    )
    known = counts > 1
    if known.all() or not known.any():
        raise InvalidInput(
            "NOT_AN_OPEN_SET",
            f"{known.sum()} of {len(known)} people have several photographs; identification "
            "needs some who have, and strangers who have one",
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
    """Search the gallery with every probe, a block at a time.

    Args:
        probes: (N, D) unit vectors in the form of the probes.
        enrolled: (N, D) unit vectors of the same photographs in the form of the enrolments.
        roles: of the photographs.
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
    """Forms of probes, and of the enrolments that each is searched among."""
    usual = _ENROLMENT_POINT if _ENROLMENT_POINT in forms else default_point
    for form in forms:
        enrolments = (form,) if form == UNCOMPRESSED else (form, usual, UNCOMPRESSED)
        yield from ((form, enrolled) for enrolled in dict.fromkeys(enrolments) if enrolled in forms)


def _identified(similarities: Similarities, mates: NDArray[np.int64]) -> Similarities:
    """(M, S) similarities to all subjects -> (M,) to the own one, -inf where it is not ahead."""
    own = np.arange(len(mates)), mates
    to_mate = similarities[own]
    similarities[own] = -np.inf
    return np.where(to_mate > similarities.max(axis=1), to_mate, np.float32(-np.inf))


def _rates(
    identified: Similarities, strangers: Similarities, times: NDArray[np.int64] | None = None
) -> NDArray[np.float64]:
    """(3,) rank-1 rate, and FNIR at the FPIRs stated, each mated probe counted `times` (M,)."""
    missed = [_missed(identified, strangers, fpir) for fpir in _STATED]
    rates: NDArray[np.float64] = np.average([identified > -np.inf, *missed], axis=1, weights=times)
    return rates


def _missed(identified: Similarities, strangers: Similarities, fpir: float) -> NDArray[np.bool_]:
    """(M,) which mated probes are not identified where a share `fpir` < 1 of strangers is."""
    refused = len(strangers) - int(fpir * len(strangers))
    missed: NDArray[np.bool_] = identified <= np.partition(strangers, refused - 1)[refused - 1]
    return missed


def _intervals(searches: Searches, *, draws: int) -> NDArray[np.float64]:
    """(3, 2) the 95 % intervals of `_rates`."""
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
