"""Sightings over HTTP: lists, pictures, server-sent events, and the console's page."""

import asyncio
import base64
import json
import re
from collections.abc import AsyncIterator
from html import unescape
from pathlib import Path

import httpx
import pytest
import pytest_asyncio

from compactface.v1.compact_map_pb2 import CompactMap
from tests.services.access import AccessFolder
from tests.services.asking import CAMERAS
from tests.services.hosting import Service, running_recognizer, running_web, until
from tests.services.sightings import identified, seen
from tests.services.web.browser import Browser, sign_in
from tests.services.web.rest import bearer, problem

pytestmark = pytest.mark.asyncio(loop_scope="session")

SIGHTINGS = f"/v1/collections/{CAMERAS}/sightings"
WATCH = f"{SIGHTINGS}:watch"


@pytest_asyncio.fixture(loop_scope="session")
async def web(encoder: Service, service: Service) -> AsyncIterator[httpx.AsyncClient]:
    async with running_web(encoder, service, max_watchers=1) as client:
        yield client


class Events:
    """Server-sent events, one after the other."""

    def __init__(self, answer: httpx.Response) -> None:
        self._lines = answer.aiter_lines()

    async def next(self) -> dict[str, str]:
        """The fields of the next event; comments are passed over."""
        fields: dict[str, str] = {}
        async with asyncio.timeout(20):
            async for line in self._lines:
                if line and not line.startswith(":"):
                    name, _, value = line.partition(": ")
                    fields[name] = fields.get(name, "") + value
                elif fields:
                    return fields
        return {}  # the end of the stream


async def test_lists_shows_and_deletes(
    web: httpx.AsyncClient, service: Service, people: list[CompactMap]
) -> None:
    first, second = await seen(service, *people[:2])
    await identified(service, second)
    listed = (await web.get(SIGHTINGS, params={"pageSize": 1})).json()
    assert len(listed["sightings"]) == 1
    assert listed["nextPageToken"]
    unknown = {"filter.decisions": "IDENTIFY_DECISION_EMPTY_GALLERY"}
    assert len((await web.get(SIGHTINGS, params=unknown)).json()["sightings"]) == 2
    elsewhere = {"filter.cameraId": "elsewhere"}
    assert (await web.get(SIGHTINGS, params=elsewhere)).json()["sightings"] == []
    one = (await web.get(f"{SIGHTINGS}/{first}", params={"includePicture": "true"})).json()
    assert one["sighting"]["sightingId"] == first
    assert base64.b64decode(one["picturePng"]).startswith(b"\x89PNG")
    deleted = await web.delete(SIGHTINGS, params={"sightingIds": first, "erasureWait": "30s"})
    assert deleted.json()["sightingsDeleted"] == "1"
    assert deleted.json()["erased"] is True


async def test_sends_sightings_as_they_come_and_goes_on_after_a_break(
    web: httpx.AsyncClient, service: Service, people: list[CompactMap]
) -> None:
    async with web.stream("GET", WATCH, params={"includePictures": "true"}) as answer:
        assert answer.headers["content-type"].startswith("text/event-stream")
        assert answer.headers["cache-control"] == "no-store"
        (passing,) = await seen(service, people[0])
        first = await Events(answer).next()
    sighting = json.loads(first["data"])
    assert sighting["sightingId"] == passing
    assert sighting["identification"]["decision"] == "IDENTIFY_DECISION_EMPTY_GALLERY"
    assert base64.b64decode(sighting["picturePng"]).startswith(b"\x89PNG")
    # Whoever leaves is watched for no longer.
    ended = {
        "grpc_type": "server_stream",
        "grpc_service": "compactface.v1.RecognizerService",
        "grpc_method": "WatchSightings",
        "grpc_code": "CANCELLED",
    }
    await until(lambda: service.sample("grpc_server_handled_total", **ended) == 1)

    (missed,) = await seen(service, people[1])
    came_back = {"last-event-id": first["id"]}
    async with web.stream("GET", WATCH, headers=came_back) as answer:
        events = Events(answer)
        while json.loads((await events.next())["data"])["sightingId"] != missed:
            pass


async def test_refusals_of_a_watch_have_a_status(
    web: httpx.AsyncClient, service: Service, people: list[CompactMap]
) -> None:
    assert problem(await web.get("/v1/collections/nowhere/sightings:watch")) == (
        404,
        "COLLECTION_NOT_FOUND",
    )
    assert problem(await web.get(WATCH, params={"camera": "x"})) == (400, "PARAMETER_UNKNOWN")
    async with web.stream("GET", WATCH) as answer:
        await seen(service, people[0])
        await Events(answer).next()
        assert problem(await web.get(WATCH)) == (429, "TOO_MANY_WATCHERS")
        assert (await web.get(SIGHTINGS)).status_code == 200  # others are not held up
    async with web.stream("GET", WATCH, headers={"last-event-id": "not ours"}) as answer:
        event = await Events(answer).next()
    assert event["event"] == "problem"
    assert json.loads(event["data"])["reason"] == "INVALID_RESUME_TOKEN"


async def test_watching_needs_its_scope(
    tiny_models: Path, tmp_path: Path, encoder: Service
) -> None:
    access = AccessFolder(tmp_path / "access.toml")
    stranger = bearer(access.token("admin"))  # no other scope implies `watch`
    gallery = tmp_path / "gallery.sqlite"
    async with (
        running_recognizer(tiny_models, gallery, access=access.path) as service,
        running_web(encoder, service) as web,
    ):
        path = "/v1/collections/default/sightings:watch"
        assert problem(await web.get(path, headers=stranger)) == (403, "SCOPE_MISSING")
        assert problem(await web.get(path)) == (401, "NO_CREDENTIAL")


async def test_a_stop_ends_watchers(
    encoder: Service, service: Service, people: list[CompactMap]
) -> None:
    async with running_web(encoder, service, drain_seconds=600) as web:
        got: list[dict[str, str]] = []
        reading = asyncio.create_task(watch_until_the_end(web.base_url, got))
        while not got:
            await seen(service, people[0])
            await asyncio.sleep(0.1)
    async with asyncio.timeout(20):
        await reading


async def watch_until_the_end(base_url: httpx.URL, got: list[dict[str, str]]) -> None:
    async with (
        httpx.AsyncClient(base_url=base_url, timeout=30, trust_env=False) as reader,
        reader.stream("GET", WATCH) as answer,
    ):
        events = Events(answer)
        while event := await events.next():
            got.append(event)


async def test_the_console_shows_them_and_gives_the_unknown_a_name(
    web: httpx.AsyncClient, service: Service, people: list[CompactMap]
) -> None:
    (sighting,) = await seen(service, people[0])
    await identified(service, sighting)
    browser = Browser(web.base_url)
    await sign_in(browser, "")
    page = await browser.open(f"/live?collection={CAMERAS}&shown=unknown")
    assert f'id="sighting-{sighting}"' in page
    (picture,) = re.findall(rf'src="(/live/{sighting}/picture[^"]*)"', page)
    shown = await browser.client.get(unescape(picture))
    assert shown.content.startswith(b"\x89PNG")
    assert shown.headers["cache-control"] == "no-store"
    (events,) = re.findall(r'data-events="([^"]*)"', page)

    # Who is identified after the page was read and before its events are, comes as an event.
    (meanwhile,) = await seen(service, people[1])
    await identified(service, meanwhile)
    async with browser.client.stream("GET", unescape(events)) as answer:
        row = await Events(answer).next()
    assert f'<li class="card" id="sighting-{meanwhile}"' in row["data"]
    assert "Who is this?" in row["data"]

    form = browser.form("/people")
    named = await browser.client.post("/people", data=form | {"display_name": "Mira"})
    assert "<h1>Mira</h1>" in named.text
    (face,) = re.findall(r'src="(/people/[^"]*/picture[^"]*)"', named.text)
    assert (await browser.client.get(unescape(face))).content.startswith(b"\x89PNG")
    assert "Mira" in await browser.open(f"/live?collection={CAMERAS}&shown=known")
    await browser.client.aclose()
