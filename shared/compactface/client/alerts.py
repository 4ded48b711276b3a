"""AlertService: rules by which somebody is told who passes."""

import base64
import secrets
from datetime import timedelta

from compactface.client.call import Call
from compactface.client.methods import Group, T, unary
from compactface.v1 import alerts_pb2

_NO_QUIET = timedelta(0)
_SECRET_BYTES = 32


def new_secret() -> str:
    """A secret for a webhook, as standardwebhooks.com writes them."""
    return "whsec_" + base64.b64encode(secrets.token_bytes(_SECRET_BYTES)).decode()


class Alerts(Group[T]):
    """Rules of collections; everywhere `collection` "" is "default"."""

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
        """Add a rule: whom to tell of whom.

        Args:
            url: of a webhook: https, or http on the recognizer's own machine.
            secret: signs what the webhook gets; see `new_secret`. It is never answered.
            mqtt: tell the recognizer's broker instead.
            subject_id: ring for this subject.
            label: ring for subjects with this label.
            any_unknown: ring for whoever matches nobody.
            camera: only at this camera; "": at all.
            quiet_time: for how long not to ring again for a person, up to 30 days.
            collection: whose sightings.

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
        """One page of rules, oldest first; the answer holds the token of the next."""
        request = alerts_pb2.ListAlertRulesRequest(
            collection=collection, page_size=page_size, page_token=page_token
        )
        return Call(self._stub.ListAlertRules, request, alerts_pb2.ListAlertRulesResponse)

    @unary
    def delete(
        self, rule_id: str, *, collection: str = ""
    ) -> Call[alerts_pb2.DeleteAlertRuleResponse]:
        """Delete a rule with its secret and all that waits for its target."""
        request = alerts_pb2.DeleteAlertRuleRequest(collection=collection, rule_id=rule_id)
        return Call(self._stub.DeleteAlertRule, request, alerts_pb2.DeleteAlertRuleResponse)

    @unary
    def test(self, rule_id: str, *, collection: str = "") -> Call[alerts_pb2.TestAlertRuleResponse]:
        """Send the target of a rule a test, and see what it answers."""
        request = alerts_pb2.TestAlertRuleRequest(collection=collection, rule_id=rule_id)
        return Call(self._stub.TestAlertRule, request, alerts_pb2.TestAlertRuleResponse)
