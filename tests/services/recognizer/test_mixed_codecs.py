"""A gallery of two codecs whose thresholds differ: decisions go by those of each face."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from compactface.v1.compact_map_pb2 import CompactMap
from compactface.v1.gallery_pb2 import ON_DUPLICATE_ALLOW
from compactface.v1.recognizer_pb2 import IDENTIFY_DECISION_MATCH, VERIFY_DECISION_MATCH
from tests.services.asking import crop_map, enroll, identify, verify
from tests.services.conftest import clouds
from tests.services.hosting import (
    Service,
    failure,
    running_encoder,
    running_recognizer,
)
from tests.tiny_model import write_tiny_model

pytestmark = pytest.mark.asyncio(loop_scope="session")

# No two pictures are as similar as standard maps must be, and any are as paper maps must be.
LOWERED_BY = {("standard", "standard"): -0.099, ("standard", "paper"): 1.0}


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    models = tmp_path_factory.mktemp("models")
    write_tiny_model(models, tmp_path_factory.mktemp("scratch"), lowered_by=LOWERED_BY)
    return models


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def paper(models: Path) -> list[CompactMap]:
    """The paper codec's maps of the people of `people`."""
    async with running_encoder(models, operating_point="paper") as encoder:
        return [await crop_map(encoder, clouds(seed)) for seed in range(4)]


@pytest_asyncio.fixture(loop_scope="session")
async def mixed(models: Path, tmp_path: Path) -> AsyncIterator[Service]:
    async with running_recognizer(models, tmp_path / "gallery.sqlite") as service:
        yield service


STRICT = {"max_fpir": 1e-6}


async def test_who_exceeds_the_threshold_is_found_though_another_is_more_similar(
    mixed: Service, people: list[CompactMap], again: list[CompactMap], paper: list[CompactMap]
) -> None:
    await enroll(mixed, "", "alike", people[0], on_duplicate=ON_DUPLICATE_ALLOW)
    await enroll(mixed, "", "matching", paper[1], on_duplicate=ON_DUPLICATE_ALLOW)
    (nearest,) = (await identify(mixed, "", again[0], min_similarity=-1)).candidates
    assert nearest.subject_id == "alike"
    answer = await identify(mixed, "", again[0], **STRICT)
    assert answer.decision == IDENTIFY_DECISION_MATCH
    (found,) = answer.candidates
    assert (found.subject_id, found.matched) == ("matching", True)
    assert found.similarity < nearest.similarity
    assert found.threshold == answer.threshold.similarity
    both = (await identify(mixed, "", again[0], max_subjects=2, **STRICT)).candidates
    assert [(each.subject_id, each.matched) for each in both] == [
        ("matching", True),
        ("alike", False),
    ]
    assert both[1].threshold > both[0].threshold + 1


async def test_a_subject_is_verified_by_the_face_that_exceeds_its_threshold(
    mixed: Service, people: list[CompactMap], again: list[CompactMap], paper: list[CompactMap]
) -> None:
    enrolled = await enroll(mixed, "", "both", people[0], paper[1])
    answer = await verify(mixed, "", again[0], "both", max_fmr=1e-6)
    assert answer.decision == VERIFY_DECISION_MATCH
    assert answer.face_id == enrolled.faces[1].face_id
    assert answer.threshold.similarity < 0.2


async def test_a_duplicate_is_refused_by_the_codec_of_the_face_that_it_looks_like(
    mixed: Service, people: list[CompactMap], again: list[CompactMap], paper: list[CompactMap]
) -> None:
    await enroll(mixed, "", "alike", people[0])
    await enroll(mixed, "", "matching", paper[1], on_duplicate=ON_DUPLICATE_ALLOW)
    error = await failure(enroll(mixed, "", "new", again[0]))
    assert (error.reason, error.metadata) == ("DUPLICATE_FACE", {"subject_id": "matching"})
