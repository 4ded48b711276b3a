import asyncio
from pathlib import Path

import grpc
import pytest

from compactface.client import RequestFailed
from compactface.v1.compact_map_pb2 import CompactMap
from compactface.v1.encoder_pb2 import PICTURE_KIND_CROP, EncodeRequest
from compactface.v1.gallery_pb2 import (
    ON_DUPLICATE_ALLOW,
    Collection,
    CreateCollectionRequest,
)
from compactface.v1.recognizer_pb2 import (
    IDENTIFY_DECISION_EMPTY_GALLERY,
    IDENTIFY_DECISION_LOW_QUALITY,
    IDENTIFY_DECISION_MATCH,
    IDENTIFY_DECISION_NO_MATCH,
    AppliedThreshold,
    BatchIdentifyRequest,
    GetRecognizerInfoRequest,
    IdentifyRequest,
)
from shared.model_directory import ModelDirectory
from tests.services.asking import asked, enroll, identify, with_quality
from tests.services.conftest import clouds
from tests.services.hosting import (
    Service,
    close_to,
    failure,
    fields_of,
    running_encoder,
    running_recognizer,
)

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def enroll_all(service: Service, collection: str, people: list[CompactMap]) -> None:
    for number, face in enumerate(people):
        await enroll(service, collection, f"person-{number}", face)


async def test_the_same_map_identifies_its_subject_with_similarity_one(
    recognizer: Service, collection: str, maps: dict[str, CompactMap]
) -> None:
    face = maps["eileen_collins_portrait"]
    enrolled = await enroll(recognizer, collection, "eileen", face, display_name="Eileen Collins")
    answer = await identify(recognizer, collection, face)
    assert answer.decision == IDENTIFY_DECISION_MATCH
    (candidate,) = answer.candidates
    assert (candidate.subject_id, candidate.display_name) == ("eileen", "Eileen Collins")
    assert candidate.face_id == enrolled.faces[0].face_id
    assert candidate.similarity == close_to(1)
    assert candidate.matched
    assert min(value for _, value in answer.timings.ListFields()) > 0


async def test_another_picture_of_everybody_identifies_everybody(
    recognizer: Service, collection: str, people: list[CompactMap], again: list[CompactMap]
) -> None:
    await enroll_all(recognizer, collection, people[:8])
    answers = await asyncio.gather(*(identify(recognizer, collection, face) for face in again[:8]))
    assert [answer.candidates[0].subject_id for answer in answers] == [
        f"person-{number}" for number in range(8)
    ]
    assert {answer.decision for answer in answers} == {IDENTIFY_DECISION_MATCH}


async def test_a_stranger_matches_nobody_and_the_nearest_are_listed_all_the_same(
    recognizer: Service, collection: str, people: list[CompactMap]
) -> None:
    await enroll_all(recognizer, collection, people[:4])
    answer = await identify(recognizer, collection, people[5], max_subjects=3)
    assert answer.decision == IDENTIFY_DECISION_NO_MATCH
    assert len(answer.candidates) == 3
    assert not any(candidate.matched for candidate in answer.candidates)


async def test_an_empty_collection_says_so_without_a_threshold(
    recognizer: Service, collection: str, people: list[CompactMap]
) -> None:
    answer = await identify(recognizer, collection, people[0])
    assert answer.decision == IDENTIFY_DECISION_EMPTY_GALLERY
    assert list(answer.candidates) == []
    assert not answer.HasField("threshold")


async def test_candidates_are_subjects_not_faces_most_similar_first(
    recognizer: Service, collection: str, people: list[CompactMap], again: list[CompactMap]
) -> None:
    twice = await enroll(recognizer, collection, "twice", again[0], people[0])
    await enroll(recognizer, collection, "once", people[1])
    answer = await identify(recognizer, collection, people[0], max_subjects=10)
    assert [candidate.subject_id for candidate in answer.candidates] == ["twice", "once"]
    assert answer.candidates[0].face_id == twice.faces[1].face_id
    assert [candidate.matched for candidate in answer.candidates] == [True, False]


async def test_the_default_threshold_is_the_collections_rate_spread_over_its_faces(
    recognizer: Service, people: list[CompactMap]
) -> None:
    strict = Collection(collection_id="identify-default-rate", max_fpir=0.05)
    await recognizer.gallery.CreateCollection(CreateCollectionRequest(collection=strict))
    await enroll_all(recognizer, strict.collection_id, people[:5])
    threshold = (await identify(recognizer, strict.collection_id, people[0])).threshold
    assert threshold.method == AppliedThreshold.METHOD_CALIBRATION
    assert threshold.faces == 5
    assert threshold.fmr == pytest.approx(1 - 0.95 ** (1 / 5))
    assert 0.2 < threshold.similarity < 0.4  # of 1e-1 and 1e-2 in the table of the tests
    assert not threshold.extrapolated


async def test_a_smaller_rate_takes_a_higher_similarity_and_beyond_the_table_it_says_so(
    recognizer: Service, collection: str, people: list[CompactMap]
) -> None:
    await enroll(recognizer, collection, "one", people[0])
    loose, strict, extreme = [
        (await identify(recognizer, collection, people[0], max_fpir=rate)).threshold
        for rate in (1e-1, 1e-4, 1e-7)
    ]
    assert [loose.similarity, strict.similarity] == [close_to(0.2), close_to(0.7)]
    assert [loose.fmr, strict.fmr, extreme.fmr] == pytest.approx([1e-1, 1e-4, 1e-7])
    assert extreme.similarity > 0.9
    assert [loose.extrapolated, strict.extrapolated, extreme.extrapolated] == [False, False, True]


async def test_a_given_similarity_is_the_threshold_and_its_rate_is_estimated(
    recognizer: Service, collection: str, people: list[CompactMap]
) -> None:
    await enroll(recognizer, collection, "one", people[0])
    answer = await identify(recognizer, collection, people[1], min_similarity=-1)
    assert answer.decision == IDENTIFY_DECISION_MATCH
    answer = await identify(recognizer, collection, people[1], min_similarity=0.7)
    assert answer.decision == IDENTIFY_DECISION_NO_MATCH
    assert answer.threshold.method == AppliedThreshold.METHOD_SIMILARITY
    assert answer.threshold.similarity == close_to(0.7)
    assert answer.threshold.fmr == pytest.approx(1e-4, rel=1e-3)


@pytest.mark.parametrize(
    ("quality", "expected"),
    [
        (0.1, (IDENTIFY_DECISION_LOW_QUALITY, True)),
        (0.9, (IDENTIFY_DECISION_MATCH, True)),
        (None, (IDENTIFY_DECISION_MATCH, False)),
    ],
)
async def test_nothing_is_concluded_from_a_probe_of_low_quality(
    recognizer: Service,
    collection: str,
    people: list[CompactMap],
    quality: float | None,
    expected: tuple[int, bool],
) -> None:
    await enroll(recognizer, collection, "one", people[0])
    answer = await identify(recognizer, collection, with_quality(people[0], quality))
    assert (answer.decision, answer.quality_checked) == expected
    assert answer.candidates[0].subject_id == "one"


async def test_collections_do_not_see_each_other(
    recognizer: Service, collection: str, people: list[CompactMap]
) -> None:
    other = Collection(collection_id="identify-elsewhere")
    await recognizer.gallery.CreateCollection(CreateCollectionRequest(collection=other))
    await enroll(recognizer, collection, "one", people[0])
    answer = await identify(recognizer, other.collection_id, people[0])
    assert answer.decision == IDENTIFY_DECISION_EMPTY_GALLERY


async def test_a_probe_of_another_operating_point_finds_the_same_subject(
    tiny_models: Path, recognizer: Service, collection: str, people: list[CompactMap]
) -> None:
    await enroll_all(recognizer, collection, people[:4])
    async with running_encoder(tiny_models, operating_point="paper") as paper:
        request = EncodeRequest(image=clouds(2), kind=PICTURE_KIND_CROP)
        probe = (await paper.encoder.Encode(request)).faces[0].map
    assert probe.codec_id != people[2].codec_id
    answer = await identify(recognizer, collection, probe)
    assert answer.candidates[0].subject_id == "person-2"
    assert answer.threshold.method == AppliedThreshold.METHOD_CALIBRATION


async def test_a_batch_gives_each_item_its_own_answer_or_error(
    recognizer: Service, collection: str, people: list[CompactMap]
) -> None:
    await enroll(recognizer, collection, "one", people[0])
    requests = [
        asked(collection, people[0]),
        asked(collection, CompactMap(codec_id=people[0].codec_id, png=b"no map")),
        asked("no-such-collection", people[0]),
        asked(collection, people[1]),
    ]
    answer = await recognizer.recognizer.BatchIdentify(BatchIdentifyRequest(requests=requests))
    match, bad_map, no_collection, no_match = answer.results
    assert match.response.decision == IDENTIFY_DECISION_MATCH
    assert no_match.response.decision == IDENTIFY_DECISION_NO_MATCH
    error = RequestFailed.from_status(bad_map.error)
    assert (error.reason, fields_of(error)) == ("MAP_NOT_PNG", ["probe.map.png"])
    assert RequestFailed.from_status(no_collection.error).code == "NOT_FOUND"


async def asked_together(
    service: Service, *requests: IdentifyRequest
) -> list[tuple[int, list[tuple[str, bool, bool]]]]:
    """For each: the decision, and who are the candidates, matched, and taken."""
    answer = await service.recognizer.BatchIdentify(BatchIdentifyRequest(requests=requests))
    return [
        (
            response.decision,
            [(found.subject_id, found.matched, found.taken) for found in response.candidates],
        )
        for response in (result.response for result in answer.results)
    ]


async def test_nobody_matches_two_faces_of_one_picture(
    recognizer: Service, collection: str, people: list[CompactMap], again: list[CompactMap]
) -> None:
    await enroll_all(recognizer, collection, people[:2])
    same, darker, other = (asked(collection, face) for face in (people[0], again[0], people[1]))
    alone = await asked_together(recognizer, darker, same, other)
    match = IDENTIFY_DECISION_MATCH
    assert alone == [
        (match, [("person-0", True, False)]),
        (match, [("person-0", True, False)]),
        (match, [("person-1", True, False)]),
    ]
    for request in (same, darker, other):
        request.picture = "group.jpg"
    assert await asked_together(recognizer, darker, same, other) == [
        (IDENTIFY_DECISION_NO_MATCH, [("person-0", False, True)]),
        *alone[1:],
    ]
    darker.picture = "another.jpg"
    assert await asked_together(recognizer, darker, same, other) == alone


async def test_who_is_taken_by_another_face_is_listed_last(
    recognizer: Service, collection: str, people: list[CompactMap], again: list[CompactMap]
) -> None:
    """And whoever else matches is matched in their place."""
    await enroll(recognizer, collection, "ada", people[0])
    await enroll(recognizer, collection, "twin", again[0], on_duplicate=ON_DUPLICATE_ALLOW)
    requests = [asked(collection, people[0], max_subjects=2) for _ in range(3)]
    for request in requests:
        request.picture = "group.jpg"
    first, second, third = await asked_together(recognizer, *requests)
    assert first == (IDENTIFY_DECISION_MATCH, [("ada", True, False), ("twin", False, True)])
    assert second == (IDENTIFY_DECISION_MATCH, [("twin", True, False), ("ada", False, True)])
    assert third == (IDENTIFY_DECISION_NO_MATCH, [("ada", False, True), ("twin", False, True)])
    for request in requests:
        request.max_subjects = 1
    first, second, third = await asked_together(recognizer, *requests)
    assert first == (IDENTIFY_DECISION_MATCH, [("ada", True, False)])
    assert second == (IDENTIFY_DECISION_MATCH, [("twin", True, False)])
    assert third == (IDENTIFY_DECISION_NO_MATCH, [("ada", False, True)])


async def test_a_face_of_low_quality_takes_nobody(
    recognizer: Service, collection: str, people: list[CompactMap], again: list[CompactMap]
) -> None:
    await enroll_all(recognizer, collection, people[:1])
    blurred = asked(collection, with_quality(people[0], 0.01))
    darker = asked(collection, again[0])
    for request in (blurred, darker):
        request.picture = "group.jpg"
    low, match = await asked_together(recognizer, blurred, darker)
    assert low == (IDENTIFY_DECISION_LOW_QUALITY, [("person-0", True, False)])
    assert match == (IDENTIFY_DECISION_MATCH, [("person-0", True, False)])


async def test_pictures_of_one_name_are_others_in_another_collection_and_errors_spoil_nothing(
    recognizer: Service, collection: str, people: list[CompactMap], again: list[CompactMap]
) -> None:
    other = Collection(collection_id=f"other-{collection}"[:64])
    await recognizer.gallery.CreateCollection(CreateCollectionRequest(collection=other))
    for name in (collection, other.collection_id):
        await enroll_all(recognizer, name, people[:1])
    requests = [
        asked(collection, people[0]),
        asked(other.collection_id, again[0]),
        asked(collection, CompactMap(codec_id=people[0].codec_id, png=b"no map")),
        asked(collection, people[0]),
    ]
    for request in requests[:3]:
        request.picture = "group.jpg"
    requests[3].picture = "x" * 129
    answer = await recognizer.recognizer.BatchIdentify(BatchIdentifyRequest(requests=requests))
    one, two, bad_map, bad_name = answer.results
    assert one.response.candidates[0].matched
    assert two.response.candidates[0].matched
    assert RequestFailed.from_status(bad_map.error).reason == "MAP_NOT_PNG"
    error = RequestFailed.from_status(bad_name.error)
    assert (error.reason, fields_of(error)) == ("INVALID_LENGTH", ["picture"])


async def test_what_a_picture_settles_is_what_is_counted(
    recognizer: Service, collection: str, people: list[CompactMap]
) -> None:
    def counted(decision: str) -> float:
        return recognizer.sample(
            "compactface_decisions_total", question="identify", decision=decision
        )

    await enroll_all(recognizer, collection, people[:1])
    before = counted("match"), counted("no_match")
    requests = [asked(collection, people[0]) for _ in range(2)]
    for request in requests:
        request.picture = "group.jpg"
    await asked_together(recognizer, *requests)
    assert (counted("match"), counted("no_match")) == (before[0] + 1, before[1] + 1)


async def test_requests_at_the_same_time_share_passes_of_the_networks(
    tiny_models: Path, tmp_path: Path, people: list[CompactMap]
) -> None:
    async with running_recognizer(
        tiny_models, tmp_path / "gallery.sqlite", max_batch_wait_ms=100
    ) as service:
        await enroll_all(service, "default", people[:1])
        passes = service.sample("compactface_batch_size_count")
        maps = service.sample("compactface_batch_size_sum")
        await asyncio.gather(*(identify(service, "default", face) for face in people))
        assert service.sample("compactface_batch_size_sum") == maps + 16
        assert service.sample("compactface_batch_size_count") - passes < 8


async def test_a_caller_who_gave_up_is_dropped_before_inference(
    tiny_models: Path, tmp_path: Path, people: list[CompactMap]
) -> None:
    async with running_recognizer(
        tiny_models, tmp_path / "gallery.sqlite", max_batch_wait_ms=400
    ) as service:
        with pytest.raises(grpc.aio.AioRpcError, match="DEADLINE_EXCEEDED"):
            await service.recognizer.Identify(asked("", people[0]), timeout=0.1)
        assert service.sample("compactface_batch_size_sum") == 0
        await identify(service, "", people[1])
        assert service.sample("compactface_batch_size_sum") == 1


async def test_a_full_queue_says_when_to_come_back(
    tiny_models: Path, tmp_path: Path, people: list[CompactMap]
) -> None:
    async with running_recognizer(
        tiny_models, tmp_path / "gallery.sqlite", max_queue=2, max_batch_wait_ms=300
    ) as service:
        waiting = [asyncio.create_task(identify(service, "", face)) for face in people[:2]]
        await asyncio.sleep(0.1)
        error = await failure(identify(service, "", people[2]))
        assert (error.code, error.reason) == ("RESOURCE_EXHAUSTED", "INFERENCE_QUEUE_FULL")
        assert error.retry_after_s is not None
        assert error.retry_after_s > 0
        answers = await asyncio.gather(*waiting)
    assert {answer.decision for answer in answers} == {IDENTIFY_DECISION_EMPTY_GALLERY}


async def test_decisions_are_counted(
    recognizer: Service, collection: str, people: list[CompactMap]
) -> None:
    def counted() -> float:
        return recognizer.sample(
            "compactface_decisions_total", question="identify", decision="empty_gallery"
        )

    before = counted()
    await identify(recognizer, collection, people[0])
    assert counted() == before + 1


async def test_the_info_names_codecs_and_limits(
    recognizer: Service, tiny_model: ModelDirectory
) -> None:
    info = await recognizer.recognizer.GetRecognizerInfo(GetRecognizerInfoRequest())
    assert {codec.operating_point: codec.codec_id for codec in info.codecs} == {
        point: codec.codec_id for point, codec in tiny_model.manifest.codecs.items()
    }
    assert (info.model_family, info.model_version) == ("default", "1")
    assert info.embedding_space == tiny_model.manifest.embedding_space
    assert (info.max_batch, info.max_subjects, info.max_map_bytes) == (4, 100, 4096)
    assert info.max_batch_wait.ToMilliseconds() == 2
    assert info.device == "cpu"
