"""Rules: who is told when somebody passes a camera."""

from datetime import timedelta
from http import HTTPStatus
from typing import Any, Final

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from compactface.client.alerts import new_secret
from compactface.v1 import alerts_pb2
from web_gateway.console.frame import Frame, collection_of, page_url, part, to
from web_gateway.console.sessions import Session
from web_gateway.problems import Problem
from web_gateway.uploads import Form

_MOST_RULES: Final = 100  # of a collection
_MOST_MINUTES: Final = 30 * 24 * 60
_MOST_DIGITS: Final = 6  # more than the limit has


class Rules:
    """The list of alert rules, and its forms."""

    def __init__(self, frame: Frame) -> None:
        self._frame = frame

    def routes(self) -> list[Route]:
        """The routes."""
        frame = self._frame
        return [
            frame.get("/rules", self._rules),
            frame.post("/rules", self._create),
            frame.post("/rules/{rule}/test", self._test),
            frame.post("/rules/{rule}/delete", self._delete),
        ]

    async def _rules(self, request: Request, session: Session) -> Response:
        return await self._show(request, session, collection_of(request))

    async def _create(self, request: Request, session: Session, form: Form) -> Response:
        fields = form.fields
        collection, url = fields.get("collection", ""), fields.get("url", "").strip()
        rule = alerts_pb2.AlertRule(camera_id=fields.get("camera", "").strip())
        whom, name = fields.get("whom", ""), fields.get("name", "").strip()
        if whom == "unknown":
            rule.any_unknown = True
        elif whom == "subject":
            rule.subject_id = name
        else:
            rule.label = name
        rule.quiet_time.FromTimedelta(_minutes(fields.get("quiet", "")))
        secret = made = ""
        if fields.get("target") == "mqtt":
            rule.mqtt.SetInParent()
        else:
            secret = fields.get("secret", "").strip() or (made := new_secret())
            rule.webhook.url, rule.webhook.secret = url, secret
        await self._frame.caller(session).call(
            "CreateAlertRule", alerts_pb2.CreateAlertRuleRequest(collection=collection, rule=rule)
        )
        if not made:
            return to(page_url("/rules", collection))
        return await self._show(request, session, collection, form=form, secret=made)

    async def _test(self, request: Request, session: Session, form: Form) -> Response:
        rule, collection = part(request, "rule"), form.fields.get("collection", "")
        tried = await self._frame.caller(session).recognizer.alerts.test(
            rule, collection=collection
        )
        return await self._show(request, session, collection, form=form, tried={rule: tried})

    async def _delete(self, request: Request, session: Session, form: Form) -> Response:
        collection = form.fields.get("collection", "")
        await self._frame.caller(session).recognizer.alerts.delete(
            part(request, "rule"), collection=collection
        )
        return to(page_url("/rules", collection))

    async def _show(
        self,
        request: Request,
        session: Session,
        collection: str,
        *,
        form: Form | None = None,
        secret: str = "",
        tried: dict[str, Any] | None = None,
    ) -> Response:
        """Render the page; a secret made here is shown once."""
        answer = await self._frame.caller(session).recognizer.alerts.list(
            collection=collection, page_size=_MOST_RULES
        )
        return self._frame.render(
            request,
            "rules.html",
            session,
            form=form,
            rules=answer.rules,
            secret=secret,
            tried=tried or {},
        )


def _minutes(text: str) -> timedelta:
    """Parse a quiet time in minutes, from 0 to 30 days."""
    try:
        minutes = int(text.strip()[:_MOST_DIGITS] or "0")
    except ValueError:
        minutes = -1
    if not 0 <= minutes <= _MOST_MINUTES:
        raise Problem(
            HTTPStatus.BAD_REQUEST,
            "OUT_OF_RANGE",
            f"quiet minutes are {text!r:.20}; they must be 0 to {_MOST_MINUTES}",
            field="quiet",
        )
    return timedelta(minutes=minutes)
