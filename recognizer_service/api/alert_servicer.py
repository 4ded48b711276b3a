# ruff: noqa: N802, ARG002 - names and signatures are the protocol's
"""AlertService: receive, convert, call, convert, send."""

from compactface.v1 import alerts_pb2, alerts_pb2_grpc
from recognizer_service.api.conversions import collection_id
from recognizer_service.api.identity import caller_name
from recognizer_service.core.alerts.delivery import AlertDesk
from recognizer_service.core.recognizer import Recognizer
from recognizer_service.gallery.alerts.rules import AlertRule
from shared.errors import InvalidInput
from shared.serving.interceptor import Context
from shared.serving.timestamps import timestamp

_DEFAULT_PAGE = 100


class AlertServicer(alerts_pb2_grpc.AlertServiceServicer):
    """The gRPC service for alert rules.

    Args:
        recognizer: the domain object.
        alerts: delivers alerts.
    """

    def __init__(self, recognizer: Recognizer, alerts: AlertDesk) -> None:
        self._recognizer = recognizer
        self._alerts = alerts

    async def CreateAlertRule(
        self, request: alerts_pb2.CreateAlertRuleRequest, context: Context
    ) -> alerts_pb2.CreateAlertRuleResponse:
        """Add a rule."""
        made = await self._alerts.create(
            collection_id(request.collection), _rule(request.rule), caller=caller_name()
        )
        return alerts_pb2.CreateAlertRuleResponse(rule=_message(made))

    async def ListAlertRules(
        self, request: alerts_pb2.ListAlertRulesRequest, context: Context
    ) -> alerts_pb2.ListAlertRulesResponse:
        """One page of rules."""
        page = await self._recognizer.in_thread(
            self._recognizer.gallery.alert_rules.list,
            collection_id(request.collection),
            page_size=request.page_size or _DEFAULT_PAGE,
            page_token=request.page_token,
        )
        return alerts_pb2.ListAlertRulesResponse(
            rules=map(_message, page.items), next_page_token=page.next_page_token
        )

    async def DeleteAlertRule(
        self, request: alerts_pb2.DeleteAlertRuleRequest, context: Context
    ) -> alerts_pb2.DeleteAlertRuleResponse:
        """Delete a rule."""
        await self._alerts.delete(
            collection_id(request.collection), request.rule_id, caller=caller_name()
        )
        return alerts_pb2.DeleteAlertRuleResponse()

    async def TestAlertRule(
        self, request: alerts_pb2.TestAlertRuleRequest, context: Context
    ) -> alerts_pb2.TestAlertRuleResponse:
        """Send a test event."""
        delivered, outcome = await self._alerts.test(
            collection_id(request.collection), request.rule_id
        )
        return alerts_pb2.TestAlertRuleResponse(delivered=delivered, outcome=outcome)


def _rule(message: alerts_pb2.AlertRule) -> AlertRule:
    whom = message.WhichOneof("whom")
    if whom is None or not getattr(message, whom):
        raise InvalidInput(
            "NOTHING_SELECTED",
            f"{whom or 'whom'} is not set: one of subject_id, label and any_unknown says whom the "
            "rule rings for",
            field=f"rule.{whom or 'whom'}",
        )
    target = message.WhichOneof("target")
    if target is None or (target == "webhook" and not message.webhook.url):
        raise InvalidInput(
            "NOTHING_SELECTED",
            "neither the URL of a webhook nor mqtt is given: one of them says whom to tell",
            field="rule.target",
        )
    return AlertRule(
        subject_id=message.subject_id,
        label=message.label,
        camera_id=message.camera_id,
        quiet_s=message.quiet_time.seconds + (message.quiet_time.nanos > 0),
        url=message.webhook.url,
        secret=message.webhook.secret,
    )


def _message(rule: AlertRule) -> alerts_pb2.AlertRule:
    message = alerts_pb2.AlertRule(
        rule_id=rule.rule_id,
        camera_id=rule.camera_id,
        create_time=timestamp(rule.created_at) if rule.created_at else None,
        waiting=rule.waiting,
    )
    if rule.subject_id:
        message.subject_id = rule.subject_id
    elif rule.label:
        message.label = rule.label
    else:
        message.any_unknown = True
    message.quiet_time.FromSeconds(rule.quiet_s)
    if rule.url:
        message.webhook.url = rule.url
    else:
        message.mqtt.SetInParent()
    return message
