"""What a deletion changed, and whether its bytes have left the disk."""

from collections.abc import Sequence
from datetime import timedelta
from http import HTTPStatus
from typing import Final

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from web_gateway.console.frame import Frame, part
from web_gateway.console.sessions import Session
from web_gateway.problems import Problem

ERASURE_WAIT: Final = timedelta(seconds=5)
_MOST_DIGITS: Final = 18  # below 2^63


class Erasures:
    """The page after a deletion, and the one that asks about it again."""

    def __init__(self, frame: Frame) -> None:
        self._frame = frame

    def routes(self) -> list[Route]:
        """The routes."""
        return [self._frame.get("/erasures/{erasure}", self._erasure)]

    def show(
        self,
        request: Request,
        session: Session,
        *,
        erased: bool,
        erasure: int,
        title: str = "Deleted",
        changes: Sequence[str] = (),
        person: str = "",
    ) -> Response:
        """Render the page.

        Args:
            request: the request.
            session: its session.
            erased: whether the bytes have left the disk.
            erasure: number of the erasure; 0: the database cannot tell.
            title: what was done.
            changes: what changed, in sentences.
            person: address of the page of a person that remains; "": none.
        """
        return self._frame.render(
            request,
            "erasure.html",
            session,
            title=title,
            changes=changes,
            erased=erased,
            erasure=erasure,
            person=person,
        )

    async def _erasure(self, request: Request, session: Session) -> Response:
        number = part(request, "erasure")
        if not number.isdigit() or len(number) > _MOST_DIGITS:
            raise Problem(HTTPStatus.NOT_FOUND, "NOT_FOUND", "there is no such erasure")
        recognizer = self._frame.caller(session).recognizer
        answer = await recognizer.erasures.get(int(number), wait=ERASURE_WAIT)
        return self.show(request, session, erased=answer.erased, erasure=int(number))
