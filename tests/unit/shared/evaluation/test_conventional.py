"""The conventional codecs, on small cut-outs of the sample photographs."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from shared.evaluation.conventional import (
    CODECS,
    Avif,
    Codec,
    Compressed,
    Jpeg,
    Jpeg2000,
    Measure,
    Picture,
    Thumbnail,
    WebP,
    compress_all,
    compress_to,
)

DATA = Path(__file__).parents[3] / "data"
MEASURES: tuple[Measure, ...] = ("file", "payload")


def _crop(name: str, left: int, top: int, width: int) -> Picture:
    """A face, cut out by eye."""
    box = (left, top, left + width, top + width * 112 // 96)
    with Image.open(DATA / name) as photograph:
        return np.asarray(photograph.convert("RGB").crop(box).resize((96, 112)))


@pytest.fixture(scope="module")
def crop() -> Picture:
    return _crop("eileen_collins_portrait.jpg", 160, 40, 140)


@pytest.fixture(params=CODECS, ids=lambda codec: codec.name)
def codec(request: pytest.FixtureRequest) -> Codec:
    if request.param.name == "JPEG XL":
        pytest.importorskip("pillow_jxl", reason="the extra `evaluate` is not installed")
    chosen: Codec = request.param
    return chosen


def _psnr(picture: Picture, original: Picture) -> float:
    error = np.mean((picture.astype(np.float64) - original) ** 2)
    return float(10 * np.log10(255**2 / error))


def _bytes(compressed: Compressed, measure: Measure) -> int:
    return compressed.file_bytes if measure == "file" else compressed.payload_bytes


@pytest.mark.parametrize("measure", MEASURES)
def test_more_bytes_make_a_better_picture_of_the_same_size(
    codec: Codec, crop: Picture, measure: Measure
) -> None:
    small, large = (compress_to(codec, crop, size, measure=measure) for size in (700, 1400))
    for compressed, target in ((small, 700), (large, 1400)):
        assert compressed.reached
        assert 0.8 * target < _bytes(compressed, measure) <= target
        assert compressed.payload_bytes < compressed.file_bytes
        assert (compressed.crop.shape, compressed.crop.dtype) == (crop.shape, np.uint8)
    assert _psnr(large.crop, crop) > _psnr(small.crop, crop) + 1 > 20


def test_the_smallest_file_stands_for_a_target_that_is_out_of_reach(
    codec: Codec, crop: Picture
) -> None:
    compressed = compress_to(codec, crop, 20, measure="file")
    lowest = min(codec.encode(crop, codec.settings[0]), key=len)
    assert not compressed.reached
    assert 20 < compressed.file_bytes <= len(lowest)


class Wobbling(Codec):
    """Files of given sizes, whose pictures are the number of the setting."""

    name = "wobbling"

    def __init__(self, *sizes: int) -> None:
        self.settings = range(len(sizes))  # type: ignore[misc]
        self._sizes = sizes

    def encode(self, picture: Picture, setting: float) -> list[bytes]:  # noqa: ARG002
        size = self._sizes[int(setting)]
        return [bytes([int(setting)]) * (size + 5), bytes([int(setting)]) * size]

    def decode(self, file: bytes) -> Picture:
        return np.full((1, 1, 3), file[0], np.uint8)

    def payload_bytes(self, file: bytes) -> int:
        return len(file) - 10


@pytest.mark.parametrize(
    ("sizes", "measure", "step", "reached"),
    [
        ((20, 30, 40, 50, 60), "file", 2, True),
        ((20, 30, 40, 50, 60), "payload", 3, True),
        ((20, 30, 40, 43, 39, 60, 70), "file", 4, True),  # 43 ends the bisection
        ((10, 11, 12, 13), "file", 3, True),  # everything fits
        ((50, 48, 60, 70), "file", 1, False),  # nothing does, and the lowest is not the smallest
        ((50, 38, 60, 70, 80, 90, 99), "file", 1, True),  # the lowest is not the only one to try
    ],
)
def test_the_highest_setting_that_fits_is_found_although_sizes_wobble(
    sizes: tuple[int, ...], measure: Measure, step: int, *, reached: bool
) -> None:
    compressed = compress_to(Wobbling(*sizes), np.zeros((1, 1, 3), np.uint8), 42, measure=measure)
    assert (compressed.crop[0, 0, 0], compressed.reached) == (step, reached)
    assert compressed.file_bytes == sizes[step]


def test_jpeg_payload_decodes_behind_the_headers_of_another_picture(crop: Picture) -> None:
    """What is left out of the payload of a file with standard tables is constant indeed."""
    own, other = (Jpeg().encode(picture, 20)[2] for picture in (crop, crop[::-1]))
    payload = Jpeg().payload_bytes(own) - 1  # the byte that names the quality
    headers = other[: len(own) - payload - 2]
    spliced = headers + own[len(headers) :]
    np.testing.assert_array_equal(Jpeg().decode(spliced), Jpeg().decode(own))
    assert spliced[: len(headers)] == own[: len(headers)]


def test_jpeg_payload_includes_huffman_tables_made_for_the_picture(crop: Picture) -> None:
    optimised, progressive, standard = Jpeg().encode(crop, 20)
    # JFIF, two quantization tables, frame header, one scan header, markers of start and end; then
    # markers and lengths of four Huffman tables, or those tables altogether.
    headers = 18 + 2 * 69 + 19 + 14 + 4
    assert Jpeg().payload_bytes(optimised) == 1 + len(optimised) - headers - 4 * 4
    assert Jpeg().payload_bytes(standard) == 1 + len(standard) - headers - 432
    assert len(optimised) < len(progressive) < len(standard)


def _after(tag: bytes) -> Callable[[bytes], int]:
    return lambda file: len(file) - file.index(tag) - len(tag)


@pytest.mark.parametrize(
    ("codec", "setting", "payload"),
    [
        (Avif(), 30, _after(b"mdat")),
        (Jpeg2000(), 60, lambda file: _after(b"\xff\x93")(file) - 2),  # the end marker
        (WebP(), 20, lambda file: _after(b"VP8 ")(file) - 4),  # the chunk's length
        (Thumbnail(), 10, lambda file: file.index(b"IEND") - file.index(b"IDAT") - 12 + 1),
    ],
    ids=lambda value: value.name if isinstance(value, Codec) else None,
)
def test_payload_leaves_out_the_container(
    codec: Codec, setting: float, payload: Callable[[bytes], int], crop: Picture
) -> None:
    (file,) = codec.encode(crop, setting)
    assert abs(codec.payload_bytes(file) - payload(file)) <= (codec.name == "WebP")  # padding


def test_jpeg2000_headers_are_those_of_every_crop_and_unsigned(crop: Picture) -> None:
    (one,), (other,) = (Jpeg2000().encode(picture, 60) for picture in (crop, crop[::-1]))
    start_of_tile = one.index(b"\xff\x90")
    assert one[:start_of_tile] == other[:start_of_tile]
    assert b"\xff\x64" not in one[:start_of_tile]


def test_many_crops_come_back_in_order_from_several_processes(crop: Picture) -> None:
    crops = np.stack([crop, crop[::-1], crop[:, ::-1]] * 4)
    many = compress_all(WebP(), crops, 400, measure="payload", workers=2)
    assert len(many) == len(crops)
    for row in range(3):
        alone = compress_to(WebP(), crops[row], 400, measure="payload")
        for one in many[row::3]:
            np.testing.assert_array_equal(one.crop, alone.crop)
            assert (one.file, one.payload_bytes) == (alone.file, alone.payload_bytes)
