"""Alerts: from the sighting to a web server that takes them, fails, hangs, refuses and recovers."""

import ssl
from collections.abc import AsyncIterator, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from google.protobuf.duration_pb2 import Duration

from compactface.v1 import alerts_pb2
from compactface.v1.alerts_pb2 import (
    AlertRule,
    CreateAlertRuleRequest,
    DeleteAlertRuleRequest,
    ListAlertRulesRequest,
    Mqtt,
    Webhook,
)
from compactface.v1.compact_map_pb2 import CompactMap
from compactface.v1.gallery_pb2 import DeleteSubjectRequest, EnrollRequest
from compactface.v1.recognizer_pb2 import DeleteSightingsRequest
from recognizer_service.gallery.alerts.outbox import AlertOutbox
from tests.services.asking import CAMERAS, enroll
from tests.services.authority import Authority
from tests.services.conftest import unused_port
from tests.services.hosting import Service, failure, fields_of, running_recognizer, until
from tests.services.processes import Process, process
from tests.services.recognizer.alerting import delivered, tried
from tests.services.recognizer.receiver import DRIP, SECRET, Receiver, receiving
from tests.services.sightings import identified, seen

pytestmark = pytest.mark.asyncio(loop_scope="session")


@pytest_asyncio.fixture(loop_scope="session")
async def service(tiny_models: Path, tmp_path: Path) -> AsyncIterator[Service]:
    """A recognizer that takes streamed maps, and gives webhooks time: no busy machine repeats."""
    gallery = tmp_path / "gallery.sqlite"
    async with running_recognizer(tiny_models, gallery, stream_collection=CAMERAS) as running:
        yield running


@pytest_asyncio.fixture(loop_scope="session")
async def impatient(tiny_models: Path, tmp_path: Path) -> AsyncIterator[Service]:
    """The same, but it waits half a second for webhooks; what it sends, it may send again."""
    gallery = tmp_path / "gallery.sqlite"
    async with running_recognizer(
        tiny_models, gallery, stream_collection=CAMERAS, webhook_timeout_seconds=0.5
    ) as running:
        yield running


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as made:
        yield made


async def add_rule(service: Service | Process, url: str, **rule: Any) -> str:
    """A rule of the collection of the cameras; its id."""
    if not {"subject_id", "label"} & rule.keys():
        rule["any_unknown"] = True
    given = AlertRule(webhook=Webhook(url=url, secret=SECRET), **rule)
    request = CreateAlertRuleRequest(collection=CAMERAS, rule=given)
    return str((await service.alerts.CreateAlertRule(request)).rule.rule_id)


async def rules(service: Service | Process) -> list[AlertRule]:
    request = ListAlertRulesRequest(collection=CAMERAS)
    return list((await service.alerts.ListAlertRules(request)).rules)


async def test_a_webhook_is_told_who_passed(
    service: Service, receiver: Receiver, people: list[CompactMap], again: list[CompactMap]
) -> None:
    await enroll(service, CAMERAS, "ada", people[0], display_name="Ada", labels=["vip"])
    of_ada = await add_rule(service, receiver.url, subject_id="ada")
    of_unknown = await add_rule(service, receiver.url)
    known, unknown = await seen(service, again[0], people[7])
    await delivered(service, events=2)
    by_rule = {event["data"]["rule_id"]: event for event in receiver.events}
    data = by_rule[of_ada]["data"]
    assert by_rule[of_ada]["type"] == "alert"
    assert (data["collection"], data["sighting"]["sighting_id"]) == (CAMERAS, known)
    assert data["sighting"]["camera_id"] == "anonymous"
    subject = data["subject"]
    assert (subject["subject_id"], subject["display_name"]) == ("ada", "Ada")
    assert subject["labels"] == ["vip"]
    assert subject["similarity"] >= subject["threshold"]
    data = by_rule[of_unknown]["data"]
    assert (data["sighting"]["sighting_id"], data["subject"]) == (unknown, None)
    assert len(set(receiver.ids())) == 2


async def test_an_enrollment_from_a_sighting_does_not_ring(
    service: Service, receiver: Receiver, people: list[CompactMap]
) -> None:
    (first,) = await seen(service, people[0])
    await identified(service, first)
    await enroll(service, CAMERAS, "ada", people[1])
    await add_rule(service, receiver.url, subject_id="ada")
    request = EnrollRequest(collection=CAMERAS, subject_id="ada", sighting_ids=[first])
    await service.gallery.Enroll(request)
    assert service.sample("compactface_alerts_waiting") == 0
    await seen(service, people[0])
    await delivered(service)
    assert len(receiver.got) == 1


async def test_quiet_time(service: Service, receiver: Receiver, people: list[CompactMap]) -> None:
    await add_rule(service, receiver.url, quiet_time=Duration(seconds=60))
    await add_rule(service, receiver.url)
    for face in people[:3]:
        (one,) = await seen(service, face)
        await identified(service, one)
    await delivered(service, events=4)
    quiet, loud = [rule.rule_id for rule in await rules(service)]
    told = [event["data"]["rule_id"] for event in receiver.events]
    assert (told.count(quiet), told.count(loud)) == (1, 3)


@pytest.mark.parametrize("status", [500, 404, 302, 307])
async def test_a_webhook_that_fails_is_asked_again_and_redirects_lead_nowhere(
    service: Service, receiver: Receiver, people: list[CompactMap], status: int
) -> None:
    receiver.status = status
    await add_rule(service, receiver.url)
    await seen(service, people[0])
    await until(lambda: len(receiver.got) >= 2)
    assert service.sample("compactface_alerts_waiting") == 1
    receiver.status = 200
    await delivered(service)
    assert len(set(receiver.ids())) == 1
    assert set(receiver.paths) == {"/alerts"}
    assert service.sample("compactface_alert_failures_total") == len(receiver.got) - 1


async def test_the_outbox_is_not_read_anew_for_every_event(
    service: Service, people: list[CompactMap], monkeypatch: pytest.MonkeyPatch
) -> None:
    readings: list[int] = []
    waiting_for = AlertOutbox.waiting_for

    def noted(outbox: AlertOutbox, rule_key: int) -> Sequence[int]:
        keys = waiting_for(outbox, rule_key)
        readings.append(len(keys))
        return keys

    port = unused_port()
    await add_rule(service, f"http://127.0.0.1:{port}/hook")
    await seen(service, *people[:8])
    await until(lambda: service.sample("compactface_alerts_waiting") == 8)
    await until(lambda: service.sample("compactface_alert_failures_total") >= 1)
    monkeypatch.setattr(AlertOutbox, "waiting_for", noted)
    with receiving(port=port):
        await delivered(service, events=8)
    assert set(readings) <= {8, 0}


async def test_an_event_that_is_not_taken_holds_up_no_other(
    service: Service, receiver: Receiver, people: list[CompactMap]
) -> None:
    receiver.status = 400
    await add_rule(service, receiver.url)
    await seen(service, people[0])
    await until(lambda: len(receiver.got) >= 1)
    bad = receiver.got[0][0]
    await seen(service, people[1])
    await until(lambda: any(id_ != bad for id_ in receiver.ids()))


async def test_a_webhook_that_hangs_holds_up_nobody(
    impatient: Service, receiver: Receiver, people: list[CompactMap]
) -> None:
    with receiving() as hanging:
        hanging.status = None
        await add_rule(impatient, hanging.url)
        await add_rule(impatient, receiver.url)
        await seen(impatient, people[0])
        await until(lambda: bool(hanging.got))
        await seen(impatient, people[1])
        await until(lambda: impatient.sample("compactface_alerts_delivered_total") == 2)
        assert impatient.sample("compactface_alerts_waiting") == 2
        await until(lambda: len(hanging.got) >= 2)  # it was given up, and asked again
        hanging.status = 204
        await delivered(impatient, events=4)


async def test_a_webhook_that_refuses_gets_its_alerts_when_it_is_back(
    service: Service, people: list[CompactMap]
) -> None:
    port = unused_port()
    await add_rule(service, f"http://127.0.0.1:{port}/alerts")
    first, second = await seen(service, people[0], people[1])
    await until(lambda: service.sample("compactface_alert_failures_total") >= 1)
    assert service.sample("compactface_alerts_waiting") == 2
    assert service.sample("compactface_alerts_oldest_seconds") > 0
    assert [rule.waiting for rule in await rules(service)] == [2]
    with receiving(port) as back:
        await delivered(service, events=2)
        told = [event["data"]["sighting"]["sighting_id"] for event in back.events]
    assert told == [first, second]


async def test_who_is_deleted_is_not_told_of(service: Service, people: list[CompactMap]) -> None:
    port = unused_port()
    url = f"http://127.0.0.1:{port}/alerts"
    await enroll(service, CAMERAS, "ada", people[0], labels=["vip"])
    await add_rule(service, url, label="vip")
    await add_rule(service, url)
    known, gone, left = await seen(service, people[0], people[7], people[8])
    await until(lambda: service.sample("compactface_alerts_waiting") == 3)
    await service.gallery.DeleteSubject(DeleteSubjectRequest(collection=CAMERAS, subject_id="ada"))
    await service.recognizer.DeleteSightings(
        DeleteSightingsRequest(collection=CAMERAS, sighting_ids=[gone])
    )
    with receiving(port) as back:
        await delivered(service)
        told = [event["data"]["sighting"]["sighting_id"] for event in back.events]
    assert told == [left]
    assert known not in told


async def test_kill_9_between_sighting_and_delivery_loses_no_alert(
    tiny_models: Path, people: list[CompactMap], tmp_path: Path
) -> None:
    port = unused_port()
    settings = {
        "models": tiny_models, "gallery": tmp_path / "gallery.sqlite", "stream_collection": CAMERAS,
    }  # fmt: skip
    sent: list[str] = []
    async with process("recognizer", tmp_path / "log", **settings) as recognizer:
        await add_rule(recognizer, f"http://127.0.0.1:{port}/alerts?token=t0ken")
        sent += await seen(recognizer, *people[:4])
        await recognizer.kill()  # wherever it is: before they are identified, or after
    async with process("recognizer", tmp_path / "log2", **settings) as recognizer:
        await identified(recognizer, sent[-1])
        await until(lambda: bool(recognizer.events("alert_not_taken")))
        await recognizer.kill()
    with receiving(port) as back:
        async with process("recognizer", tmp_path / "log3", **settings):
            await until(lambda: len(set(back.ids())) == 4)
        told = {event["data"]["sighting"]["sighting_id"] for event in back.events}
    assert told == set(sent)
    logs = "".join((tmp_path / name).read_text() for name in ("log", "log2", "log3"))
    assert "t0ken" not in logs
    assert SECRET not in logs


async def test_https_with_an_authority_of_ones_own(
    tiny_models: Path, people: list[CompactMap], tmp_path: Path
) -> None:
    ours = Authority(tmp_path, "ours")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*ours.issue("receiver"))
    common = {"stream_collection": CAMERAS}
    with receiving(context=context) as receiver:
        trusting = running_recognizer(
            tiny_models, tmp_path / "1.sqlite", webhook_ca=ours.certificate, **common
        )
        async with trusting as service:
            await add_rule(service, receiver.url)
            await seen(service, people[0])
            await delivered(service)
        async with running_recognizer(tiny_models, tmp_path / "2.sqlite", **common) as service:
            rule_id = await add_rule(service, receiver.url)
            answer = await tried(service, rule_id)
            assert not answer.delivered
            assert "CERTIFICATE_VERIFY_FAILED" in answer.outcome
    assert len(receiver.got) == 1


async def test_a_rule_can_be_tried(service: Service, receiver: Receiver) -> None:
    rule_id = await add_rule(service, receiver.url)
    answer = await tried(service, rule_id)
    assert (answer.delivered, answer.outcome) == (True, "HTTP status 204")
    (event,) = receiver.events
    assert event["type"] == "test"
    assert event["data"] == {"collection": CAMERAS, "rule_id": rule_id}
    receiver.status = 503
    answer = await tried(service, rule_id)
    assert (answer.delivered, answer.outcome) == (False, "HTTP status 503")
    assert service.sample("compactface_alerts_waiting") == 0


@pytest.mark.parametrize("status", [None, DRIP])
async def test_a_try_that_is_not_answered_ends(
    impatient: Service, receiver: Receiver, status: int | None
) -> None:
    receiver.status = status
    answer = await tried(impatient, await add_rule(impatient, receiver.url))
    assert (answer.delivered, answer.outcome) == (False, "no answer within 0.5 s")
    assert impatient.sample("compactface_alerts_waiting") == 0


async def test_the_secret_is_never_answered(service: Service, receiver: Receiver) -> None:
    given = AlertRule(
        any_unknown=True,
        camera_id="door",
        quiet_time=Duration(seconds=90),
        webhook=Webhook(url=receiver.url, secret=SECRET),
    )
    request = CreateAlertRuleRequest(collection=CAMERAS, rule=given)
    made = (await service.alerts.CreateAlertRule(request)).rule
    assert await rules(service) == [made]
    given.webhook.secret = ""
    given.rule_id = made.rule_id
    given.create_time.CopyFrom(made.create_time)
    assert made == given
    await service.alerts.DeleteAlertRule(
        DeleteAlertRuleRequest(collection=CAMERAS, rule_id=made.rule_id)
    )
    assert await rules(service) == []


@pytest.mark.parametrize(
    ("rule", "reason", "field"),
    [
        (AlertRule(webhook=Webhook(url="https://x.org")), "NOTHING_SELECTED", "rule.whom"),
        (AlertRule(any_unknown=False), "NOTHING_SELECTED", "rule.any_unknown"),
        (AlertRule(subject_id=""), "NOTHING_SELECTED", "rule.subject_id"),
        (AlertRule(any_unknown=True), "NOTHING_SELECTED", "rule.target"),
        (AlertRule(any_unknown=True, webhook=Webhook()), "NOTHING_SELECTED", "rule.target"),
        (
            AlertRule(any_unknown=True, webhook=Webhook(url="http://10.0.0.1", secret=SECRET)),
            "INVALID_URL",
            "rule.webhook.url",
        ),
        (
            AlertRule(any_unknown=True, webhook=Webhook(url="https://x.org", secret="whsec_")),
            "INVALID_SECRET",
            "rule.webhook.secret",
        ),
    ],
)
async def test_what_is_no_rule_is_refused(
    service: Service, rule: AlertRule, reason: str, field: str
) -> None:
    request = CreateAlertRuleRequest(collection=CAMERAS, rule=rule)
    error = await failure(service.alerts.CreateAlertRule(request))
    assert (error.code, error.reason, fields_of(error)) == ("INVALID_ARGUMENT", reason, [field])


async def test_mqtt_needs_a_broker(service: Service) -> None:
    rule = AlertRule(any_unknown=True, mqtt=Mqtt())
    request = CreateAlertRuleRequest(collection=CAMERAS, rule=rule)
    error = await failure(service.alerts.CreateAlertRule(request))
    assert (error.code, error.reason) == ("FAILED_PRECONDITION", "MQTT_NOT_CONFIGURED")


async def test_a_rule_that_is_not_there(service: Service) -> None:
    for call in (
        service.alerts.DeleteAlertRule(DeleteAlertRuleRequest(collection=CAMERAS, rule_id="x")),
        service.alerts.TestAlertRule(
            alerts_pb2.TestAlertRuleRequest(collection=CAMERAS, rule_id="x\0")
        ),
    ):
        error = await failure(call)
        assert (error.code, error.reason) == ("NOT_FOUND", "ALERT_RULE_NOT_FOUND")
