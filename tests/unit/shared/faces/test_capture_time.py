"""When a picture was taken, as its file says."""

from datetime import UTC, datetime

import pytest
from PIL import Image

from shared.faces.picture_file import capture_time
from tests.unit.shared.faces.pictures import DATA, saved, scene


def exif_of(**times: str) -> Image.Exif:
    exif = Image.Exif()
    numbers = {"taken": 0x9003, "offset": 0x9011, "digitized": 0x9004}
    if "changed" in times:
        exif[0x0132] = times.pop("changed")
    exif[0x8769] = {numbers[name]: text for name, text in times.items()}
    return exif


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "AVIF", "TIFF"])
def test_the_capture_time_is_that_of_exif_with_its_offset(kind: str) -> None:
    exif = exif_of(taken="2012:12:06 14:30:00", offset="-05:00", changed="2020:01:01 00:00:00")
    options = {"tiffinfo": {0x8769: exif[0x8769]}} if kind == "TIFF" else {"exif": exif}
    data = saved(scene(), kind, **options)
    assert capture_time(data) == datetime(2012, 12, 6, 19, 30, tzinfo=UTC)


def test_that_of_heic_is_read_too() -> None:
    data = (DATA / "collins_turned.heic").read_bytes()
    assert capture_time(data) == datetime(2012, 12, 6, 19, 30, tzinfo=UTC)


@pytest.mark.parametrize(
    "times",
    [
        {},
        {"taken": "2012:12:06 14:30:00"},
        {"taken": "2012:12:06 14:30:00", "offset": "   :  "},
        {"taken": "0000:00:00 00:00:00", "offset": "+00:00"},
        {"taken": "0001:01:01 00:00:00", "offset": "+14:00"},
        {"digitized": "2012:12:06 14:30:00", "offset": "+00:00"},
    ],
)
def test_without_an_offset_the_capture_time_is_unknown(times: dict[str, str]) -> None:
    assert capture_time(saved(scene(), "JPEG", exif=exif_of(**times))) is None


def test_what_is_no_picture_has_no_capture_time() -> None:
    assert capture_time(b"hello") is None
