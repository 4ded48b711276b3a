"""Waits for alerts, and tries rules."""

from compactface.v1 import alerts_pb2
from tests.services.asking import CAMERAS
from tests.services.hosting import Service, until


async def delivered(service: Service, *, events: int = 1) -> None:
    """Until so many were delivered, and none waits."""
    total = "compactface_alerts_delivered_total"
    await until(lambda: service.sample(total) >= events)
    assert service.sample("compactface_alerts_waiting") == 0


async def tried(service: Service, rule_id: str) -> alerts_pb2.TestAlertRuleResponse:
    """Send a test event; what became of it."""
    request = alerts_pb2.TestAlertRuleRequest(collection=CAMERAS, rule_id=rule_id)
    answer: alerts_pb2.TestAlertRuleResponse = await service.alerts.TestAlertRule(request)
    return answer
