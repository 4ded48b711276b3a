import asyncio
import io
from datetime import UTC, datetime
from pathlib import Path

import grpc
import pytest
from google.protobuf.timestamp_pb2 import Timestamp
from grpc_reflection.v1alpha.reflection_pb2 import ServerReflectionRequest
from grpc_reflection.v1alpha.reflection_pb2_grpc import ServerReflectionStub
from PIL import Image

from compactface.v1.compact_map_pb2 import Landmarks
from compactface.v1.encoder_pb2 import (
    PICTURE_KIND_CROP,
    EncodeRequest,
    EncodeResponse,
    GetEncoderInfoRequest,
)
from shared.codec.compact_map import unpack
from shared.faces.fitness import UNFIT_QUALITY
from shared.model_directory import ModelDirectory
from tests.services.conftest import clouds
from tests.services.hosting import Service, close_to, failure, running_encoder, until

pytestmark = pytest.mark.asyncio(loop_scope="session")

PORTRAIT, ASTRONAUT = "barack_obama_portrait_2012", "eileen_collins_portrait"


def picture(image: bytes) -> Image.Image:
    return Image.open(io.BytesIO(image)).convert("RGB")


def as_file(image: Image.Image, kind: str = "JPEG") -> bytes:
    file = io.BytesIO()
    image.save(file, kind)
    return file.getvalue()


async def encode(service: Service, image: bytes, **options: object) -> EncodeResponse:
    return await service.encoder.Encode(EncodeRequest(image=image, **options))


async def test_a_portrait_is_one_map_of_the_announced_codec(
    encoder: Service, photos: dict[str, bytes], tiny_model: ModelDirectory
) -> None:
    info = await encoder.encoder.GetEncoderInfo(GetEncoderInfoRequest())
    (face,) = (await encode(encoder, photos[PORTRAIT])).faces
    assert face.map.codec_id == info.codec_id == tiny_model.codec("standard").codec_id
    assert len(face.map.png) == face.size_bytes <= 347
    symbols = unpack(face.map.png, tiny_model.codec("standard").map_format)
    assert symbols.min() < symbols.max()


async def test_a_face_comes_with_box_landmarks_score_and_quality(
    encoder: Service, photos: dict[str, bytes]
) -> None:
    (face,) = (await encode(encoder, photos[PORTRAIT])).faces
    points = [getattr(face.landmarks, field.name) for field in Landmarks.DESCRIPTOR.fields]
    assert all(face.box.x < point.x < face.box.x + face.box.width for point in points)
    assert all(face.box.y < point.y < face.box.y + face.box.height for point in points)
    assert face.landmarks.left_eye.x < face.landmarks.right_eye.x
    assert face.landmarks.nose.y < face.landmarks.mouth_left.y
    assert face.detection_score > 0.9
    assert face.quality == face.map.quality > 0.3


async def test_the_crop_is_returned_only_where_asked_for(
    encoder: Service, photos: dict[str, bytes]
) -> None:
    (without,) = (await encode(encoder, photos[PORTRAIT])).faces
    (face,) = (await encode(encoder, photos[PORTRAIT], include_crops=True)).faces
    assert without.crop_png == b""
    assert picture(face.crop_png).size == (96, 112)


async def test_a_crop_is_encoded_as_it_is(encoder: Service, photos: dict[str, bytes]) -> None:
    (from_photo,) = (await encode(encoder, photos[PORTRAIT], include_crops=True)).faces
    (face,) = (await encode(encoder, from_photo.crop_png, kind=PICTURE_KIND_CROP)).faces
    assert face.map.png == from_photo.map.png
    assert face.detection_score == 1
    assert not face.HasField("box")
    assert not face.HasField("landmarks")


async def test_several_faces_come_largest_first_and_can_be_limited(
    encoder: Service, photos: dict[str, bytes]
) -> None:
    both = Image.new("RGB", (1100, 1125))
    both.paste(picture(photos[PORTRAIT]).crop((200, 0, 900, 1125)), (0, 0))
    both.paste(picture(photos[ASTRONAUT]).crop((100, 0, 500, 512)), (700, 0))
    faces = (await encode(encoder, as_file(both))).faces
    assert len(faces) == 2
    assert faces[0].box.width > faces[1].box.width
    assert faces[0].box.x < 700 < faces[1].box.x
    alone = await encode(encoder, as_file(both), max_faces=1)
    (only,) = alone.faces
    assert only.map.png == faces[0].map.png
    assert alone.faces_found == 2


async def test_who_asks_for_one_face_gets_the_central_one_and_learns_of_the_others(
    encoder: Service, photos: dict[str, bytes]
) -> None:
    crowd = Image.new("RGB", (1800, 1125))
    crowd.paste(picture(photos[PORTRAIT]).crop((200, 0, 900, 1125)), (0, 0))
    smaller = picture(photos[ASTRONAUT]).crop((100, 0, 500, 512)).resize((800, 1024))
    crowd.paste(smaller, (700, 50))
    answer = await encode(encoder, as_file(crowd), max_faces=1)
    assert answer.faces_found == 2
    (face,) = answer.faces
    assert 700 < face.box.x < 1100
    assert face.box.width < (await encode(encoder, as_file(crowd))).faces[1].box.width
    alone = await encode(encoder, photos[PORTRAIT], max_faces=1)
    assert (alone.faces_found, len(alone.faces)) == (1, 1)
    crop = await encode(encoder, clouds(0), kind=PICTURE_KIND_CROP)
    assert crop.faces_found == 1
    assert (await encode(encoder, as_file(Image.new("RGB", (99, 99))))).faces_found == 0


async def test_places_in_a_photo_that_is_read_at_half_size_are_in_its_own_pixels(
    encoder: Service, photos: dict[str, bytes]
) -> None:
    (expected,) = (await encode(encoder, photos[PORTRAIT])).faces
    large = picture(photos[PORTRAIT]).resize((5400, 6750), Image.Resampling.BILINEAR)
    (face,) = (await encode(encoder, as_file(large))).faces
    assert face.box.width == pytest.approx(6 * expected.box.width, rel=0.05)
    assert face.box.y == pytest.approx(6 * expected.box.y, abs=0.05 * face.box.width)
    assert face.landmarks.nose.x == pytest.approx(
        6 * expected.landmarks.nose.x, abs=0.03 * face.box.width
    )


async def test_no_face_in_a_photo_is_a_normal_empty_answer(encoder: Service) -> None:
    answer = await encode(encoder, as_file(Image.new("RGB", (320, 240), "grey")))
    assert list(answer.faces) == []
    assert answer.timings.detect_ms > 0


async def test_the_capture_time_is_copied_and_else_it_is_now(encoder: Service) -> None:
    taken = Timestamp(seconds=1_700_000_000, nanos=123_456_000)
    crop = {"image": clouds(0), "kind": PICTURE_KIND_CROP}
    (face,) = (await encode(encoder, **crop, capture_time=taken)).faces
    assert face.map.capture_time == taken
    (face,) = (await encode(encoder, **crop)).faces
    age = datetime.now(UTC) - face.map.capture_time.ToDatetime(tzinfo=UTC)
    assert 0 <= age.total_seconds() < 10


async def test_an_unforwarded_face_has_no_sighting_id(
    encoder: Service, photos: dict[str, bytes]
) -> None:
    (face,) = (await encode(encoder, photos[ASTRONAUT])).faces
    assert face.sighting_id == ""


async def test_every_stage_is_timed_and_counted(encoder: Service, photos: dict[str, bytes]) -> None:
    def counted() -> list[float]:
        names = ("decode", "detect", "align", "compnet", "pack")
        return [encoder.sample("compactface_stage_seconds_count", stage=name) for name in names] + [
            encoder.sample("compactface_faces_encoded_total"),
            encoder.sample("compactface_map_bytes_count"),
        ]

    before = counted()
    timings = (await encode(encoder, photos[ASTRONAUT])).timings
    assert min(value for _, value in timings.ListFields()) > 0
    assert len(timings.ListFields()) == 5
    assert [after - earlier for earlier, after in zip(before, counted(), strict=True)] == [1] * 7


async def test_the_info_states_the_limits(encoder: Service) -> None:
    info = await encoder.encoder.GetEncoderInfo(GetEncoderInfoRequest())
    assert (info.crop_height, info.crop_width) == (112, 96)
    assert (info.model_family, info.model_version) == ("default", "1")
    assert info.operating_point == "standard"
    assert info.max_image_bytes == 15 << 20
    assert info.max_decode_bytes == 640 << 20
    assert (info.uplink_enabled, info.uplink_depth) == (False, 0)


async def test_concurrent_pictures_do_not_mix(encoder: Service) -> None:
    crops = [clouds(seed) for seed in range(8)]
    alone = [
        (await encode(encoder, crop, kind=PICTURE_KIND_CROP)).faces[0].map.png for crop in crops
    ]
    together = await asyncio.gather(
        *(encode(encoder, crop, kind=PICTURE_KIND_CROP) for crop in crops)
    )
    assert [answer.faces[0].map.png for answer in together] == alone
    assert len(set(alone)) == len(crops)


def begun(encoder: Service) -> float:
    return encoder.sample(
        "grpc_server_started_total",
        grpc_type="unary",
        grpc_service="compactface.v1.EncoderService",
        grpc_method="Encode",
    )


async def test_a_caller_who_gave_up_is_dropped_before_any_work(
    encoder: Service, photos: dict[str, bytes]
) -> None:
    before = encoder.sample("compactface_stage_seconds_count", stage="decode")
    full = begun(encoder) + 3
    busy = [asyncio.create_task(encode(encoder, photos[PORTRAIT])) for _ in range(3)]
    await until(lambda: begun(encoder) == full)
    gone = encoder.encoder.Encode(EncodeRequest(image=photos[ASTRONAUT]))
    await until(lambda: begun(encoder) == full + 1)
    gone.cancel()
    await asyncio.gather(*busy)
    await encode(encoder, photos[ASTRONAUT])  # waits its turn behind the one given up
    assert encoder.sample("compactface_stage_seconds_count", stage="decode") == before + 4


async def test_a_deadline_that_cannot_be_met_is_refused_while_there_is_time(
    encoder: Service, photos: dict[str, bytes]
) -> None:
    await encode(encoder, photos[PORTRAIT])
    all_begun = begun(encoder) + 60
    busy = [asyncio.create_task(encode(encoder, photos[PORTRAIT])) for _ in range(60)]
    await until(lambda: begun(encoder) == all_begun)
    await asyncio.wait(busy, return_when=asyncio.FIRST_COMPLETED)
    request = EncodeRequest(image=photos[ASTRONAUT])
    error = await failure(encoder.encoder.Encode(request, timeout=0.3))
    assert (error.code, error.reason) == ("RESOURCE_EXHAUSTED", "DEADLINE_TOO_CLOSE")
    assert error.retry_after_s is not None
    for task in busy:
        task.cancel()
    await asyncio.gather(*busy, return_exceptions=True)


async def test_the_quality_of_a_blurred_face_is_lower(
    encoder: Service, photos: dict[str, bytes]
) -> None:
    sharp = picture(photos[PORTRAIT])
    small = sharp.resize((sharp.width // 8, sharp.height // 8)).resize(sharp.size)
    (clear,) = (await encode(encoder, photos[PORTRAIT])).faces
    (blurred,) = (await encode(encoder, as_file(small))).faces
    assert blurred.quality < clear.quality - 0.1
    assert clear.quality == close_to(clear.map.quality)


async def test_a_face_too_dark_to_be_matched_says_so(
    encoder: Service, photos: dict[str, bytes]
) -> None:
    (bright,) = (await encode(encoder, photos[PORTRAIT], include_crops=True)).faces
    crop = picture(bright.crop_png).point(lambda level: level * 0.08)
    (dark,) = (await encode(encoder, as_file(crop, "PNG"), kind=PICTURE_KIND_CROP)).faces
    assert dark.map.quality <= UNFIT_QUALITY < bright.map.quality


@pytest.mark.parametrize("enabled", [True, False])
async def test_reflection_names_the_service_only_behind_its_flag(
    tiny_models: Path,
    enabled: bool,  # noqa: FBT001
) -> None:
    list_services = ServerReflectionRequest(list_services="")
    async with running_encoder(tiny_models, reflection=enabled) as service:
        stub = ServerReflectionStub(service.channel)
        call = stub.ServerReflectionInfo(iter([list_services]))
        if enabled:
            services = (await call.read()).list_services_response.service
            assert "compactface.v1.EncoderService" in {each.name for each in services}
        else:
            with pytest.raises(grpc.aio.AioRpcError, match="UNIMPLEMENTED"):
                await call.read()
