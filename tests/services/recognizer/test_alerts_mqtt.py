"""Alerts by MQTT, through a real broker."""

from pathlib import Path

import pytest
from pydantic import ValidationError

from compactface.v1.alerts_pb2 import (
    AlertRule,
    CreateAlertRuleRequest,
    DeleteAlertRuleRequest,
    Mqtt,
)
from compactface.v1.compact_map_pb2 import CompactMap
from recognizer_service.settings import RecognizerSettings
from tests.services.asking import CAMERAS
from tests.services.authority import Authority
from tests.services.conftest import unused_port
from tests.services.hosting import Service, running_recognizer, until
from tests.services.processes import ending
from tests.services.recognizer.alerting import delivered, tried
from tests.services.recognizer.mosquitto import PASSWORD, USER, broker, listening, needs_mosquitto
from tests.services.sightings import seen

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def add_rule(service: Service) -> str:
    rule = AlertRule(any_unknown=True, mqtt=Mqtt())
    request = CreateAlertRuleRequest(collection=CAMERAS, rule=rule)
    return str((await service.alerts.CreateAlertRule(request)).rule.rule_id)


@needs_mosquitto
async def test_a_broker_is_told_who_passed_and_home_assistant_which_rules_there_are(
    tiny_models: Path, people: list[CompactMap], tmp_path: Path
) -> None:
    ours, port = Authority(tmp_path, "ours"), unused_port()
    certificate, key = ours.issue("broker")
    settings = {
        "mqtt": f"mqtts://{USER}@localhost:{port}",
        "mqtt_password": PASSWORD,
        "mqtt_ca": ours.certificate,
        "stream_collection": CAMERAS,
    }
    async with (
        broker(tmp_path, port, certificate=certificate, key=key),
        listening(port, ca=ours.certificate) as listener,
        running_recognizer(tiny_models, tmp_path / "gallery.sqlite", **settings) as service,
    ):
        rule_id = await add_rule(service)
        (sighting_id,) = await seen(service, people[0])
        await delivered(service)
        topic = f"compactface/{CAMERAS}/alerts/{rule_id}"
        await until(lambda: bool(listener.on(topic)))
        (event,) = listener.on(topic)
        assert (event["event_type"], event["data"]["rule_id"]) == ("alert", rule_id)
        assert event["data"]["sighting"]["sighting_id"] == sighting_id
        assert event["event_id"]
        discovery = f"homeassistant/event/compactface_{rule_id}/config"
        entity = listener.on(discovery)[0]
        assert entity["state_topic"] == topic
        assert event["event_type"] in entity["event_types"]
        assert (await tried(service, rule_id)).delivered
        await until(lambda: len(listener.on(topic)) == 2)
        await service.alerts.DeleteAlertRule(
            DeleteAlertRuleRequest(collection=CAMERAS, rule_id=rule_id)
        )
        await until(lambda: listener.on(discovery)[-1] is None)


@needs_mosquitto
async def test_a_broker_that_is_away_gets_its_alerts_when_it_is_back(
    tiny_models: Path, people: list[CompactMap], tmp_path: Path
) -> None:
    port = unused_port()
    settings = {
        "mqtt": f"mqtt://{USER}@127.0.0.1:{port}",
        "mqtt_password": PASSWORD,
        "stream_collection": CAMERAS,
    }
    async with running_recognizer(tiny_models, tmp_path / "gallery.sqlite", **settings) as service:
        rule_id = await add_rule(service)
        await seen(service, people[0])
        await until(lambda: service.sample("compactface_alert_failures_total") >= 1)
        assert "no connection" in (await tried(service, rule_id)).outcome
        async with broker(tmp_path, port), listening(port) as listener:
            await delivered(service)
            await until(lambda: bool(listener.on("compactface/")))


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("http://localhost", "mqtts://host"),
        ("mqtts://", "mqtts://host"),
        ("mqtts://me:pa55word@host", "mqtt_password"),
        ("mqtt://broker.example.org", "without TLS"),
        ("mqtts://host:99999", "Port out of range"),
    ],
)
async def test_what_is_no_safe_broker_is_refused(url: str, said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        RecognizerSettings(mqtt=url)


async def test_a_broker_needs_the_extra(tiny_models: Path, tmp_path: Path) -> None:
    code, log = await ending(
        "recognizer",
        tmp_path / "log",
        without=["paho.mqtt.client"],
        models=tiny_models,
        gallery=tmp_path / "gallery.sqlite",
        mqtt="mqtts://localhost",
    )
    assert code != 0
    assert "compactface[mqtt]" in log
