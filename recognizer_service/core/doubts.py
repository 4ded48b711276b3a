"""Finds new faces that look unlike the others of their subject: another person or a bad picture."""

from collections.abc import Callable, Iterable, Mapping, Sequence

from recognizer_service.core.types import Disagreement
from recognizer_service.gallery.types import Agreement, Resemblance

Required = Callable[[Agreement, Resemblance], float | None]
"""The similarity required of two faces of one person; None if unknown."""


def doubts(agreements: Sequence[Agreement], required: Required) -> tuple[Disagreement, ...]:
    """Return the new faces that no other face of their subject confirms.

    Faces enrolled earlier decide. In a first enrollment the faces are compared with each other:
    faces that confirm each other, directly or transitively, form a group, and faces outside the
    largest group (the first of equal ones) are in doubt.

    Args:
        agreements: one for each new face.
        required: returns the required similarity of two faces.
    """
    new = {agreement.face_id for agreement in agreements}
    trusted = {other.face_id for agreement in agreements for other in agreement.others} - new
    if not trusted:
        trusted = _largest_group(agreements, required)
    found = (
        _doubt(agreement, trusted, required)
        for agreement in agreements
        if agreement.face_id not in trusted
    )
    return tuple(doubt for doubt in found if doubt)


def nearest_miss(
    agreement: Agreement, others: Iterable[Resemblance], required: Required
) -> tuple[Resemblance, float] | None:
    """Return the face that comes closest to confirming another, and the similarity it misses.

    Returns:
        The face and its required similarity; None if a face confirms, or none can be judged.
    """
    compared = [
        (other, threshold)
        for other in others
        if (threshold := required(agreement, other)) is not None
    ]
    if not compared:
        return None
    other, threshold = max(compared, key=lambda pair: pair[0].similarity - pair[1])
    return (other, threshold) if other.similarity < threshold else None


def _doubt(agreement: Agreement, trusted: set[str], required: Required) -> Disagreement | None:
    """Return the doubt about a face, judged by trusted faces; None if there is none."""
    others = (other for other in agreement.others if other.face_id in trusted)
    if not (missed := nearest_miss(agreement, others, required)):
        return None
    other, threshold = missed
    return Disagreement(agreement.face_id, other.similarity, threshold)


def _largest_group(agreements: Sequence[Agreement], required: Required) -> set[str]:
    confirmed_by = {
        agreement.face_id: {
            other.face_id
            for other in agreement.others
            if (threshold := required(agreement, other)) is not None
            and other.similarity >= threshold
        }
        for agreement in agreements
    }
    groups: list[set[str]] = []
    for face_id in confirmed_by:
        if not any(face_id in group for group in groups):
            groups.append(_reached_from(face_id, confirmed_by))
    return max(groups, key=len, default=set())


def _reached_from(face_id: str, confirmed_by: Mapping[str, set[str]]) -> set[str]:
    reached, waiting = {face_id}, [face_id]
    while waiting:
        further = confirmed_by[waiting.pop()] - reached
        reached |= further
        waiting += further
    return reached
