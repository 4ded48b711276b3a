"""What operators do over REST: merge people, look after cameras, keep alert rules."""

import uuid
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import pytest_asyncio

from compactface.v1.compact_map_pb2 import CompactMap
from tests.services.access import AccessFolder
from tests.services.asking import CAMERAS, enroll
from tests.services.hosting import Service, running_encoder, running_recognizer, running_web
from tests.services.recognizer.receiver import SECRET, Receiver, receiving
from tests.services.sightings import identified, seen

pytestmark = pytest.mark.asyncio(loop_scope="session")

HERE = f"/v1/collections/{CAMERAS}"


@pytest_asyncio.fixture(loop_scope="session")
async def web(tiny_models: Path, service: Service) -> AsyncIterator[httpx.AsyncClient]:
    async with running_encoder(tiny_models) as encoder, running_web(encoder, service) as client:
        yield client


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as made:
        yield made


def reason(answer: httpx.Response) -> tuple[int, str]:
    return answer.status_code, answer.json()["reason"]


async def test_two_subjects_become_one(
    web: httpx.AsyncClient, service: Service, people: list[CompactMap]
) -> None:
    await enroll(service, CAMERAS, "ada", people[0], display_name="Ada")
    await enroll(service, CAMERAS, "ada2", people[1])
    path = f"{HERE}/subjects/ada/merge"
    body = {"mergedSubjectId": "ada2", "requestId": str(uuid.uuid4()), "erasureWait": "10s"}
    merged = (await web.post(path, json=body)).json()
    assert (merged["facesMoved"], merged["erased"]) == (1, True)
    assert merged["subject"]["faceCount"] == 2
    again = (await web.post(path, json=body)).json()
    assert (again["repeatedRequest"], again["subject"]) == (True, merged["subject"])
    assert reason(await web.get(f"{HERE}/subjects/ada2")) == (404, "SUBJECT_NOT_FOUND")
    missing = await web.post(path, json={"mergedSubjectId": "ada2"})
    assert reason(missing) == (404, "SUBJECT_NOT_FOUND")
    assert missing.json()["metadata"] == {"merged_subject_id": "ada2"}
    events = (await web.get("/v1/audit-events", params={"subjectId": "ada"})).json()["events"]
    assert events[-1]["operation"] == "AUDIT_OPERATION_MERGE_SUBJECTS"


async def test_cameras_are_listed_with_what_they_saw(
    web: httpx.AsyncClient,
    service: Service,
    people: list[CompactMap],
    again: list[CompactMap],
) -> None:
    assert (await web.get(f"{HERE}/cameras")).json() == {"cameras": [], "nextPageToken": ""}
    await enroll(service, CAMERAS, "ada", people[0])
    sightings = await seen(service, again[0], people[6], people[7])
    for sighting in sightings:
        await identified(service, sighting)
    (camera,) = (await web.get(f"{HERE}/cameras")).json()["cameras"]
    assert (camera["sightings"], camera["matches"], camera["failures"]) == ("3", "1", "0")
    listed = (await web.get(f"{HERE}/sightings")).json()["sightings"]
    assert camera["cameraId"] == listed[0]["cameraId"]
    assert camera["lastReceiveTime"] == max(each["receiveTime"] for each in listed)
    refused = await web.get(f"{HERE}/cameras", params={"pageToken": "x"})
    assert reason(refused) == (400, "INVALID_PAGE_TOKEN")


async def test_an_alert_rule_is_made_tested_and_deleted(
    web: httpx.AsyncClient, receiver: Receiver
) -> None:
    rules = f"{HERE}/alert-rules"
    target = {"url": receiver.url, "secret": SECRET}
    body = {"anyUnknown": True, "webhook": target, "quietTime": "60s"}
    made = (await web.post(rules, json=body)).json()["rule"]
    assert "secret" not in str(made) or made["webhook"]["secret"] == ""
    (listed,) = (await web.get(rules)).json()["rules"]
    assert (listed["ruleId"], listed["quietTime"]) == (made["ruleId"], "60s")
    tried = (await web.post(f"{rules}/{made['ruleId']}/test")).json()
    assert tried["delivered"] is True
    assert [event["type"] for event in receiver.events] == ["test"]
    assert (await web.delete(f"{rules}/{made['ruleId']}")).status_code == 200
    assert (await web.get(rules)).json()["rules"] == []
    nothing: dict[str, Any] = {"webhook": target}
    assert reason(await web.post(rules, json=nothing)) == (400, "NOTHING_SELECTED")


async def test_scopes_are_those_of_the_protocol(tiny_models: Path, tmp_path: Path) -> None:
    access = AccessFolder(tmp_path / "access.toml")
    token = access.token("identify", "enroll")
    async with (
        running_encoder(tiny_models) as encoder,
        running_recognizer(tiny_models, tmp_path / "g.sqlite", access=access.path) as recognizer,
        running_web(encoder, recognizer) as web,
    ):
        bearer = {"authorization": f"Bearer {token}"}
        for path in ("cameras", "alert-rules"):
            answer = await web.get(f"/v1/collections/default/{path}", headers=bearer)
            assert reason(answer) == (403, "SCOPE_MISSING")
        answer = await web.post(
            "/v1/collections/default/subjects/a/merge",
            json={"mergedSubjectId": "b"},
            headers=bearer,
        )
        assert reason(answer) == (404, "SUBJECT_NOT_FOUND")
