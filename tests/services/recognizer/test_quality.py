"""A model with a quality head: what maps say of their faces, whatever the camera claims."""

import io
import threading
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import pytest_asyncio
from PIL import Image

from compactface.v1.compact_map_pb2 import CompactMap
from compactface.v1.encoder_pb2 import PICTURE_KIND_CROP, EncodeRequest
from compactface.v1.recognizer_pb2 import (
    IDENTIFY_DECISION_LOW_QUALITY,
    IDENTIFY_DECISION_MATCH,
    VERIFY_DECISION_LOW_QUALITY,
    VERIFY_DECISION_MATCH,
    VERIFY_DECISION_NO_MATCH,
)
from shared.inference.map_decoder import MapDecoder, Symbols
from shared.inference.quality_head import Judged, QualityHead
from shared.model_directory import LengthConfig, ModelDirectory
from tests.services.asking import crop_map, enroll, identify, verify, with_quality
from tests.services.hosting import (
    Service,
    close_to,
    failure,
    fields_of,
    running_encoder,
    running_recognizer,
)
from tests.tiny_quality import HEAD, write_judging_model

SAMPLES = Path(__file__).parents[2] / "data"

pytestmark = pytest.mark.asyncio(loop_scope="session")


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory, tiny_model: ModelDirectory) -> Path:
    folder = tmp_path_factory.mktemp("judging")
    write_judging_model(tiny_model, folder)
    return folder


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def camera(models: Path) -> AsyncIterator[Service]:
    async with running_encoder(models) as service:
        yield service


@pytest_asyncio.fixture(loop_scope="session")
async def judging(models: Path, tmp_path: Path) -> AsyncIterator[Service]:
    async with running_recognizer(models, tmp_path / "gallery.sqlite", min_quality=0.15) as service:
        yield service


def crop(seed: int, brightness: float) -> bytes:
    """Coloured clouds of a mean brightness in [0, 1]."""
    coarse = np.random.default_rng(seed).uniform(-40, 40, (14, 12, 3)) + 255 * brightness
    picture = Image.fromarray(coarse.clip(0, 255).astype(np.uint8))
    file = io.BytesIO()
    picture.resize((96, 112), Image.Resampling.BICUBIC).save(file, "PNG")
    return file.getvalue()


async def claimed(camera: Service, seed: int, brightness: float, quality: float) -> CompactMap:
    return with_quality(await crop_map(camera, crop(seed, brightness)), quality)


async def test_the_camera_tells_quality_and_flaws_of_the_map(camera: Service) -> None:
    request = EncodeRequest(image=crop(1, 0.0), kind=PICTURE_KIND_CROP)
    (face,) = (await camera.encoder.Encode(request)).faces
    assert face.quality < 0.15
    assert face.map.quality == face.quality
    assert face.flaws.dark > 0.9
    assert face.flaws.not_a_face < 0.1


async def test_a_crop_that_is_no_face_is_refused(camera: Service) -> None:
    request = EncodeRequest(image=crop(1, 1.0), kind=PICTURE_KIND_CROP)
    error = await failure(camera.encoder.Encode(request))
    assert error.reason == "NOT_A_FACE"


async def test_a_face_cut_by_the_edge_is_poor_whatever_its_map_says(camera: Service) -> None:
    with Image.open(SAMPLES / "barack_obama_portrait_2012.jpg") as opened:
        whole = opened.convert("RGB")
    (face,) = (await camera.encoder.Encode(EncodeRequest(image=_jpeg(whole)))).faces
    assert face.flaws.outside == 0
    mouth = round(face.landmarks.mouth_left.y)
    cut = whole.crop((0, 0, whole.width, mouth - round(face.eye_distance / 4)))
    (partial,) = (await camera.encoder.Encode(EncodeRequest(image=_jpeg(cut)))).faces
    assert partial.flaws.outside == 1
    assert partial.quality <= 0.11 < face.quality


def _jpeg(picture: Image.Image) -> bytes:
    file = io.BytesIO()
    picture.save(file, "JPEG", quality=95)
    return file.getvalue()


async def test_an_encoder_starts_whose_model_takes_grey_for_no_face(
    tiny_model: ModelDirectory, tmp_path: Path
) -> None:
    write_judging_model(tiny_model, tmp_path, white_from=0.8)
    async with running_encoder(tmp_path) as camera:
        request = EncodeRequest(image=crop(1, 0.5), kind=PICTURE_KIND_CROP)
        assert (await failure(camera.encoder.Encode(request))).reason == "NOT_A_FACE"


async def test_the_lower_of_claim_and_map_counts(camera: Service, judging: Service) -> None:
    dark, light = await claimed(camera, 1, 0.0, 1.0), await claimed(camera, 1, 0.5, 1.0)
    assert (await verify(judging, "", dark, light)).decision == VERIFY_DECISION_LOW_QUALITY
    answer = await verify(judging, "", light, light)
    assert answer.decision == VERIFY_DECISION_MATCH
    assert 0.3 < answer.lowest_quality < 0.7
    humble = with_quality(light, 0.01)
    assert (await verify(judging, "", humble, light)).decision == VERIFY_DECISION_LOW_QUALITY


async def test_an_embedding_that_is_too_short_is_of_low_quality(
    tiny_model: ModelDirectory, tmp_path: Path
) -> None:
    """The map is good enough, and so is what the camera claims."""
    unsure = LengthConfig(usual=20, weight=1, scale=HEAD.scale)
    write_judging_model(tiny_model, tmp_path, length=unsure)
    async with (
        running_encoder(tmp_path) as camera,
        running_recognizer(tmp_path, tmp_path / "gallery.sqlite", min_quality=0.15) as service,
    ):
        light = await claimed(camera, 1, 0.5, 1.0)
        assert (await failure(enroll(service, "", "a", light))).reason == "QUALITY_TOO_LOW"
        await enroll(service, "", "a", light, allow_low_quality=True)
        found = await identify(service, "", light)
        assert found.decision == IDENTIFY_DECISION_LOW_QUALITY
        assert found.probe_quality == 0
        assert (await verify(service, "", light, light)).decision == VERIFY_DECISION_LOW_QUALITY


async def test_without_a_claim_the_map_is_judged(camera: Service, judging: Service) -> None:
    dark = await claimed(camera, 1, 0.0, 1.0)
    dark.ClearField("quality")
    await enroll(judging, "", "a", await claimed(camera, 1, 0.5, 1.0))
    answer = await identify(judging, "", dark)
    assert answer.decision == IDENTIFY_DECISION_LOW_QUALITY
    assert answer.quality_checked
    assert answer.probe_quality < 0.15
    assert answer.probe_flaws.dark > 0.9


async def test_faces_spoilt_alike_have_more_to_reach(camera: Service, judging: Service) -> None:
    """Both are a little dark: 0.18 of 1, above the minimum."""
    one, other = await claimed(camera, 1, 0.2, 1.0), await claimed(camera, 2, 0.2, 1.0)
    light = await claimed(camera, 2, 0.5, 1.0)
    alike, unlike = await verify(judging, "", one, other), await verify(judging, "", one, light)
    assert alike.threshold.similarity == close_to(0.6 + alike.threshold.allowance)
    assert alike.threshold.allowance > 0.1
    assert list(alike.threshold.alike) == ["dark"]
    assert unlike.threshold.allowance < 0.02
    assert not unlike.threshold.alike
    asked = await verify(judging, "", one, other, min_similarity=0.3)
    assert asked.threshold.similarity == close_to(0.3)


async def test_who_is_enrolled_in_as_poor_a_photograph_has_more_to_reach(
    camera: Service, judging: Service
) -> None:
    dark, other = await claimed(camera, 1, 0.2, 1.0), await claimed(camera, 2, 0.5, 1.0)
    await enroll(judging, "", "dark", dark)
    await enroll(judging, "", "other", other, on_duplicate=2)
    answer = await identify(judging, "", dark, max_subjects=2)
    assert answer.decision == IDENTIFY_DECISION_MATCH
    of = {found.subject_id: found.threshold for found in answer.candidates}
    assert of["dark"] > of["other"] + 0.1
    assert answer.threshold.allowance > 0.1
    assert list(answer.threshold.alike) == ["dark"]
    claim = await verify(judging, "", dark, "dark")
    assert list(claim.threshold.alike) == ["dark"]


async def test_maps_are_parsed_once_and_judged_off_the_event_loop(
    camera: Service, judging: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    probe = await claimed(camera, 1, 0.5, 1.0)
    parsed: list[bytes] = []
    judged_in: list[int] = []
    unpack, judge = MapDecoder.unpack, QualityHead.judge

    def noted_unpack(decoder: MapDecoder, codec_id: str, png: bytes) -> Symbols:
        parsed.append(png)
        return unpack(decoder, codec_id, png)

    def noted_judge(head: QualityHead, *given: Any) -> Judged:
        judged_in.append(threading.get_ident())
        return judge(head, *given)

    monkeypatch.setattr(MapDecoder, "unpack", noted_unpack)
    monkeypatch.setattr(QualityHead, "judge", noted_judge)
    other = await claimed(camera, 2, 0.5, 1.0)
    judged_in.clear()  # of the camera's
    await enroll(judging, "", "other", other)
    assert parsed == [other.png]
    parsed.clear()
    await identify(judging, "", probe)
    await verify(judging, "", probe, "other")
    await verify(judging, "", probe, other)
    # The second of the three knows the enrolled map.
    assert sorted(parsed) == sorted([*3 * [probe.png], *2 * [other.png]])
    assert len(judged_in) == 2 + 2 + 1 + 2  # an enrolled face before it is embedded, and after
    assert threading.get_ident() not in judged_in  # the services' loop runs in this thread


async def test_a_poor_face_is_enrolled_only_if_asked(camera: Service, judging: Service) -> None:
    dark = await claimed(camera, 1, 0.0, 1.0)
    error = await failure(enroll(judging, "", "a", dark))
    assert error.reason == "QUALITY_TOO_LOW"
    assert fields_of(error) == ["maps[0]"]
    assert "dark" in error.message
    answer = await enroll(judging, "", "a", dark, allow_low_quality=True)
    assert len(answer.faces) == 1


async def test_no_face_is_ever_enrolled(
    camera: Service, encoder: Service, judging: Service
) -> None:
    white = await crop_map(encoder, crop(1, 1.0))  # of a camera whose model has no head
    light = await claimed(camera, 2, 0.5, 1.0)
    error = await failure(enroll(judging, "", "a", light, white, allow_low_quality=True))
    assert error.reason == "NOT_A_FACE"
    assert fields_of(error) == ["maps[1]"]


async def test_a_model_without_a_head_judges_as_before(
    encoder: Service, recognizer: Service, collection: str
) -> None:
    dark = with_quality(await crop_map(encoder, crop(1, 0.0)), 0.9)
    await enroll(recognizer, collection, "a", dark)
    answer = await verify(recognizer, collection, dark, dark)
    assert answer.decision == VERIFY_DECISION_MATCH
    assert answer.threshold.allowance == 0
    other = with_quality(await crop_map(encoder, crop(2, 0.5)), 0.9)
    assert (await verify(recognizer, collection, dark, other)).decision == VERIFY_DECISION_NO_MATCH
