"""Compact maps: the symbols, their PNG files, and the refusal of everything else."""

import io
import struct
import zlib
from math import ceil

import cv2
import numpy as np
import pytest
from PIL import Image

from shared.codec.compact_map import Layout, MapFormat, dequantize, pack, quantize, unpack
from shared.errors import InvalidCompactMap

FORMATS = [
    MapFormat(3, 14, 12, 256, "rgb8"),
    MapFormat(3, 14, 12, 24, "rgb8"),
    MapFormat(3, 14, 12, 2, "row"),
    MapFormat(6, 14, 12, 2, "row"),
    MapFormat(6, 14, 12, 3, "row"),
    MapFormat(6, 14, 12, 4, "row"),
    MapFormat(3, 14, 12, 16, "row"),
    MapFormat(3, 14, 12, 256, "row"),
    MapFormat(1, 3, 5, 4, "row"),  # 30 bits: the last byte is not full
]
SPARING = MapFormat(4, 14, 12, 2, "row", spared=24)
FOUR_LEVELS = MapFormat(6, 14, 12, 4, "row")


def name(fmt: MapFormat) -> str:
    return f"{fmt.layout}-{fmt.channels}x{fmt.levels}-{fmt.spared}"


def random_symbols(fmt: MapFormat, seed: int = 0) -> np.ndarray:
    return _without_spared(
        np.random.default_rng(seed).integers(0, fmt.levels, fmt.shape, dtype=np.uint8), fmt
    )


def _without_spared(symbols: np.ndarray, fmt: MapFormat) -> np.ndarray:
    symbols.reshape(-1)[symbols.size - fmt.spared :] = 0
    return symbols


def smooth_symbols(fmt: MapFormat) -> np.ndarray:
    c, y, x = np.indices(fmt.shape)
    wave = np.sin(x / 3 + c) + np.cos(y / 4)
    return _without_spared(quantize((wave / 2).astype(np.float32), fmt.levels), fmt)


def chunk(kind: bytes, content: bytes) -> bytes:
    crc = zlib.crc32(kind + content)
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", crc)


def png_of(*chunks: bytes) -> bytes:
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


def header(
    width: int, height: int = 1, depth: int = 2, color: int = 0, tail: bytes = bytes(3)
) -> bytes:
    return chunk(b"IHDR", struct.pack(">IIBB", width, height, depth, color) + tail)


IHDR = header(1008)
RAW = bytes(1 + 252)
IDAT = chunk(b"IDAT", zlib.compress(RAW))
IEND = chunk(b"IEND", b"")


def refusal(png: bytes, fmt: MapFormat = FOUR_LEVELS) -> InvalidCompactMap:
    with pytest.raises(InvalidCompactMap) as caught:
        unpack(png, fmt)
    return caught.value


# Equation 1


@pytest.mark.parametrize("levels", [2, 3, 4, 16, 256])
def test_every_level_survives_the_way_to_the_network_and_back(levels: int) -> None:
    symbols = np.arange(levels, dtype=np.uint8).reshape(1, 1, levels)
    latent = dequantize(symbols, MapFormat(1, 1, levels, levels, "row"))
    assert latent.dtype == np.float32
    assert latent.min() == -1
    assert latent.max() == 1
    assert np.array_equal(quantize(latent, levels), symbols)


@pytest.mark.parametrize("levels", [2, 3, 4, 24, 256])
def test_rounding_is_off_by_half_a_step_at_most(levels: int) -> None:
    latent = np.linspace(-1, 1, 1001, dtype=np.float32).reshape(1, 7, 143)
    fmt = MapFormat(1, 7, 143, levels, "row")
    error = np.abs(dequantize(quantize(latent, levels), fmt) - latent)
    assert error.max() <= 1 / (levels - 1) + 1e-6


def test_quantizing_follows_equation_1() -> None:
    latent = np.array([-1, -0.7, -0.3, 0.3, 0.7, 1], np.float32).reshape(1, 1, 6)
    assert quantize(latent, 4).ravel().tolist() == [0, 0, 1, 2, 3, 3]


def test_a_latent_out_of_range_has_the_nearest_level() -> None:
    latent = np.array([-1.5, 1.000001, 1.5], np.float32).reshape(1, 1, 3)
    assert quantize(latent, 4).ravel().tolist() == [0, 3, 3]


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_latent_that_is_not_finite_is_a_bug(value: float) -> None:
    latent = np.zeros((1, 2, 2), np.float32)
    latent[0, 1, 1] = value
    with pytest.raises(ValueError, match="not finite"):
        quantize(latent, 4)


# Files


@pytest.mark.parametrize("fmt", [*FORMATS, SPARING], ids=name)
def test_a_map_survives_its_file(fmt: MapFormat) -> None:
    for symbols in (random_symbols(fmt), smooth_symbols(fmt), np.zeros(fmt.shape, np.uint8)):
        assert np.array_equal(unpack(pack(symbols, fmt), fmt), symbols)


@pytest.mark.parametrize("fmt", FORMATS, ids=name)
def test_a_random_map_is_never_larger_than_stored_bytes(fmt: MapFormat) -> None:
    if fmt.layout == "row":
        bits = fmt.channels * fmt.height * fmt.width * fmt.bit_depth
        most = 69 + ceil(bits / 8)
    else:
        most = 68 + 14 * (1 + 36)
    assert max(len(pack(random_symbols(fmt, seed), fmt)) for seed in range(5)) <= most


@pytest.mark.parametrize(
    ("channels", "levels", "size"), [(3, 4, 195), (6, 2, 195), (3, 2, 132), (6, 4, 321)]
)
def test_an_incompressible_row_costs_what_the_design_says(
    channels: int, levels: int, size: int
) -> None:
    fmt = MapFormat(channels, 14, 12, levels, "row")
    assert len(pack(random_symbols(fmt), fmt)) == size


@pytest.mark.parametrize(
    ("fmt", "mode"),
    [(FORMATS[0], "RGB"), (FORMATS[1], "RGB"), (FORMATS[3], "1"), (FORMATS[7], "L")],
)
def test_no_file_is_larger_than_pillow_makes_it(fmt: MapFormat, mode: str) -> None:
    symbols = smooth_symbols(fmt)
    samples = symbols.transpose(1, 2, 0) if mode == "RGB" else symbols.reshape(1, -1)
    image = Image.fromarray(np.ascontiguousarray(samples))
    if mode == "1":
        image = image.point(lambda symbol: 255 * symbol, "1")
    theirs = io.BytesIO()
    image.save(theirs, "PNG", optimize=True)
    assert len(pack(symbols, fmt)) <= len(theirs.getvalue())


def test_packing_is_reproducible() -> None:
    symbols = smooth_symbols(FOUR_LEVELS)
    assert pack(symbols, FOUR_LEVELS) == pack(symbols.copy(), FOUR_LEVELS)


@pytest.mark.parametrize("fmt", FORMATS, ids=name)
def test_pillow_and_opencv_show_the_symbols_stretched_to_eight_bits(fmt: MapFormat) -> None:
    symbols = random_symbols(fmt)
    png = pack(symbols, fmt)
    stretched = symbols * (255 // (2**fmt.bit_depth - 1))  # 85 for two bits, 17 for four
    rgb = fmt.layout == "rgb8"
    expected = stretched.transpose(1, 2, 0) if rgb else stretched.reshape(1, -1)
    with Image.open(io.BytesIO(png)) as image:
        image.load()
        shown = np.asarray(image.convert("RGB" if rgb else "L"))
    assert np.array_equal(shown, expected)
    opened = cv2.imdecode(np.frombuffer(png, np.uint8), cv2.IMREAD_UNCHANGED)
    assert np.array_equal(opened[..., ::-1] if rgb else opened, expected)


def test_pillow_shows_two_and_four_bit_gray_as_documented() -> None:
    for levels, shown in ((4, [0, 85, 170, 255]), (16, [17 * q for q in range(16)])):
        fmt = MapFormat(1, 1, levels, levels, "row")
        png = pack(np.arange(levels, dtype=np.uint8).reshape(fmt.shape), fmt)
        with Image.open(io.BytesIO(png)) as image:
            assert np.asarray(image).ravel().tolist() == shown


@pytest.mark.parametrize("fmt", FORMATS, ids=name)
@pytest.mark.parametrize("kind", range(5))
def test_every_png_filter_is_read_as_opencv_reads_it(fmt: MapFormat, kind: int) -> None:
    geometry = fmt.geometry
    rows = np.random.default_rng(kind).integers(
        0, 256, (geometry.height, geometry.row_bytes), dtype=np.uint8
    )
    data = b"".join(bytes([kind]) + row.tobytes() for row in rows)
    png = png_of(chunk(b"IHDR", geometry.to_bytes()), chunk(b"IDAT", zlib.compress(data)), IEND)
    opened = cv2.imdecode(np.frombuffer(png, np.uint8), cv2.IMREAD_UNCHANGED)
    if fmt.layout == "rgb8":
        expected = opened[..., ::-1].transpose(2, 0, 1)
    else:
        expected = (opened // (255 // (2**fmt.bit_depth - 1))).reshape(fmt.shape)
    if expected.max() < fmt.levels:
        assert np.array_equal(unpack(png, fmt), expected)
    else:
        assert refusal(png, fmt).reason == "MAP_SYMBOL_OUT_OF_RANGE"


def test_image_data_may_come_in_several_chunks() -> None:
    data = zlib.compress(RAW)
    png = png_of(IHDR, chunk(b"IDAT", data[:5]), chunk(b"IDAT", data[5:]), IEND)
    assert not unpack(png, FOUR_LEVELS).any()


def test_packing_refuses_symbols_that_are_not_of_the_format() -> None:
    with pytest.raises(ValueError, match=r"shape \(3, 14, 12\)"):
        pack(np.zeros((3, 14, 12), np.uint8), FOUR_LEVELS)
    with pytest.raises(ValueError, match="symbol 4; the largest is 3"):
        pack(np.full(FOUR_LEVELS.shape, 4, np.uint8), FOUR_LEVELS)


@pytest.mark.parametrize(
    ("sides", "levels", "layout", "told"),
    [
        ((3, 14, 12), 1, "row", "1 levels"),
        ((3, 14, 12), 257, "row", "257 levels"),
        ((0, 14, 12), 4, "row", "every side"),
        ((3, -1, 12), 4, "row", "every side"),
        ((3, 14, 0), 4, "row", "every side"),
        ((6, 14, 12), 4, "rgb8", "6 channels"),
        ((3, 14, 12), 257, "rgb8", "257 levels"),
        ((3, 14, 12), 4, "tiles", "tiles"),
        ((25, 14, 12), 256, "row", "4269 bytes"),
    ],
)
def test_an_impossible_format_cannot_be_built(
    sides: tuple[int, int, int], levels: int, layout: Layout, told: str
) -> None:
    with pytest.raises(ValueError, match=told):
        MapFormat(*sides, levels, layout)


def test_all_symbols_but_one_can_be_spared() -> None:
    assert MapFormat(3, 14, 12, 4, "row", spared=3 * 14 * 12 - 1).geometry.width == 1


@pytest.mark.parametrize(("layout", "spared"), [("row", -1), ("row", 3 * 14 * 12), ("rgb8", 1)])
def test_a_format_spares_less_than_a_map(layout: Layout, spared: int) -> None:
    with pytest.raises(ValueError, match=f"{spared} symbols spared"):
        MapFormat(3, 14, 12, 256, layout, spared)


def test_spared_symbols_are_not_sent_and_lie_between_the_levels() -> None:
    received = unpack(pack(np.ones(SPARING.shape, np.uint8), SPARING), SPARING)
    several = dequantize(np.stack([received, received]), SPARING)
    assert (several[:, :3] == 1).all()
    assert (several[:, 3, :12] == 1).all()
    assert (several[:, 3, 12:] == 0).all()
    assert len(pack(random_symbols(SPARING), SPARING)) == 150  # the tiny operating point's


# Refusals


@pytest.mark.parametrize(
    ("png", "reason"),
    [
        (b"", "MAP_NOT_PNG"),
        (b"\xff\xd8\xff\xe0 a JPEG", "MAP_NOT_PNG"),
        (bytes(4097), "MAP_TOO_LARGE"),
        (png_of(), "MAP_TRUNCATED"),
        (png_of(IHDR, IDAT), "MAP_TRUNCATED"),
        (png_of(IHDR, IDAT, IEND, b"\0"), "MAP_TRAILING_BYTES"),
        (png_of(IHDR, IDAT, IEND, IEND), "MAP_TRAILING_BYTES"),
        (png_of(IHDR, IDAT, IEND[:-1] + b"\0"), "MAP_BAD_CRC"),
        (png_of(IDAT, IEND), "MAP_CHUNK_NOT_ALLOWED"),
        (png_of(IHDR, IEND), "MAP_CHUNK_NOT_ALLOWED"),
        (png_of(IHDR, IHDR, IDAT, IEND), "MAP_CHUNK_NOT_ALLOWED"),
        (png_of(IHDR, chunk(b"tEXt", b"a\0b"), IDAT, IEND), "MAP_CHUNK_NOT_ALLOWED"),
        (png_of(IHDR, IDAT, chunk(b"\xff\0\n ", b""), IEND), "MAP_CHUNK_NOT_ALLOWED"),
        (png_of(IHDR, IDAT, chunk(b"IEND", b"more")), "MAP_CHUNK_NOT_ALLOWED"),
        (png_of(chunk(b"IHDR", b"short"), IDAT, IEND), "MAP_GEOMETRY"),
        (png_of(header(1007), IDAT, IEND), "MAP_GEOMETRY"),
        (png_of(header(20000, 20000), IDAT, IEND), "MAP_GEOMETRY"),
        (png_of(header(1008, depth=4), IDAT, IEND), "MAP_GEOMETRY"),
        (png_of(header(1008, color=3), IDAT, IEND), "MAP_GEOMETRY"),
        (png_of(header(1008, tail=b"\1\0\0"), IDAT, IEND), "MAP_GEOMETRY"),
        (png_of(header(1008, tail=b"\0\0\1"), IDAT, IEND), "MAP_GEOMETRY"),
        (png_of(IHDR, chunk(b"IDAT", b"not zlib"), IEND), "MAP_BAD_DATA"),
        (png_of(IHDR, chunk(b"IDAT", b""), IEND), "MAP_DATA_LENGTH"),
        (png_of(IHDR, chunk(b"IDAT", zlib.compress(RAW[1:])), IEND), "MAP_DATA_LENGTH"),
        (png_of(IHDR, chunk(b"IDAT", zlib.compress(RAW + b"\0")), IEND), "MAP_DATA_LENGTH"),
        (png_of(IHDR, chunk(b"IDAT", zlib.compress(RAW)[:-1]), IEND), "MAP_DATA_LENGTH"),
        (png_of(IHDR, chunk(b"IDAT", zlib.compress(RAW) + b"x"), IEND), "MAP_DATA_LENGTH"),
        (png_of(IHDR, chunk(b"IDAT", zlib.compress(b"\5" + RAW[1:])), IEND), "MAP_BAD_FILTER"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_damaged_or_foreign_file_is_refused_with_its_reason(png: bytes, reason: str) -> None:
    assert refusal(png).reason == reason


def test_a_refusal_names_the_value_and_the_limit() -> None:
    assert refusal(bytes(4097)).message == ("compact map is 4097 bytes; at most 4096 are accepted")
    assert refusal(png_of(header(20000, 30000), IDAT, IEND)).message == (
        "compact map has 20000x30000 pixels, bit depth 2, colour type 0, methods 0/0/0; "
        "its codec needs 1008x1 pixels, bit depth 2, colour type 0, methods 0/0/0"
    )


def test_a_symbol_beyond_the_levels_is_refused() -> None:
    three_levels = MapFormat(6, 14, 12, 3, "row")
    symbols = np.zeros(FOUR_LEVELS.shape, np.uint8)
    symbols[5, 13, 11] = 3
    error = refusal(pack(symbols, FOUR_LEVELS), three_levels)
    assert error.reason == "MAP_SYMBOL_OUT_OF_RANGE"
    assert error.message == "compact map has symbol 3; the largest of its codec is 2"


def test_a_colour_profile_that_inflates_to_megabytes_is_refused() -> None:
    profile = chunk(b"iCCP", b"icc\0\0" + zlib.compress(bytes(2_000_000), 9))
    png = png_of(IHDR, profile, IDAT, IEND)
    assert len(png) < 4096
    assert refusal(png).reason == "MAP_CHUNK_NOT_ALLOWED"
    wide = png_of(
        IHDR, chunk(b"iCCP", b"icc\0\0" + zlib.compress(bytes(58_000_000), 9)), IDAT, IEND
    )
    assert len(wide) > 50_000
    assert refusal(wide).reason == "MAP_TOO_LARGE"


def test_image_data_that_inflates_to_megabytes_is_refused() -> None:
    bomb = png_of(IHDR, chunk(b"IDAT", zlib.compress(bytes(3_000_000), 9)), IEND)
    assert len(bomb) < 4096
    assert refusal(bomb).reason == "MAP_DATA_LENGTH"


@pytest.mark.parametrize("fmt", [FORMATS[1], FOUR_LEVELS], ids=name)
def test_a_map_cut_short_anywhere_is_refused(fmt: MapFormat) -> None:
    png = pack(smooth_symbols(fmt), fmt)
    for length in range(len(png)):
        assert refusal(png[:length], fmt).reason in {"MAP_NOT_PNG", "MAP_TRUNCATED"}


@pytest.mark.parametrize("fmt", [FORMATS[1], FOUR_LEVELS], ids=name)
def test_a_map_with_any_byte_changed_is_refused(fmt: MapFormat) -> None:
    png = pack(smooth_symbols(fmt), fmt)
    for offset in range(len(png)):
        for flip in (0x01, 0x20, 0xFF):
            damaged = bytearray(png)
            damaged[offset] ^= flip
            refusal(bytes(damaged), fmt)


def test_random_image_data_with_right_checksums_is_read_or_refused() -> None:
    """Behind valid checksums nothing but InvalidCompactMap can come out of arbitrary bytes."""
    rng = np.random.default_rng(0)
    good = zlib.compress(rng.integers(0, 256, 253, dtype=np.uint8).tobytes())
    outcomes = set()
    for _ in range(500):
        data = bytearray(good)
        data[rng.integers(len(data))] = rng.integers(256)
        try:
            unpack(png_of(IHDR, chunk(b"IDAT", bytes(data)), IEND), FOUR_LEVELS)
        except InvalidCompactMap as error:
            outcomes.add(error.reason)
    assert "MAP_BAD_DATA" in outcomes
