"""Faces of one picture are different people: a subject matches at most one of them."""

from collections.abc import Sequence
from dataclasses import replace

from recognizer_service.core.types import Decision, Identification


def one_match_each(answers: Sequence[Identification]) -> list[Identification]:
    """Resolve the answers for the faces of one picture, so that a subject matches at most one.

    Greedy: the match with the largest margin takes its subject from the other faces, which may then
    match another candidate. Inconclusive faces take no subject.
    """
    claims = sorted(
        (
            (candidate.margin, face, candidate.hit.subject_id)
            for face, answer in enumerate(answers)
            if answer.decision is Decision.MATCH
            for candidate in answer.candidates
            if candidate.matched
        ),
        key=lambda claim: claim[0],
        reverse=True,
    )
    face_of: dict[str, int] = {}
    for _, face, subject_id in claims:
        if subject_id not in face_of and face not in face_of.values():
            face_of[subject_id] = face
    return [_settled(answer, face, face_of) for face, answer in enumerate(answers)]


def _settled(answer: Identification, face: int, face_of: dict[str, int]) -> Identification:
    if answer.decision is not Decision.MATCH:
        return answer
    candidates = [
        replace(candidate, taken=face_of.get(candidate.hit.subject_id, face) != face)
        for candidate in answer.candidates
    ]
    candidates.sort(key=lambda candidate: (not candidate.taken, candidate.margin), reverse=True)
    return replace(
        answer,
        decision=Decision.MATCH if candidates[0].matched else Decision.NO_MATCH,
        candidates=tuple(candidates),
    )
