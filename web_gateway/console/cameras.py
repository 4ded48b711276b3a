"""Cameras: when each was last heard of, what it saw, and what waits or was lost on the way."""

import asyncio

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from web_gateway.console.frame import PAGE, Frame, collection_of, following, or_problem
from web_gateway.console.sessions import Session
from web_gateway.problems import Problem


class Cameras:
    """The page."""

    def __init__(self, frame: Frame) -> None:
        self._frame = frame

    def routes(self) -> list[Route]:
        """The routes."""
        return [self._frame.get("/cameras", self._cameras)]

    async def _cameras(self, request: Request, session: Session) -> Response:
        caller = self._frame.caller(session)
        cameras, encoder = await asyncio.gather(
            or_problem(
                caller.recognizer.sightings.cameras(
                    collection=collection_of(request),
                    page_size=PAGE,
                    page_token=request.query_params.get("page_token", ""),
                )
            ),
            or_problem(caller.encoder.info()),
        )
        token = "" if isinstance(cameras, Problem) else cameras.next_page_token
        return self._frame.render(
            request,
            "cameras.html",
            session,
            cameras=cameras,
            encoder=encoder,
            following=following(request, token),
        )
