"""Strangers over HTTP, on the console's pages, and several sightings enrolled together."""

import re
from collections.abc import AsyncIterator

import httpx
import pytest
import pytest_asyncio

from compactface.v1.compact_map_pb2 import CompactMap
from compactface.v1.gallery_pb2 import GetSubjectRequest
from tests.services.asking import CAMERAS, group_strangers
from tests.services.hosting import Service, running_web
from tests.services.sightings import seen_and_identified
from tests.services.web.browser import Browser, sign_in

pytestmark = pytest.mark.asyncio(loop_scope="session")

HERE = f"collection={CAMERAS}"


@pytest_asyncio.fixture(loop_scope="session")
async def web(encoder: Service, service: Service) -> AsyncIterator[httpx.AsyncClient]:
    async with running_web(encoder, service) as client:
        yield client


@pytest_asyncio.fixture(loop_scope="session")
async def browser(web: httpx.AsyncClient) -> AsyncIterator[Browser]:
    made = Browser(web.base_url)
    await sign_in(made, "")
    yield made
    await made.client.aclose()


async def faces_of(service: Service, subject: str) -> int:
    request = GetSubjectRequest(collection=CAMERAS, subject_id=subject)
    return int((await service.gallery.GetSubject(request)).subject.face_count)


async def test_strangers_are_listed_and_named_by_rest(
    web: httpx.AsyncClient, service: Service, people: list[CompactMap], again: list[CompactMap]
) -> None:
    here = f"/v1/collections/{CAMERAS}"
    changed = await web.patch(here, json={"maxStrangerFpir": 0.05})
    assert changed.json()["collection"]["maxStrangerFpir"] == 0.05
    await seen_and_identified(service, people[0], people[1])
    await seen_and_identified(service, again[0], camera="yard")
    listed = (await web.get(f"{here}/strangers?minSightings=2")).json()
    (stranger,) = listed["strangers"]
    assert (stranger["strangerNumber"], stranger["sightings"]) == ("1", "2")
    assert stranger["cameraIds"] == ["yard", "door"]
    sightings = (await web.get(f"{here}/sightings?filter.strangerNumber=1")).json()["sightings"]
    assert [each["strangerNumber"] for each in sightings] == ["1", "1"]
    body = {"subjectId": "ada", "strangerNumber": "1"}
    enrolled = await web.post(f"{here}/subjects", json=body)
    assert len(enrolled.json()["faces"]) == 2
    missing = await web.post(f"{here}/subjects", json=body)
    assert (missing.status_code, missing.json()["reason"]) == (404, "STRANGER_NOT_FOUND")


async def test_a_stranger_is_named_on_the_page(
    browser: Browser, service: Service, people: list[CompactMap], again: list[CompactMap]
) -> None:
    assert "does not group unknown people" in await browser.open(f"/strangers?{HERE}")
    await group_strangers(service)
    assert "Nobody unknown has been seen." in await browser.open(f"/strangers?{HERE}")
    await seen_and_identified(service, people[0], people[1])
    await seen_and_identified(service, again[0], camera="yard")
    page = await browser.open(f"/strangers?{HERE}&seen=2")
    assert "Seen 2 times on 2 cameras: yard, door." in page
    assert "Stranger 2" not in page
    (address,) = re.findall(r'src="(/live/[^"]+/picture[^"]*)"', page)
    assert (await browser.client.get(address)).headers["content-type"] == "image/png"
    person = await browser.send("/people", display_name="Ada", subject_id="ada")
    assert "<h1>Ada</h1>" in person
    assert await faces_of(service, "ada") == 2
    assert "Nobody unknown has been seen so often." in await browser.open(
        f"/strangers?{HERE}&seen=2"
    )

    live = await browser.open(f"/live?{HERE}&stranger=2")
    assert live.count('class="card" id="sighting-') == 1
    assert ">Stranger 2</a>" in live
    for odd in ("x", "-1", "9" * 30, "²"):
        assert "Stranger 2</a>" in await browser.open(f"/live?{HERE}&stranger={odd}")
        assert "Stranger 2" in await browser.open(f"/strangers?{HERE}&seen={odd}")


async def test_several_sightings_are_enrolled_together(
    browser: Browser, service: Service, people: list[CompactMap], again: list[CompactMap]
) -> None:
    ids = await seen_and_identified(service, people[0], people[1])
    ids += await seen_and_identified(service, again[0])
    page = await browser.open(f"/live?{HERE}")
    chosen = re.findall(
        r'type="checkbox" id="\S+" form="chosen" name="sighting_id" value="([^"]+)', page
    )
    assert set(chosen) == set(ids)
    form = re.search(r'<form id="chosen".*?</form>', page, re.DOTALL)
    assert form
    hidden = dict(re.findall(r'type="hidden" name="(\w+)" value="([^"]*)"', form[0]))
    refused = await browser.client.post("/people", data=hidden | {"subject_id": "ada"})
    assert refused.status_code == 400
    assert "NOTHING_SELECTED" in refused.text
    data = hidden | {"subject_id": "ada", "sighting_id": [ids[0], ids[2]]}
    done = await browser.client.post("/people", data=data)
    assert done.status_code == 200, done.text
    assert await faces_of(service, "ada") == 2
