"""Merging two people who are one."""

import asyncio
import uuid

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from web_gateway.console.erasures import ERASURE_WAIT, Erasures
from web_gateway.console.frame import Frame, collection_of, part, person_url
from web_gateway.console.sessions import Session
from web_gateway.console.words import counted
from web_gateway.uploads import Form


class Merging:
    """The page with both people side by side, and its form."""

    def __init__(self, frame: Frame, erasures: Erasures) -> None:
        self._frame = frame
        self._erasures = erasures

    def routes(self) -> list[Route]:
        """The routes."""
        path = "/people/{subject}/merge"
        return [self._frame.get(path, self._compare), self._frame.post(path, self._merge)]

    async def _compare(self, request: Request, session: Session) -> Response:
        subjects = self._frame.caller(session).recognizer.subjects
        other = request.query_params.get("other", "").strip()
        both = await asyncio.gather(
            *(
                subjects.get(each, collection=collection_of(request))
                for each in (part(request, "subject"), other)
            )
        )
        # A form that is sent twice merges once.
        return self._frame.render(
            request, "merge.html", session, both=both, request_id=str(uuid.uuid4())
        )

    async def _merge(self, request: Request, session: Session, form: Form) -> Response:
        subject, other = part(request, "subject"), form.fields.get("other", "")
        collection = form.fields.get("collection", "")
        answer = await self._frame.caller(session).recognizer.subjects.merge(
            subject,
            other,
            collection=collection,
            request_id=form.fields.get("request_id", ""),
            erasure_wait=ERASURE_WAIT,
        )
        kept = answer.subject
        faces = counted(kept.face_count, "face")
        return self._erasures.show(
            request,
            session,
            title="Merged",
            changes=[
                f"{other} is now part of {kept.display_name or subject}, who has {faces}.",
            ],
            erased=answer.erased,
            erasure=answer.erasure,
            person=person_url(subject, collection),
        )
