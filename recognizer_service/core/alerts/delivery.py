"""Delivers alerts from the outbox to the targets, each at its own pace."""

import asyncio
from collections.abc import Coroutine
from contextlib import suppress
from functools import partial
from typing import Protocol

import structlog

from recognizer_service.core.alerts.events import Event, NotTaken, event_of, event_of_test
from recognizer_service.core.pulse import Pulse, either
from recognizer_service.gallery.alerts.outbox import AlertOutbox, Target
from recognizer_service.gallery.alerts.rules import AlertRule, AlertRules
from recognizer_service.metrics import RecognizerMetrics
from shared.errors import FailedPrecondition, Overloaded, Unavailable
from shared.serving.backoff import Backoff
from shared.threads import InThread

_log = structlog.get_logger(__name__)

_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 1.0, 300.0
_LOOK_EVERY_S = 1.0  # for changes made by another process
_RETRY_S = 1.0
_pauses = partial(Backoff, first_s=_FIRST_PAUSE_S, longest_s=_LONGEST_PAUSE_S)


class Sender(Protocol):
    """Sends events to targets."""

    async def send(self, target: Target, event: Event) -> str:
        """Send an event and return the target's answer; raises NotTaken."""


class Announcer(Sender, Protocol):
    """A sender that also announces rules. Both methods raise NotTaken."""

    async def announce(self, collection_id: str, rule_id: str) -> None:
        """Announce a rule."""

    async def withdraw(self, rule_id: str) -> None:
        """Withdraw a deleted rule."""


class Start(Protocol):
    """Starts a background task whose failure is logged and counted."""

    def __call__(self, name: str, work: Coroutine[None, None, None]) -> asyncio.Task[None]:
        """Start the task."""


class AlertDesk:
    """Delivers alerts at least once; no target waits for another.

    Args:
        outbox: pending alerts.
        rules: the alert rules.
        rung: fires when an alert is added to the outbox.
        webhooks: sends to web servers.
        broker: sends to the MQTT broker; None if there is none.
        in_thread: runs reads.
        in_writer: runs writes.
        start: starts background tasks.
        metrics: counts delivered and failed alerts.
    """

    def __init__(
        self,
        outbox: AlertOutbox,
        rules: AlertRules,
        *,
        rung: Pulse,
        webhooks: Sender,
        broker: Announcer | None,
        in_thread: InThread,
        in_writer: InThread,
        start: Start,
        metrics: RecognizerMetrics,
    ) -> None:
        self._outbox = outbox
        self._rules = rules
        self._rung = rung
        self._webhooks = webhooks
        self._broker = broker
        self._in_thread = in_thread
        self._in_writer = in_writer
        self._start = start
        self._metrics = metrics

    async def keep_delivering(self) -> None:
        """Deliver forever, with one task per target that has pending alerts."""
        at_work: dict[int, asyncio.Task[None]] = {}
        try:
            while True:
                news = self._rung.next
                for target in await self._in_thread(self._outbox.targets):
                    task = at_work.get(target.rule_key)
                    if task is None or task.done():
                        at_work[target.rule_key] = self._start("alerts", self._serve(target))
                at_work = {key: task for key, task in at_work.items() if not task.done()}
                await either(news, timeout_s=_LOOK_EVERY_S)
        finally:
            for task in at_work.values():
                task.cancel()

    async def test(self, collection_id: str, rule_id: str) -> tuple[bool, str]:
        """Send one test event; return whether the target took it, and its answer.

        Raises:
            NotFound: no such collection or rule.
        """
        rule = await self._in_thread(self._rules.get, collection_id, rule_id)
        target = Target(0, rule.rule_id, collection_id, rule.url, rule.secret)
        try:
            return True, await self._send(target, event_of_test(target))
        except NotTaken as error:
            return False, error.why

    async def create(self, collection_id: str, rule: AlertRule, *, caller: str) -> AlertRule:
        """Add a rule.

        Raises:
            FailedPrecondition: the rule uses MQTT and no broker is configured
                (MQTT_NOT_CONFIGURED).
            InvalidInput, NotFound, FailedPrecondition: as `AlertRules.create`.
        """
        if not rule.url and self._broker is None:
            raise FailedPrecondition(
                "MQTT_NOT_CONFIGURED",
                "the recognizer's setting mqtt names no broker; set it, or give a webhook",
                field="rule.mqtt",
            )
        made = await self._in_writer(self._rules.create, collection_id, rule, caller=caller)
        if not made.url and self._broker:
            with suppress(NotTaken):  # it is announced again before its first event
                await self._broker.announce(collection_id, made.rule_id)
        return made

    async def delete(self, collection_id: str, rule_id: str, *, caller: str) -> None:
        """Delete a rule; raises as `AlertRules.delete`."""
        rule = await self._in_thread(self._rules.get, collection_id, rule_id)
        await self._in_writer(self._rules.delete, collection_id, rule_id, caller=caller)
        if not rule.url and self._broker:
            try:
                await self._broker.withdraw(rule_id)
            except NotTaken as error:
                _log.warning("alert_rule_not_withdrawn", rule_id=rule_id, why=error.why)

    async def _send(self, target: Target, event: Event) -> str:
        if target.url:
            return await self._webhooks.send(target, event)
        if self._broker:
            return await self._broker.send(target, event)
        raise NotTaken("the recognizer's setting mqtt names no broker")

    async def _serve(self, target: Target) -> None:
        """Deliver the pending events of a target until none is left.

        A target that does not answer is retried later. If it answers but rejects an event, only
        that event is deferred and the next one is tried.
        """
        away = _pauses()
        put_off: dict[int, tuple[Backoff, float]] = {}
        clock = asyncio.get_running_loop().time
        while True:
            news = self._rung.next  # before the outbox is read, so that no event is missed
            keys = await self._in_thread(self._outbox.waiting_for, target.rule_key)
            if not keys:
                return
            put_off = {key: put_off[key] for key in keys if key in put_off}
            due = {key: put_off[key][1] if key in put_off else 0.0 for key in keys}
            ready = [key for key in keys if due[key] <= clock()]
            if not ready:
                await either(
                    news, timeout_s=min(_LOOK_EVERY_S, max(0.0, min(due.values()) - clock()))
                )
            for key in ready:
                try:
                    await self._deliver(target, key)
                except NotTaken as error:
                    if not error.answered:
                        await asyncio.sleep(away.pause_s())
                        break
                    pauses = put_off[key][0] if key in put_off else _pauses()
                    put_off[key] = (pauses, clock() + pauses.pause_s())
                away.reset()

    async def _deliver(self, target: Target, key: int) -> None:
        """Send an event, if it still waits, and remove it from the outbox; raises NotTaken."""
        alert = await self._in_thread(self._outbox.get, key)
        if alert is None:
            return
        try:
            await self._send(target, event_of(alert))
        except NotTaken as error:
            self._metrics.alert_failures.inc()
            log = _log.bind(rule_id=target.rule_id, event_id=alert.event_id)
            log.warning("alert_not_taken", why=error.why)
            raise
        await self._forget(key)
        self._metrics.alerts_delivered.inc()

    async def _forget(self, key: int) -> None:
        """Remove an event from the outbox; retry until it succeeds, to avoid sending twice."""
        while True:
            try:
                return await self._in_writer(self._outbox.delivered, key)
            except (Overloaded, Unavailable) as error:
                _log.warning("alerts_wait", reason=error.reason, message=error.message)
                await asyncio.sleep(_RETRY_S)
