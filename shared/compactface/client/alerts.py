"""AlertService: rules that send an alert when a person is seen."""

import base64
import secrets
from datetime import timedelta

from compactface.client.call import Call
from compactface.client.methods import Group, T, unary
from compactface.v1 import alerts_pb2

_NO_QUIET = timedelta(0)
_SECRET_BYTES = 32


def new_secret() -> str:
    """Generate a webhook secret in the format of standardwebhooks.com."""
    return "whsec_" + base64.b64encode(secrets.token_bytes(_SECRET_BYTES)).decode()


class Alerts(Group[T]):
    """Alert rules of a collection. In all methods, `collection` "" means "default"."""

    @unary
    def create(
        self,
        *,
        url: str = "",
        secret: str = "",
        mqtt: bool = False,
        subject_id: str = "",
        label: str = "",
        any_unknown: bool = False,
        camera: str = "",
        quiet_time: timedelta = _NO_QUIET,
        collection: str = "",
    ) -> Call[alerts_pb2.CreateAlertRuleResponse]:
        """Create a rule: a target and the persons to report.

        Args:
            url: URL of a webhook: https, or http on the recognizer's own machine.
            secret: signing key of the webhook; see `new_secret`. It is never returned.
            mqtt: publish to the recognizer's MQTT broker instead.
            subject_id: alert for this subject.
            label: alert for subjects with this label.
            any_unknown: alert for faces that match no subject.
            camera: alert only at this camera; "": at any.
            quiet_time: minimum time between two alerts for a person, up to 30 days.
            collection: collection of the sightings.

        Raises:
            ValueError: not exactly one of `url` and `mqtt`, or of `subject_id`, `label` and
                `any_unknown`, is given.
        """
        if bool(url) == mqtt:
            raise ValueError("give a webhook's url, or mqtt")
        if sum((bool(subject_id), bool(label), any_unknown)) != 1:
            raise ValueError("give one of subject_id, label and any_unknown")
        rule = alerts_pb2.AlertRule(camera_id=camera, quiet_time=quiet_time)
        if subject_id:
            rule.subject_id = subject_id
        elif label:
            rule.label = label
        else:
            rule.any_unknown = True
        if mqtt:
            rule.mqtt.SetInParent()
        else:
            rule.webhook.url, rule.webhook.secret = url, secret
        request = alerts_pb2.CreateAlertRuleRequest(collection=collection, rule=rule)
        return Call(self._stub.CreateAlertRule, request, alerts_pb2.CreateAlertRuleResponse)

    @unary
    def list(
        self, *, collection: str = "", page_size: int = 100, page_token: str = ""
    ) -> Call[alerts_pb2.ListAlertRulesResponse]:
        """List rules, oldest first, by page; the response holds the next page's token."""
        request = alerts_pb2.ListAlertRulesRequest(
            collection=collection, page_size=page_size, page_token=page_token
        )
        return Call(self._stub.ListAlertRules, request, alerts_pb2.ListAlertRulesResponse)

    @unary
    def delete(
        self, rule_id: str, *, collection: str = ""
    ) -> Call[alerts_pb2.DeleteAlertRuleResponse]:
        """Delete a rule with its secret and its undelivered events."""
        request = alerts_pb2.DeleteAlertRuleRequest(collection=collection, rule_id=rule_id)
        return Call(self._stub.DeleteAlertRule, request, alerts_pb2.DeleteAlertRuleResponse)

    @unary
    def test(self, rule_id: str, *, collection: str = "") -> Call[alerts_pb2.TestAlertRuleResponse]:
        """Send a test event to a rule's target and return the result."""
        request = alerts_pb2.TestAlertRuleRequest(collection=collection, rule_id=rule_id)
        return Call(self._stub.TestAlertRule, request, alerts_pb2.TestAlertRuleResponse)
