"""At which operating point the command line encodes photos in its own process."""

from datetime import UTC, datetime
from pathlib import Path

import pytest
from PIL import Image

from command_line.photos import LocalEncoder, encode_photo, take_one_face
from shared.errors import InvalidImage, InvalidInput
from shared.model_directory import CodecConfig, ModelDirectory
from tests import tiny_model
from tests.tiny_model import FAMILY, write_tiny_model

PHOTO = Path(__file__).parents[2] / "data" / "joe_biden_blue_room.jpg"


def codec_of(encoder: LocalEncoder) -> str:
    return encoder.encode(PHOTO.read_bytes()).faces[0].map.codec_id


def test_enrolment_takes_the_fine_point_and_questions_the_default_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fine = CodecConfig(channels=12, levels=4, layout="row", widths=(4, 8, 8, 12))
    monkeypatch.setitem(tiny_model.CODECS, "fine", fine)
    write_tiny_model(tmp_path / "models", tmp_path / "scratch")
    manifest = ModelDirectory.load(tmp_path / "models", FAMILY).manifest
    enrolling = LocalEncoder(tmp_path / "models", FAMILY, enrolling=True)
    assert codec_of(enrolling) == manifest.codecs["fine"].codec_id
    asking = LocalEncoder(tmp_path / "models", FAMILY)
    assert codec_of(asking) == manifest.codecs["standard"].codec_id


def test_a_model_without_a_fine_point_enrols_at_its_default_one(
    tiny_models: Path, tiny_model: ModelDirectory
) -> None:
    encoder = LocalEncoder(tiny_models, FAMILY, enrolling=True)
    assert codec_of(encoder) == tiny_model.codec().codec_id


@pytest.fixture(scope="module")
def encoder(tiny_models: Path) -> LocalEncoder:
    return LocalEncoder(tiny_models, FAMILY)


def photo_with(tmp_path: Path, **times: str) -> Path:
    """A portrait with times in its EXIF."""
    exif = Image.Exif()
    numbers = {"taken": 0x9003, "offset": 0x9011}
    exif[0x8769] = {numbers[name]: text for name, text in times.items()}
    with Image.open(PHOTO) as photo:
        photo.save(tmp_path / "photo.jpg", exif=exif)
    return tmp_path / "photo.jpg"


def test_a_face_was_captured_when_its_photo_says(encoder: LocalEncoder, tmp_path: Path) -> None:
    photo = photo_with(tmp_path, taken="2012:12:06 14:30:00", offset="-05:00")
    (face,) = encode_photo(encoder, photo).faces
    taken = face.map.capture_time.ToDatetime(tzinfo=UTC)
    assert taken == datetime(2012, 12, 6, 19, 30, tzinfo=UTC)


@pytest.mark.parametrize("times", [{}, {"taken": "2012:12:06 14:30:00"}])
def test_nobody_guesses_when_a_photo_was_taken_or_in_which_time_zone(
    encoder: LocalEncoder, tmp_path: Path, times: dict[str, str]
) -> None:
    (face,) = encode_photo(encoder, photo_with(tmp_path, **times)).faces
    assert not face.map.HasField("capture_time")


def test_the_most_prominent_of_several_faces_is_taken_with_a_note(
    encoder: LocalEncoder, tmp_path: Path
) -> None:
    with Image.open(PHOTO) as photo:
        crowd = Image.new("RGB", (3 * photo.width, photo.height))
        for column in range(3):
            crowd.paste(photo, (column * photo.width, 0))
    crowd.save(tmp_path / "crowd.jpg")
    with pytest.raises(InvalidInput, match="3 faces were found where one is expected") as caught:
        take_one_face(encoder, tmp_path / "crowd.jpg", most_prominent=False)
    assert caught.value.reason == "SEVERAL_FACES"
    taken = take_one_face(encoder, tmp_path / "crowd.jpg", most_prominent=True)
    assert crowd.width / 3 < taken.face.box.x < crowd.width * 2 / 3
    assert taken.note.startswith("3 faces were found; the most prominent was used, ")
    assert take_one_face(encoder, PHOTO, most_prominent=True).note == ""


def test_a_photo_that_would_fit_no_message_is_read_in_this_process(
    encoder: LocalEncoder, tmp_path: Path
) -> None:
    large = tmp_path / "large.jpg"
    large.write_bytes(PHOTO.read_bytes() + bytes(20 << 20))
    assert len(encode_photo(encoder, large).faces) == 1
    with large.open("r+b") as file:
        file.truncate(65 << 20)
    with pytest.raises(InvalidImage, match="at most 67108864 are accepted"):
        encode_photo(encoder, large)
