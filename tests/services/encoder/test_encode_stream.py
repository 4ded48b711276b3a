import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import grpc
import pytest

from compactface.client import RequestFailed
from compactface.v1.encoder_pb2 import (
    PICTURE_KIND_CROP,
    EncodeRequest,
    EncodeStreamRequest,
    EncodeStreamResponse,
)
from tests.services.conftest import clouds
from tests.services.hosting import Service, fields_of, running_encoder

pytestmark = pytest.mark.asyncio(loop_scope="session")


def crop_frame(seed: int, **options: object) -> EncodeStreamRequest:
    request = EncodeRequest(image=clouds(seed), kind=PICTURE_KIND_CROP, **options)
    return EncodeStreamRequest(request=request, frame_id=f"frame-{seed}")


async def stream(service: Service, *frames: EncodeStreamRequest) -> list[EncodeStreamResponse]:
    return [answer async for answer in service.encoder.EncodeStream(iter(frames))]


async def test_answers_keep_the_order_of_the_frames_though_a_slow_one_comes_first(
    tiny_models: Path, photos: dict[str, bytes]
) -> None:
    slow = EncodeStreamRequest(
        request=EncodeRequest(image=photos["barack_obama_blue_room"]), frame_id="slow"
    )
    frames = [slow, *map(crop_frame, range(5))]
    async with running_encoder(tiny_models, threads=2) as service:
        answers = await stream(service, *frames)
    assert [answer.frame_id for answer in answers] == [frame.frame_id for frame in frames]
    assert all(len(answer.response.faces) == 1 for answer in answers)


async def test_a_stream_answers_as_encode_does(encoder: Service) -> None:
    (answer,) = await stream(encoder, crop_frame(3))
    alone = await encoder.encoder.Encode(crop_frame(3).request)
    assert answer.response.faces[0].map.png == alone.faces[0].map.png


async def test_more_frames_than_may_wait_are_all_answered(tiny_models: Path) -> None:
    frames = [crop_frame(seed) for seed in range(12)]
    async with running_encoder(tiny_models, max_stream_in_flight=2) as service:
        answers = await stream(service, *frames)
    assert [answer.frame_id for answer in answers] == [frame.frame_id for frame in frames]


@pytest.mark.parametrize(
    ("change", "code", "reason", "fields"),
    [
        (
            {"request": EncodeRequest(image=b"GIF89a, or not")},
            "INVALID_ARGUMENT",
            "NOT_AN_IMAGE",
            ["request.image"],
        ),
        ({"frame_id": "f" * 129}, "INVALID_ARGUMENT", "INVALID_LENGTH", ["frame_id"]),
        ({"request": EncodeRequest(forward=True)}, "FAILED_PRECONDITION", "UPLINK_DISABLED", []),
    ],
)
async def test_a_bad_frame_gets_an_error_of_its_own_and_the_stream_goes_on(
    encoder: Service, change: dict[str, object], code: str, reason: str, fields: list[str]
) -> None:
    bad = EncodeStreamRequest(**{"request": crop_frame(1).request, "frame_id": "bad", **change})
    before, refused, after = await stream(encoder, crop_frame(0), bad, crop_frame(2))
    error = RequestFailed.from_status(refused.error)
    assert (error.code, error.reason, fields_of(error)) == (code, reason, fields)
    assert refused.frame_id == bad.frame_id[:128]
    assert refused.WhichOneof("result") == "error"
    assert [len(answer.response.faces) for answer in (before, after)] == [1, 1]


async def test_a_frame_id_of_128_characters_is_accepted(encoder: Service) -> None:
    frame = EncodeStreamRequest(request=crop_frame(0).request, frame_id="é" * 128)
    (answer,) = await stream(encoder, frame)
    assert answer.frame_id == frame.frame_id
    assert len(answer.response.faces) == 1


async def test_a_client_that_leaves_in_the_middle_harms_nobody(
    encoder: Service, photos: dict[str, bytes]
) -> None:
    call = encoder.encoder.EncodeStream()
    for _ in range(4):
        request = EncodeRequest(image=photos["eileen_collins_portrait"])
        await call.write(EncodeStreamRequest(request=request))
    await call.read()
    call.cancel()
    (answer,) = await stream(encoder, crop_frame(0))
    assert len(answer.response.faces) == 1


async def test_a_stop_ends_open_streams_at_once_after_what_was_read_is_answered(
    tiny_models: Path,
) -> None:
    async with running_encoder(tiny_models, drain_seconds=60) as service:
        call = service.encoder.EncodeStream(endless(crop_frame(0)))
        assert len((await call.read()).response.faces) == 1
        service.host.stopping.set()
        with pytest.raises(grpc.aio.AioRpcError, match="UNAVAILABLE"):
            await asyncio.wait_for(read_on(call), 20)


async def read_on(call: grpc.aio.StreamStreamCall) -> None:
    while (answer := await call.read()) is not grpc.aio.EOF:
        assert len(answer.response.faces) == 1


async def endless(frame: EncodeStreamRequest) -> AsyncIterator[EncodeStreamRequest]:
    while True:
        yield frame
        await asyncio.sleep(0.01)
