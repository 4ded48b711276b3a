"""Ask: who is on a photograph?"""

import asyncio
from http import HTTPStatus
from typing import Final

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from web_gateway import photos
from web_gateway.console.frame import Frame, or_problem
from web_gateway.console.sessions import Session
from web_gateway.problems import Problem
from web_gateway.uploads import Form

_CANDIDATES: Final = 5


class Ask:
    """The page and its form."""

    def __init__(self, frame: Frame) -> None:
        self._frame = frame

    def routes(self) -> list[Route]:
        """The routes."""
        return [
            self._frame.get("/ask", self._ask_page),
            self._frame.post("/ask", self._ask),
        ]

    async def _ask_page(self, request: Request, session: Session) -> Response:
        return self._frame.render(
            request, "ask.html", session, found=None, faces_found=0, pictures=[]
        )

    async def _ask(self, request: Request, session: Session, form: Form) -> Response:
        image = form.files.get("image", b"")
        if not image:
            raise Problem(HTTPStatus.BAD_REQUEST, "IMAGE_MISSING", "choose a photograph")
        caller = self._frame.caller(session)
        found, faces_found = await photos.identify(
            caller,
            image,
            collection=form.fields.get("collection", ""),
            threshold=photos.Threshold(),
            max_subjects=_CANDIDATES,
            include_crops=True,
        )
        pictures = await asyncio.gather(
            *(or_problem(caller.recognizer.reconstruct(each.face.map)) for each in found)
        )
        return self._frame.render(
            request,
            "ask.html",
            session,
            form=form,
            found=found,
            faces_found=faces_found,
            # Tokens without the scope `reconstruct` get no images.
            pictures=[b"" if isinstance(each, Problem) else each.png for each in pictures],
        )
