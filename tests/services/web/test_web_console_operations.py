"""The console's pages for cameras, rules, wrong faces and people who are one."""

import re
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from compactface.v1.alerts_pb2 import AlertRule, ListAlertRulesRequest
from compactface.v1.compact_map_pb2 import CompactMap
from compactface.v1.gallery_pb2 import GetSubjectRequest
from tests.services.asking import CAMERAS, enroll
from tests.services.hosting import Service, running_encoder, running_web
from tests.services.recognizer.receiver import SECRET, receiving
from tests.services.sightings import identified, seen
from tests.services.web.browser import Browser, sign_in

pytestmark = pytest.mark.asyncio(loop_scope="session")

HERE = f"?collection={CAMERAS}"


@pytest_asyncio.fixture(loop_scope="session")
async def browser(tiny_models: Path, service: Service) -> AsyncIterator[Browser]:
    async with (
        running_encoder(tiny_models, uplink_target=service.address) as encoder,
        running_web(encoder, service) as client,
    ):
        made = Browser(client.base_url)
        await sign_in(made, "")
        yield made
        await made.client.aclose()


async def test_a_wrong_face_is_taken_out_from_the_sighting_it_matched(
    browser: Browser, service: Service, people: list[CompactMap], again: list[CompactMap]
) -> None:
    await enroll(service, CAMERAS, "ada", people[0], people[5], display_name="Ada")
    (sighting,) = await seen(service, again[0])
    await identified(service, sighting)
    live = await browser.open(f"/live{HERE}")
    (link,) = re.findall(r'<a href="([^"]+)">Not this person</a>', live)
    page = await browser.open(link.replace("&amp;", "&"))
    assert "Ada keeps 1 face." in page
    assert "Of the last 1 sighting of Ada, 1 matched by this face." in page
    action = re.findall(r'<form method="post" action="(/people/ada/faces/[^"]+)"', page)[0]
    done = await browser.send(action)
    assert "The face is no longer one of Ada, who keeps 1 face." in done
    assert "Seen again, this sighting would be: unknown." in done
    assert "The bytes have left the disk" in done
    request = GetSubjectRequest(collection=CAMERAS, subject_id="ada")
    assert (await service.gallery.GetSubject(request)).subject.face_count == 1


async def test_the_last_face_is_said_to_be_the_last(
    browser: Browser, service: Service, people: list[CompactMap]
) -> None:
    await enroll(service, CAMERAS, "bob", people[1])
    person = await browser.open(f"/people/bob{HERE}")
    (link,) = re.findall(r'<a href="(/people/bob/faces/[^"]+)" aria-label="Not this', person)
    page = await browser.open(link.replace("&amp;", "&"))
    assert "nobody is recognized as bob until another is added" in page
    action = re.findall(r'<form method="post" action="(/people/bob/faces/[^"]+)"', page)[0]
    assert "who keeps no faces." in await browser.send(action)
    await browser.open("/people/bob/faces/none")
    assert browser.page.status_code == 404


async def test_two_people_are_compared_and_merged_once(
    browser: Browser, service: Service, people: list[CompactMap]
) -> None:
    await enroll(service, CAMERAS, "eve", people[2], labels=["crew"])
    await enroll(service, CAMERAS, "eva/1", people[3], labels=["night"])
    page = await browser.open(f"/people/eve/merge{HERE}&other=eva%2F1")
    assert "eve gets 1 face, the labels, sightings and alert rules of eva/1." in page
    form = browser.form("/people/eve/merge")
    done = await browser.send("/people/eve/merge")
    assert "eva/1 is now part of eve, who has 2 faces." in done
    again = await browser.client.post("/people/eve/merge", data=form)
    assert "eva/1 is now part of eve, who has 2 faces." in again.text
    person = await browser.open(f"/people/eve{HERE}")
    assert "night" in person
    await browser.open(f"/people/eve/merge{HERE}&other=eva%2F1")
    assert browser.page.status_code == 404


async def test_cameras_show_what_they_delivered_and_what_waits(
    browser: Browser, service: Service, people: list[CompactMap]
) -> None:
    assert "No camera has delivered a face" in await browser.open(f"/cameras{HERE}")
    (sighting,) = await seen(service, people[4])
    await identified(service, sighting)
    page = await browser.open(f"/cameras{HERE}")
    assert re.search(r"(second|moment)s? ago", page)
    assert "Maps waiting" in page
    assert "<dd>0</dd>" in page
    await browser.open("/cameras?collection=none")
    assert "COLLECTION_NOT_FOUND" in browser.page.text


async def rules(service: Service) -> list[AlertRule]:
    request = ListAlertRulesRequest(collection=CAMERAS)
    return list((await service.alerts.ListAlertRules(request)).rules)


async def test_a_rule_is_added_tried_and_deleted(browser: Browser, service: Service) -> None:
    assert "Nobody is told of anybody yet." in await browser.open(f"/rules{HERE}")
    with receiving() as receiver:
        page = await browser.send(
            "/rules", whom="label", name="vip", quiet="90", url=receiver.url, secret=SECRET
        )
        assert SECRET not in page
        assert "watch list" in page
        assert "1 hour" in page
        (rule,) = await rules(service)
        assert (rule.label, rule.quiet_time.seconds) == ("vip", 5400)
        assert "Delivered" in await browser.send(f"/rules/{rule.rule_id}/test")
        assert [event["type"] for event in receiver.events] == ["test"]
    assert "Not delivered" in await browser.send(f"/rules/{rule.rule_id}/test")
    assert "Nobody is told" in await browser.send(f"/rules/{rule.rule_id}/delete")
    assert await rules(service) == []


async def test_a_secret_that_was_made_is_shown_once(browser: Browser) -> None:
    await browser.open(f"/rules{HERE}")
    page = await browser.send("/rules", whom="unknown", url="https://house.example/alerts")
    assert re.search(r"<code>whsec_[\w+/=]{44}</code>", page)
    assert "whsec_" not in await browser.open(f"/rules{HERE}")


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"whom": "label", "name": "", "url": "https://a.example/"}, "NOTHING_SELECTED"),
        ({"whom": "subject", "name": "x", "url": "https://a.example/"}, "SUBJECT_NOT_FOUND"),
        ({"whom": "unknown", "url": ""}, "NOTHING_SELECTED"),
        ({"whom": "unknown", "url": "http://a.example/"}, "INVALID_URL"),
        ({"whom": "unknown", "url": "https://a.example/", "secret": "x"}, "INVALID_SECRET"),
        ({"whom": "unknown", "target": "mqtt"}, "MQTT_NOT_CONFIGURED"),
        ({"whom": "unknown", "url": "https://a.example/", "quiet": "-1"}, "OUT_OF_RANGE"),
        ({"whom": "unknown", "url": "https://a.example/", "quiet": "99999999"}, "OUT_OF_RANGE"),
    ],
)
async def test_a_rule_that_cannot_be_kept_is_refused(
    browser: Browser, fields: dict[str, str], reason: str
) -> None:
    await browser.open(f"/rules{HERE}")
    page = await browser.send("/rules", **fields)
    assert reason in page
    assert browser.page.status_code in {400, 404, 409}
    assert "Nobody is told of anybody yet." in await browser.open(f"/rules{HERE}")
