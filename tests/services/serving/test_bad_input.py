"""Whatever is sent, the answer says what is wrong with it, and the next caller is served."""

import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from google.protobuf.timestamp_pb2 import Timestamp

from compactface.client import RequestFailed
from compactface.v1.compact_map_pb2 import CompactMap
from compactface.v1.encoder_pb2 import PICTURE_KIND_CROP, EncodeRequest
from compactface.v1.gallery_pb2 import EnrollRequest
from compactface.v1.recognizer_pb2 import EmbedRequest, IdentifyRequest, Probe, VerifyRequest
from shared.codec.compact_map import MapFormat, pack
from shared.model_directory import CodecConfig, set_current
from shared.models.compnet import CompNet
from shared.models.recnet import RecNet
from shared.models.sphere20 import Sphere20
from shared.training.export import TrainedCodec, export_model
from tests.services import broken
from tests.services.hosting import Service, failure, fields_of, running_recognizer
from tests.tiny_model import FAMILY, WIDTH, describe

pytestmark = pytest.mark.asyncio(loop_scope="session")

BAD, FORBIDDEN = "INVALID_ARGUMENT", "FAILED_PRECONDITION"


def refused(error: RequestFailed) -> tuple[str, str, list[str]]:
    return error.code, error.reason, fields_of(error)


PICTURES = {
    "nothing": (lambda _: b"", "EMPTY_IMAGE"),
    "not an image": (lambda _: b"%PDF-1.7 and so on", "NOT_AN_IMAGE"),
    "a truncated file": (lambda photo: photo[: len(photo) // 2], "IMAGE_TRUNCATED"),
    "one pixel": (lambda _: broken.one_pixel(), "IMAGE_TOO_SMALL"),
    "20000x20000 claimed": (
        lambda _: broken.png_of_claimed_size(20_000, 20_000),
        "TOO_MANY_PIXELS",
    ),
    "a file too large": (lambda photo: photo + bytes(15 << 20), "IMAGE_TOO_LARGE"),
    "a bomb of a profile": (
        lambda _: broken.with_chunk(
            broken.png_of_claimed_size(64, 64),
            b"iCCP",
            b"icc\0\0" + zlib.compress(bytes(60_000_000), 9),
        ),
        "IMAGE_TRUNCATED",  # the profile is passed over; there are no pixels
    ),
}


@pytest.mark.parametrize(("make", "reason"), PICTURES.values(), ids=PICTURES)
async def test_a_bad_picture_is_refused_and_the_next_is_encoded(
    encoder: Service,
    photos: dict[str, bytes],
    make: Callable[[bytes], bytes],
    reason: str,
) -> None:
    photo = photos["eileen_collins_portrait"]
    error = await failure(encoder.encoder.Encode(EncodeRequest(image=make(photo))))
    assert refused(error) == (BAD, reason, ["image"])
    assert len((await encoder.encoder.Encode(EncodeRequest(image=photo))).faces) == 1


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (
            {"image": broken.one_pixel(), "kind": PICTURE_KIND_CROP},
            (BAD, "CROP_TOO_SMALL", ["image"]),
        ),
        (
            {"image": broken.square(), "kind": PICTURE_KIND_CROP},
            (BAD, "CROP_PROPORTIONS", ["image"]),
        ),
        (
            {"image": broken.square(), "capture_time": Timestamp(seconds=10**15)},
            (BAD, "INVALID_TIME", ["capture_time"]),
        ),
        ({"image": broken.square(), "forward": True}, (FORBIDDEN, "UPLINK_DISABLED", [])),
    ],
)
async def test_a_bad_request_to_encode_is_refused(
    encoder: Service, options: dict[str, Any], expected: tuple[str, str, list[str]]
) -> None:
    error = await failure(encoder.encoder.Encode(EncodeRequest(**options)))
    assert refused(error) == expected


MAPS = {
    "nothing": (lambda _: b"", "MAP_NOT_PNG"),
    "not a PNG": (lambda _: b"\xff\xd8\xff\xe0 JFIF", "MAP_NOT_PNG"),
    "a truncated map": (lambda png: png[:-5], "MAP_TRUNCATED"),
    "trailing bytes": (lambda png: png + b"\0", "MAP_TRAILING_BYTES"),
    "a flipped bit": (lambda png: png[:50] + bytes([png[50] ^ 1]) + png[51:], "MAP_BAD_CRC"),
    "beyond 4096 bytes": (lambda png: png + bytes(4096), "MAP_TOO_LARGE"),
    "another geometry": (lambda _: broken.png_of_claimed_size(20_000, 20_000), "MAP_GEOMETRY"),
    "a bomb": (lambda png: broken.with_data(png, bytes(3_000_000)), "MAP_DATA_LENGTH"),
    "a bomb of a profile": (
        lambda png: broken.with_chunk(png, b"iCCP", b"icc\0\0" + zlib.compress(bytes(10**6), 9)),
        "MAP_CHUNK_NOT_ALLOWED",
    ),
    "an unknown filter": (
        lambda png: broken.with_data(png, b"\x05" + bytes(252)),
        "MAP_BAD_FILTER",
    ),
}


@pytest.mark.parametrize(("make", "reason"), MAPS.values(), ids=MAPS)
async def test_a_bad_map_is_refused_wherever_it_comes_from(
    recognizer: Service,
    people: list[CompactMap],
    make: Callable[[bytes], bytes],
    reason: str,
) -> None:
    bad = CompactMap(codec_id=people[0].codec_id, png=make(people[0].png))
    calls = {
        "probe.map.png": recognizer.recognizer.Identify(IdentifyRequest(probe=Probe(map=bad))),
        "map.png": recognizer.recognizer.Verify(VerifyRequest(probe=Probe(map=people[0]), map=bad)),
        "maps[1].png": recognizer.gallery.Enroll(EnrollRequest(maps=[people[0], bad])),
    }
    for field, call in calls.items():
        assert refused(await failure(call)) == (BAD, reason, [field])
    await recognizer.recognizer.Embed(EmbedRequest(map=people[0]))


async def test_a_map_of_another_codec_is_refused_naming_those_known(
    recognizer: Service, people: list[CompactMap]
) -> None:
    stranger = CompactMap(codec_id="feedfacefeedface", png=people[0].png)
    error = await failure(recognizer.recognizer.Embed(EmbedRequest(map=stranger)))
    assert refused(error) == (FORBIDDEN, "UNKNOWN_CODEC", [])
    assert error.metadata["codec_id"] == "feedfacefeedface"
    assert people[0].codec_id in error.metadata["known"].split(",")
    assert people[0].codec_id in error.message


async def test_a_symbol_beyond_the_levels_is_refused(tmp_path: Path) -> None:
    three_levels = CodecConfig(channels=6, levels=3, layout="row", widths=(4, 4, 4, 4))
    codec = TrainedCodec(
        CompNet(channels=6, widths=(4, 4, 4, 4)), RecNet(channels=6, widths=(4,) * 4)
    )
    model = export_model(
        tmp_path / "models",
        description=describe(codecs={"standard": three_levels}),
        extractor=Sphere20(width=WIDTH),
        codecs={"standard": codec},
    )
    set_current(tmp_path / "models", FAMILY, "1")
    symbols = np.random.default_rng(0).integers(0, 3, (6, 14, 12), np.uint8)
    good = pack(symbols, three_levels.map_format)
    symbols[5, 13, 11] = 3
    four_levels = MapFormat(channels=6, height=14, width=12, levels=4, layout="row")
    bad = pack(symbols, four_levels)
    codec_id = model.codec().codec_id
    async with running_recognizer(tmp_path / "models", tmp_path / "gallery.sqlite") as service:
        call = service.recognizer.Embed(EmbedRequest(map=CompactMap(codec_id=codec_id, png=bad)))
        assert refused(await failure(call)) == (BAD, "MAP_SYMBOL_OUT_OF_RANGE", ["map.png"])
        await service.recognizer.Embed(EmbedRequest(map=CompactMap(codec_id=codec_id, png=good)))
