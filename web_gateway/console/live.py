"""Live: what cameras see."""

from typing import Final
from urllib.parse import urlencode

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from compactface.v1 import recognizer_pb2
from web_gateway.console.frame import (
    PAGE,
    Frame,
    collection_of,
    following,
    part,
    whole_number,
)
from web_gateway.console.sessions import Session
from web_gateway.sightings import watch

_SHOWN: Final = {
    "known": (recognizer_pb2.IDENTIFY_DECISION_MATCH,),
    "unknown": (
        recognizer_pb2.IDENTIFY_DECISION_NO_MATCH,
        recognizer_pb2.IDENTIFY_DECISION_EMPTY_GALLERY,
    ),
}


class Live:
    """The list of sightings, its events and pictures."""

    def __init__(self, frame: Frame) -> None:
        self._frame = frame

    def routes(self) -> list[Route]:
        """The routes."""
        return [
            self._frame.get("/live", self._live),
            self._frame.get("/live/events", self._events),
            self._frame.get("/live/{sighting}/picture", self._picture),
        ]

    async def _live(self, request: Request, session: Session) -> Response:
        only = sighting_filter(request)
        answer = await self._frame.caller(session).recognizer.sightings.list(
            collection=collection_of(request),
            only=only,
            page_size=PAGE,
            page_token=request.query_params.get("page_token", ""),
        )
        return self._frame.render(
            request,
            "live.html",
            session,
            sightings=answer.sightings,
            following=following(request, answer.next_page_token),
            only=only,
            shown=request.query_params.get("shown", ""),
            events=urlencode(
                [*request.query_params.multi_items(), ("resume_token", answer.resume_token)]
            ),
        )

    async def _events(self, request: Request, session: Session) -> Response:
        """Send table rows for new sightings as events."""
        template = self._frame.template("sighting.html")
        collection = collection_of(request)
        return await watch(
            self._frame.caller(session),
            recognizer_pb2.WatchSightingsRequest(
                collection=collection,
                filter=sighting_filter(request),
                # A browser that connects again says what it has seen since.
                resume_token=request.headers.get("last-event-id", "")
                or request.query_params.get("resume_token", ""),
            ),
            stopping=self._frame.stopping,
            show=lambda answer: template.render(
                sighting=answer.sighting,
                session=session,
                collection=collection,
            ),
        )

    async def _picture(self, request: Request, session: Session) -> Response:
        answer = await self._frame.caller(session).recognizer.sightings.get(
            part(request, "sighting"), collection=collection_of(request), include_picture=True
        )
        return Response(answer.picture_png, media_type="image/png")


def sighting_filter(request: Request) -> recognizer_pb2.SightingFilter:
    """The filter of sightings from the page's query."""
    query = request.query_params
    return recognizer_pb2.SightingFilter(
        camera_id=query.get("camera", "").strip(),
        decisions=_SHOWN.get(query.get("shown", ""), ()),
        stranger_number=whole_number(query.get("stranger", "")),
    )
