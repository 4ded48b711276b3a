"""What is too large fails alone, with a reason, whoever sends it."""

import asyncio
import uuid
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from compactface.client import EncoderClient, Frame, RecognizerClient, RequestFailed, enrollment
from compactface.v1.compact_map_pb2 import CompactMap
from compactface.v1.encoder_pb2 import (
    PICTURE_KIND_CROP,
    EncodeRequest,
    EncodeStreamRequest,
    GetEncoderInfoRequest,
)
from compactface.v1.gallery_pb2 import BulkEnrollRequest, EnrollRequest
from compactface.v1.recognizer_pb2 import (
    GetRecognizerInfoRequest,
    IdentifyRequest,
    Probe,
    StreamMapsRequest,
)
from tests.services.conftest import clouds
from tests.services.hosting import (
    Service,
    failure,
    fields_of,
    running_encoder,
    running_recognizer,
)

pytestmark = pytest.mark.asyncio(loop_scope="session")

LARGE = bytes(round(16.1 * 2**20))
LIMIT = 1 << 20  # the least that a service can be set to


def reasons(answers: list[object]) -> list[str]:
    """Why each item failed; "" for those that did not."""
    return [
        RequestFailed.from_status(answer.error).reason if answer.HasField("error") else ""
        for answer in answers
    ]


def frame(image: bytes) -> EncodeStreamRequest:
    return EncodeStreamRequest(request=EncodeRequest(image=image, kind=PICTURE_KIND_CROP))


async def test_a_large_picture_is_refused_with_its_reason(encoder: Service) -> None:
    error = await failure(encoder.encoder.Encode(EncodeRequest(image=LARGE)))
    assert (error.code, error.reason) == ("INVALID_ARGUMENT", "IMAGE_TOO_LARGE")
    assert fields_of(error) == ["image"]


async def test_a_large_frame_fails_alone(encoder: Service) -> None:
    frames = [frame(clouds(0)), frame(LARGE), frame(clouds(1))]
    answers = [answer async for answer in encoder.encoder.EncodeStream(iter(frames))]
    assert reasons(answers) == ["", "IMAGE_TOO_LARGE", ""]


async def test_a_frame_with_a_large_id_fails_alone_and_its_answer_is_small(
    encoder: Service,
) -> None:
    named = EncodeStreamRequest(request=frame(clouds(0)).request, frame_id="x" * len(LARGE))
    call = encoder.encoder.EncodeStream(iter([named, frame(clouds(1))]))
    answers = [answer async for answer in call]
    assert reasons(answers) == ["INVALID_LENGTH", ""]
    assert answers[0].frame_id == "x" * 128


async def test_a_large_enrolment_fails_alone(
    recognizer: Service, collection: str, people: list[CompactMap]
) -> None:
    large = CompactMap(codec_id=people[0].codec_id, png=LARGE)
    requests = [
        BulkEnrollRequest(
            enroll=EnrollRequest(collection=collection, subject_id=f"person-{n}", maps=[face])
        )
        for n, face in enumerate([people[0], large, people[1]])
    ]
    answers = [answer async for answer in recognizer.gallery.BulkEnroll(iter(requests))]
    assert reasons(answers) == ["", "MAP_TOO_LARGE", ""]


async def test_a_large_map_of_a_camera_fails_alone(
    recognizer: Service, people: list[CompactMap]
) -> None:
    large = CompactMap(codec_id=people[0].codec_id, png=LARGE)
    requests = [
        StreamMapsRequest(sighting_id=str(uuid.uuid4()), map=each)
        for each in (people[0], large, people[1])
    ]
    requests.insert(1, StreamMapsRequest(sighting_id="x" * len(LARGE), map=people[0]))
    answers = [answer async for answer in recognizer.recognizer.StreamMaps(iter(requests))]
    assert reasons(answers)[2:] == ["MAP_TOO_LARGE", ""]
    assert [len(answer.sighting_id) for answer in answers] == [36, 128, 36, 36]


async def test_a_large_probe_is_refused_with_its_reason(
    recognizer: Service, people: list[CompactMap]
) -> None:
    probe = Probe(map=CompactMap(codec_id=people[0].codec_id, png=LARGE))
    error = await failure(recognizer.recognizer.Identify(IdentifyRequest(probe=probe)))
    assert (error.code, error.reason) == ("INVALID_ARGUMENT", "MAP_TOO_LARGE")


async def test_the_services_state_their_limits(encoder: Service, recognizer: Service) -> None:
    eyes = await encoder.encoder.GetEncoderInfo(GetEncoderInfoRequest())
    brain = await recognizer.recognizer.GetRecognizerInfo(GetRecognizerInfoRequest())
    assert eyes.max_message_bytes == brain.max_message_bytes == 64 << 20
    assert eyes.max_message_bytes >= 4 * eyes.max_image_bytes
    assert brain.max_faces_per_subject == 32


@pytest_asyncio.fixture(loop_scope="session", scope="module")
async def narrow(
    tiny_models: Path, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[tuple[Service, Service]]:
    """Both services with the lowest limits that can be set."""
    gallery = tmp_path_factory.mktemp("narrow") / "gallery.sqlite"
    async with (
        running_encoder(
            tiny_models, max_message_bytes=LIMIT, max_image_bytes=LIMIT // 2
        ) as encoder,
        running_recognizer(tiny_models, gallery, max_message_bytes=LIMIT) as recognizer,
    ):
        yield encoder, recognizer


async def test_the_encoder_client_refuses_what_the_service_would(
    narrow: tuple[Service, Service],
) -> None:
    with EncoderClient(narrow[0].address) as client:
        with pytest.raises(RequestFailed) as caught:
            await asyncio.to_thread(client.encode, LARGE)
        refused = caught.value
        assert (refused.code, refused.reason) == ("INVALID_ARGUMENT", "IMAGE_TOO_LARGE")
        assert fields_of(refused) == ["image"]

        frames = [Frame(clouds(0), "a"), Frame(LARGE, "b"), Frame(clouds(1), "c")]
        answers = await asyncio.to_thread(lambda: list(client.encode_stream(frames, kind="crop")))
        assert [answer.frame_id for answer in answers] == ["a", "b", "c"]
        assert reasons(answers) == ["", "IMAGE_TOO_LARGE", ""]
        assert fields_of(RequestFailed.from_status(answers[1].error)) == ["request.image"]


async def test_the_recognizer_client_refuses_what_grpc_would(
    narrow: tuple[Service, Service], people: list[CompactMap]
) -> None:
    large = CompactMap(codec_id=people[0].codec_id, png=LARGE)

    def ask() -> None:
        with RecognizerClient(narrow[1].address) as client:
            with pytest.raises(RequestFailed, match=f"accepts at most {LIMIT}") as caught:
                client.identify(large)
            assert caught.value.code == "RESOURCE_EXHAUSTED"
            assert caught.value.reason == "MESSAGE_TOO_LARGE"
            assert caught.value.metadata["max_message_bytes"] == str(LIMIT)

            enrolments = [
                enrollment([face], subject_id=f"person-{n}")
                for n, face in enumerate([people[0], large, people[1]])
            ]
            answers = list(client.subjects.bulk_enroll(enrolments))
            assert reasons(answers) == ["", "MESSAGE_TOO_LARGE", ""]
            assert [answer.index for answer in answers] == [0, 1, 2]

            sightings = [(str(uuid.uuid4()), face) for face in (people[0], large, people[1])]
            acknowledged = list(client.stream_maps(sightings))
            assert reasons(acknowledged) == ["", "MESSAGE_TOO_LARGE", ""]
            assert [each.sighting_id for each in acknowledged] == [id_ for id_, _ in sightings]

    await asyncio.to_thread(ask)


async def test_an_archive_in_one_piece_is_restored(narrow: tuple[Service, Service]) -> None:
    """The client cuts it; it may be larger than a message."""

    def restore() -> None:
        with RecognizerClient(narrow[1].address) as client:
            archive = b"".join(client.collections.export())
            restored = client.collections.restore([archive], collection="restored")
            assert restored.collection == "restored"
            with pytest.raises(RequestFailed) as caught:
                client.collections.restore([archive + LARGE], collection="damaged")
            assert caught.value.reason.startswith("ARCHIVE_")

    await asyncio.to_thread(restore)
