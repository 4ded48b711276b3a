"""System: health, models and their change, collections and the audit log."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Final

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from compactface.v1 import gallery_pb2
from web_gateway.console.frame import PAGE, Frame, collection_of, or_problem
from web_gateway.console.sessions import Session
from web_gateway.problems import Problem
from web_gateway.uploads import Form

_AUDITED: Final = timedelta(days=1)
_MOST_EVENTS: Final = 1000


class System:
    """The page."""

    def __init__(self, frame: Frame) -> None:
        self._frame = frame

    def routes(self) -> list[Route]:
        """The routes."""
        return [
            self._frame.get("/system", self._system),
            self._frame.post("/system/model", self._change_model),
        ]

    async def _system(self, request: Request, session: Session) -> Response:
        caller = self._frame.caller(session)
        collections = [collection_of(request) or "default"]
        health, encoder, recognizer, listed, one, audit = await asyncio.gather(
            self._frame.services.health(),
            or_problem(caller.encoder.info()),
            or_problem(caller.recognizer.info()),
            or_problem(caller.recognizer.collections.list(page_size=PAGE)),
            or_problem(caller.recognizer.collections.get(collections[0])),
            or_problem(
                caller.recognizer.audit_events.list(
                    since=datetime.now(UTC) - _AUDITED, page_size=_MOST_EVENTS
                )
            ),
        )
        # A caller limited to one collection gets that one.
        if isinstance(listed, Problem) and not isinstance(one, Problem):
            listed = gallery_pb2.ListCollectionsResponse(collections=[one.collection])
        return self._frame.render(
            request,
            "system.html",
            session,
            health=health,
            encoder=encoder,
            recognizer=recognizer,
            collections=listed,
            HIGHER=gallery_pb2.CalibrationCheck.VERDICT_HIGHER,
            audit=audit,
            events=[] if isinstance(audit, Problem) else list(reversed(audit.events)),
        )

    async def _change_model(self, request: Request, session: Session, form: Form) -> Response:
        """Begin a change to the current model, or ask how far it is."""
        recognizer = self._frame.caller(session).recognizer
        progress = await recognizer.reembed()
        serving = await recognizer.info()
        return self._frame.render(
            request, "changeover.html", session, form=form, progress=progress, serving=serving
        )
