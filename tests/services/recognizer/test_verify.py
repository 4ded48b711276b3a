import pytest

from compactface.v1.compact_map_pb2 import CompactMap
from compactface.v1.gallery_pb2 import DeleteFaceRequest
from compactface.v1.recognizer_pb2 import (
    VERIFY_DECISION_LOW_QUALITY,
    VERIFY_DECISION_MATCH,
    VERIFY_DECISION_NO_MATCH,
    AppliedThreshold,
    EmbedRequest,
)
from tests.services.asking import enroll, verify, with_quality
from tests.services.hosting import Service, close_to, failure

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def test_two_pictures_of_one_person_match(
    recognizer: Service, people: list[CompactMap], again: list[CompactMap]
) -> None:
    answer = await verify(recognizer, "", again[0], people[0])
    assert answer.decision == VERIFY_DECISION_MATCH
    assert answer.similarity > 0.8
    assert answer.face_id == ""
    assert answer.timings.embed_ms > 0


async def test_two_people_do_not_match(recognizer: Service, people: list[CompactMap]) -> None:
    answer = await verify(recognizer, "", people[0], people[1])
    assert answer.decision == VERIFY_DECISION_NO_MATCH
    assert answer.similarity < 0.5


async def test_the_similarity_is_the_cosine_of_the_embeddings_rounded(
    recognizer: Service, people: list[CompactMap]
) -> None:
    ours, theirs = [
        (await recognizer.recognizer.Embed(EmbedRequest(map=face))).embedding for face in people[:2]
    ]
    cosine = sum(a * b for a, b in zip(ours, theirs, strict=True))
    similarity = (await verify(recognizer, "", people[0], people[1])).similarity
    assert similarity == close_to(cosine)
    assert 1000 * similarity == pytest.approx(round(1000 * similarity), abs=1e-3)


async def test_the_default_threshold_is_the_collections_rate(
    recognizer: Service, people: list[CompactMap]
) -> None:
    answer = await verify(recognizer, "", people[0], people[0])
    assert answer.threshold.method == AppliedThreshold.METHOD_CALIBRATION
    assert answer.threshold.fmr == pytest.approx(1e-3)
    assert answer.threshold.similarity == close_to(0.6)
    assert answer.threshold.faces == 1


async def test_a_match_says_how_many_strangers_are_as_similar(
    recognizer: Service, people: list[CompactMap]
) -> None:
    same = await verify(recognizer, "", people[0], people[0])
    assert 0 < same.estimated_fmr < 1e-6
    assert same.estimate_extrapolated
    other = await verify(recognizer, "", people[0], people[1])
    assert other.estimated_fmr > 1e-3
    assert not other.estimate_extrapolated


@pytest.mark.parametrize(
    ("threshold", "decision"),
    [
        ({"max_fmr": 1e-6}, VERIFY_DECISION_MATCH),
        ({"min_similarity": 0.5}, VERIFY_DECISION_MATCH),
    ],
)
async def test_both_kinds_of_threshold_are_taken(
    recognizer: Service, people: list[CompactMap], threshold: dict[str, float], decision: int
) -> None:
    assert (await verify(recognizer, "", people[0], people[0], **threshold)).decision == decision
    stranger = await verify(recognizer, "", people[0], people[1], **threshold)
    assert stranger.decision == VERIFY_DECISION_NO_MATCH


async def test_a_subject_is_as_similar_as_the_most_similar_of_its_faces(
    recognizer: Service, collection: str, people: list[CompactMap]
) -> None:
    enrolled = await enroll(recognizer, collection, "both", people[0], people[1])
    answer = await verify(recognizer, collection, people[1], "both")
    assert answer.decision == VERIFY_DECISION_MATCH
    assert answer.similarity == close_to(1)
    assert answer.face_id == enrolled.faces[1].face_id
    assert answer.threshold.faces == 2
    assert answer.threshold.fmr == pytest.approx(1 - (1 - 1e-3) ** 0.5)


async def test_a_stranger_is_not_the_subject(
    recognizer: Service, collection: str, people: list[CompactMap]
) -> None:
    await enroll(recognizer, collection, "one", people[0])
    answer = await verify(recognizer, collection, people[1], "one")
    assert answer.decision == VERIFY_DECISION_NO_MATCH


@pytest.mark.parametrize(
    ("qualities", "expected"),
    [
        ((0.1, 0.9), (VERIFY_DECISION_LOW_QUALITY, True)),
        ((0.9, 0.1), (VERIFY_DECISION_LOW_QUALITY, True)),
        ((0.9, None), (VERIFY_DECISION_MATCH, True)),
        ((None, None), (VERIFY_DECISION_MATCH, False)),
    ],
)
async def test_the_worse_of_both_qualities_counts(
    recognizer: Service,
    people: list[CompactMap],
    qualities: tuple[float | None, float | None],
    expected: tuple[int, bool],
) -> None:
    probe, reference = (with_quality(people[0], quality) for quality in qualities)
    answer = await verify(recognizer, "", probe, reference)
    assert (answer.decision, answer.quality_checked) == expected


async def test_a_subject_without_faces_cannot_be_compared_with(
    recognizer: Service, collection: str, people: list[CompactMap]
) -> None:
    enrolled = await enroll(recognizer, collection, "bare", people[0])
    await recognizer.gallery.DeleteFace(
        DeleteFaceRequest(collection=collection, face_id=enrolled.faces[0].face_id)
    )
    error = await failure(verify(recognizer, collection, people[0], "bare"))
    assert (error.code, error.reason) == ("FAILED_PRECONDITION", "SUBJECT_HAS_NO_FACES")
