"""What callers without the scope admin learn of people who are enrolled, and how often."""

import io
from collections.abc import AsyncIterator
from pathlib import Path
from uuid import uuid4

import numpy as np
import pytest
import pytest_asyncio
from google.protobuf.duration_pb2 import Duration
from google.protobuf.field_mask_pb2 import FieldMask
from PIL import Image

from compactface.v1 import gallery_pb2, recognizer_pb2
from compactface.v1.compact_map_pb2 import CompactMap
from tests.faults.climb import attack
from tests.services.access import AccessFolder, bearer
from tests.services.asking import as_probe
from tests.services.conftest import clouds
from tests.services.hosting import Service, failure, running_recognizer

pytestmark = pytest.mark.asyncio(loop_scope="session")

FAILURES = 3


class Site:
    """A recognizer with an access file, and what a caller asks it."""

    def __init__(self, service: Service, access: AccessFolder) -> None:
        self.service = service
        self.admin = access.token("admin", "verify", name="admin")
        self.door = access.token("verify", "identify", name="door")
        self.gate = access.token("verify", "identify", name="gate")
        self.office = access.token("enroll", name="office")

    async def enroll(
        self, subject: str, *maps: CompactMap, token: str = ""
    ) -> gallery_pb2.EnrollResponse:
        request = gallery_pb2.EnrollRequest(
            subject_id=subject, maps=maps, on_duplicate=gallery_pb2.ON_DUPLICATE_ALLOW
        )
        return await self.service.gallery.Enroll(request, metadata=bearer(token or self.admin))

    def verify(self, token: str, probe: CompactMap, subject: str, **threshold: float):  # noqa: ANN201
        request = recognizer_pb2.VerifyRequest(
            probe=as_probe(probe),
            subject_id=subject,
            threshold=recognizer_pb2.VerifyThreshold(**threshold),
        )
        return self.service.recognizer.Verify(request, metadata=bearer(token))

    def identify(self, token: str, probe: CompactMap, **threshold: float):  # noqa: ANN201
        request = recognizer_pb2.IdentifyRequest(
            probe=as_probe(probe),
            threshold=recognizer_pb2.IdentifyThreshold(**threshold),
            max_subjects=5,
        )
        return self.service.recognizer.Identify(request, metadata=bearer(token))


@pytest_asyncio.fixture(loop_scope="session")
async def site(tiny_models: Path, tmp_path: Path, people: list[CompactMap]) -> AsyncIterator[Site]:
    access = AccessFolder(tmp_path / "access.toml")
    access.role(["verify"], ["*"])
    async with running_recognizer(
        tiny_models,
        tmp_path / "gallery.sqlite",
        access=access.path,
        failed_verifications=FAILURES,
        failed_verification_seconds=3600,
    ) as service:
        made = Site(service, access)
        for number in range(2):
            await made.enroll(f"person-{number}", people[number])
        yield made


async def test_verify_tells_its_decision_alone(site: Site, people: list[CompactMap]) -> None:
    for probe, decision in (
        (people[0], recognizer_pb2.VERIFY_DECISION_MATCH),
        (people[2], recognizer_pb2.VERIFY_DECISION_NO_MATCH),
    ):
        answer = await site.verify(site.door, probe, "person-0")
        assert answer.decision == decision
        assert (answer.similarity, answer.estimated_fmr) == (0, 0)
        assert answer.similarities_withheld
        assert answer.threshold.fmr == pytest.approx(1e-3)
        full = await site.verify(site.admin, probe, "person-0")
        assert full.similarity != 0
        assert not full.similarities_withheld
    assert answer.face_id == ""
    request = recognizer_pb2.VerifyRequest(probe=as_probe(people[0]), map=people[1])
    between = await site.service.recognizer.Verify(request, metadata=bearer(site.door))
    assert between.similarity == 0


async def test_identify_lists_matches_alone(site: Site, people: list[CompactMap]) -> None:
    known = await site.identify(site.door, people[0])
    assert [each.subject_id for each in known.candidates] == ["person-0"]
    assert known.candidates[0].similarity == 0
    assert known.similarities_withheld
    stranger = await site.identify(site.door, people[2])
    assert stranger.decision == recognizer_pb2.IDENTIFY_DECISION_NO_MATCH
    assert not stranger.candidates
    assert len((await site.identify(site.admin, people[2])).candidates) == 2
    request = recognizer_pb2.BatchIdentifyRequest(
        requests=[recognizer_pb2.IdentifyRequest(probe=as_probe(people[n])) for n in (0, 2)]
    )
    batch = await site.service.recognizer.BatchIdentify(request, metadata=bearer(site.door))
    assert [len(result.response.candidates) for result in batch.results] == [1, 0]
    assert batch.results[0].response.candidates[0].similarity == 0


async def test_an_enrolment_does_not_tell_how_unlike_a_face_is(
    site: Site, people: list[CompactMap]
) -> None:
    answer = await site.enroll("person-0", people[3], token=site.office)
    assert [each.similarity for each in answer.disagreements] == [0]
    answer = await site.enroll("person-1", people[3])
    assert answer.disagreements[0].similarity != 0


async def test_nobody_finds_out_a_similarity_by_trying_thresholds(
    site: Site, people: list[CompactMap]
) -> None:
    for call in (
        site.verify(site.door, people[0], "person-0", max_fmr=0.5),
        site.verify(site.door, people[0], "person-0", min_similarity=0.9),
        site.identify(site.door, people[0], max_fpir=0.9),
        site.identify(site.door, people[0], min_similarity=0.1),
    ):
        error = await failure(call)
        assert (error.code, error.reason) == ("PERMISSION_DENIED", "THRESHOLD_FORBIDDEN")
    strict = await site.verify(site.door, people[0], "person-0", max_fmr=1e-5)
    assert strict.threshold.fmr == pytest.approx(1e-5)
    await site.verify(site.admin, people[0], "person-0", max_fmr=0.5)


async def test_who_fails_too_often_is_refused_for_that_subject_alone(
    site: Site, people: list[CompactMap]
) -> None:
    for _ in range(2 * FAILURES):  # a match costs nothing
        await site.verify(site.door, people[0], "person-0")
    for _ in range(FAILURES):
        answer = await site.verify(site.door, people[2], "person-0")
        assert answer.decision == recognizer_pb2.VERIFY_DECISION_NO_MATCH
    for probe in (people[2], people[0]):
        error = await failure(site.verify(site.door, probe, "person-0"))
        assert (error.code, error.reason) == ("RESOURCE_EXHAUSTED", "ATTEMPTS_SPENT")
        assert error.retry_after_s is not None
        assert 0 < error.retry_after_s <= 3600
    refused = site.service.sample("compactface_attempts_refused_total", question="verify")
    assert refused == 2

    await site.verify(site.door, people[2], "person-1")
    for token in (site.gate, site.admin):
        await site.verify(token, people[2], "person-0")


async def test_failures_of_a_sighting_are_limited_as_those_of_a_subject(
    site: Site, people: list[CompactMap]
) -> None:
    """Its map is not the caller's own; two maps that are may be compared as often as one likes."""
    of_admin = bearer(site.admin)
    await site.service.gallery.UpdateCollection(
        gallery_pb2.UpdateCollectionRequest(
            collection=gallery_pb2.Collection(
                collection_id="default", sighting_retention=Duration(seconds=3600)
            ),
            update_mask=FieldMask(paths=["sighting_retention"]),
        ),
        metadata=of_admin,
    )
    ids = [str(uuid4()) for _ in range(2)]
    sent = [recognizer_pb2.StreamMapsRequest(sighting_id=each, map=people[0]) for each in ids]
    async for answer in site.service.recognizer.StreamMaps(iter(sent), metadata=of_admin):
        assert answer.outcome == recognizer_pb2.StreamMapsResponse.OUTCOME_STORED

    def verify(token: str, sighting: str, face: CompactMap):  # noqa: ANN202
        probe = recognizer_pb2.Probe(sighting_id=sighting)
        request = recognizer_pb2.VerifyRequest(probe=probe, map=face)
        return site.service.recognizer.Verify(request, metadata=bearer(token))

    for _ in range(2 * FAILURES):
        answer = await verify(site.door, ids[0], people[0])
        assert answer.decision == recognizer_pb2.VERIFY_DECISION_MATCH
    for _ in range(FAILURES):
        await verify(site.door, ids[0], people[2])
    error = await failure(verify(site.door, ids[0], people[2]))
    assert (error.code, error.reason) == ("RESOURCE_EXHAUSTED", "ATTEMPTS_SPENT")
    await verify(site.door, ids[1], people[2])
    for token in (site.gate, site.admin):
        await verify(token, ids[0], people[2])
    for _ in range(2 * FAILURES):
        between = recognizer_pb2.VerifyRequest(probe=as_probe(people[0]), map=people[2])
        await site.service.recognizer.Verify(between, metadata=bearer(site.door))


async def test_many_attempts_at_once_are_no_way_around(
    site: Site, people: list[CompactMap]
) -> None:
    calls = [site.verify(site.gate, people[2], "person-1") for _ in range(4 * FAILURES)]
    codes = [await call.code() for call in calls]
    assert sum(code.name == "OK" for code in codes) == FAILURES


def crops() -> np.ndarray:
    """Two strangers."""
    return np.stack([np.asarray(Image.open(io.BytesIO(clouds(seed)))) for seed in (0, 1)])


async def test_who_climbs_gets_nowhere(tiny_models: Path, tmp_path: Path) -> None:
    """`tests.faults.climb` does the same 100,000 times."""
    found = await attack(tiny_models, crops(), calls=150, scope="verify", folder=tmp_path)
    assert (found.calls, found.refused, found.told) == (150, 130, 0)
    assert not found.reached


async def test_the_climber_would_get_somewhere_if_it_were_told(
    tiny_models: Path, tmp_path: Path
) -> None:
    found = await attack(tiny_models, crops(), calls=300, scope="admin", folder=tmp_path)
    assert found.reached
