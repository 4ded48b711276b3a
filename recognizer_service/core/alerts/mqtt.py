"""Publishes events to an MQTT 3.1.1 broker, such as Home Assistant's, at least once."""

import asyncio
import json
import ssl
from importlib.metadata import version
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import urlsplit

import structlog
from pydantic import SecretStr

from recognizer_service.core.alerts.events import ALERT, TEST, Event, NotTaken, as_json
from recognizer_service.gallery.alerts.outbox import Target
from shared.errors import FailedPrecondition
from shared.hosts import is_loopback

if TYPE_CHECKING:
    from paho.mqtt.client import Client

_log = structlog.get_logger(__name__)

_PORTS = {"mqtt": 1883, "mqtts": 8883}
_AT_LEAST_ONCE = 1
_LOOK_EVERY_S = 0.02
_LONGEST_PAUSE_S = 60


class Broker:
    """Publishes events; an async context manager that connects in the background."""

    def __init__(
        self,
        url: str,
        *,
        password: SecretStr | None = None,
        ca: Path | None = None,
        timeout_s: float,
    ) -> None:
        """Create a client.

        Args:
            url: mqtts://user@host:port, or mqtt:// without TLS; see `check_broker_url`.
            password: the user's password.
            ca: PEM roots to trust instead of the system's.
            timeout_s: how long the broker may take to acknowledge an event, in seconds.

        Raises:
            FailedPrecondition: paho-mqtt is missing (EXTRA_MISSING), or `ca` cannot be read
                (MQTT_CA_UNREADABLE).
        """
        parts = urlsplit(url)
        self._host, self._port = parts.hostname or "", parts.port or _PORTS[parts.scheme]
        self._timeout_s = timeout_s
        self._client = _client()
        self._announced: set[str] = set()
        if parts.username:
            self._client.username_pw_set(
                parts.username, password.get_secret_value() if password else None
            )
        if parts.scheme == "mqtts":
            try:
                self._client.tls_set_context(ssl.create_default_context(cafile=ca))
            except OSError as error:
                raise FailedPrecondition(
                    "MQTT_CA_UNREADABLE", f"mqtt_ca {ca} cannot be used: {error}"
                ) from error
        self._client.reconnect_delay_set(1, _LONGEST_PAUSE_S)
        self._client.on_connect = _log_connection

    async def send(self, target: Target, event: Event) -> str:
        """Publish an event; return the outcome.

        Raises:
            NotTaken: there is no connection, or no acknowledgement in time.
        """
        if target.rule_id not in self._announced:
            await self.announce(target.collection_id, target.rule_id)
        payload = {"event_id": event.event_id, "event_type": event.type, **as_json(event)}
        await self._publish(_topic(target.collection_id, target.rule_id), payload)
        return f"the broker at {self._host} has it"

    async def announce(self, collection_id: str, rule_id: str) -> None:
        """Create a Home Assistant entity for a rule, without personal data. Raises as `send`."""
        entity = {
            "name": f"Alert {rule_id[:8]}",
            "unique_id": f"compactface_{rule_id}",
            "state_topic": _topic(collection_id, rule_id),
            "event_types": [ALERT, TEST],
            "icon": "mdi:account-alert",
            "device": {
                "identifiers": [f"compactface_{collection_id}"],
                "name": f"compactface {collection_id}",
            },
            "origin": {"name": "compactface", "sw_version": version("compactface")},
        }
        await self._publish(_discovery_topic(rule_id), entity, retain=True)
        self._announced.add(rule_id)

    async def withdraw(self, rule_id: str) -> None:
        """Remove a rule's Home Assistant entity. Raises as `send`."""
        self._announced.discard(rule_id)
        await self._publish(_discovery_topic(rule_id), None, retain=True)

    async def _publish(self, topic: str, payload: Any, *, retain: bool = False) -> None:
        if not self._client.is_connected():
            raise NotTaken(f"there is no connection to the broker at {self._host}")
        body = b"" if payload is None else json.dumps(payload, ensure_ascii=False).encode()
        published = self._client.publish(topic, body, qos=_AT_LEAST_ONCE, retain=retain)
        try:
            async with asyncio.timeout(self._timeout_s):
                while not published.is_published():  # noqa: ASYNC110 - set by another thread
                    await asyncio.sleep(_LOOK_EVERY_S)
        except TimeoutError:
            raise NotTaken(
                f"the broker at {self._host} did not acknowledge it within {self._timeout_s:g} s"
            ) from None
        except (RuntimeError, ValueError) as error:  # disconnected, or paho's queue is full
            raise NotTaken(f"the broker at {self._host} did not get it: {error}") from error

    async def __aenter__(self) -> Self:
        """Start connecting, until the ``async with`` block ends."""
        self._client.connect_async(self._host, self._port)
        self._client.loop_start()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Disconnect."""
        self._client.disconnect()
        await asyncio.to_thread(self._client.loop_stop)


def check_broker_url(url: str, *, insecure: bool) -> None:
    """Check that a URL names a broker and that the connection is encrypted.

    Raises:
        ValueError: what is wrong.
    """
    parts = urlsplit(url)
    if parts.scheme not in _PORTS or not parts.hostname or parts.password is not None:
        raise ValueError(
            "mqtt must be mqtts://host or mqtts://user@host:port, the password being mqtt_password"
        )
    _ = parts.port  # validated on access
    if parts.scheme == "mqtt" and not insecure and not is_loopback(parts.hostname):
        raise ValueError(
            f"mqtt names {parts.hostname}, another machine, without TLS: say mqtts://, or set "
            "insecure if anybody on the way may read who was seen"
        )


def _client() -> "Client":
    try:
        from paho.mqtt.client import Client  # noqa: PLC0415 - an extra
        from paho.mqtt.enums import CallbackAPIVersion  # noqa: PLC0415
    except ModuleNotFoundError as error:
        raise FailedPrecondition(
            "EXTRA_MISSING", "the setting mqtt needs paho-mqtt; install compactface[mqtt]"
        ) from error
    return Client(CallbackAPIVersion.VERSION2)


def _log_connection(_client: Any, _data: Any, _flags: Any, reason: Any, _properties: Any) -> None:
    if reason.is_failure:
        _log.warning("mqtt_refused", why=str(reason))
    else:
        _log.info("mqtt_connected")


def _topic(collection_id: str, rule_id: str) -> str:
    return f"compactface/{collection_id}/alerts/{rule_id}"


def _discovery_topic(rule_id: str) -> str:
    return f"homeassistant/event/compactface_{rule_id}/config"
