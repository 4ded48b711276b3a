"""Strangers: who is not enrolled and was seen, by person."""

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from web_gateway.console.frame import (
    PAGE,
    Frame,
    collection_of,
    following,
    or_problem,
    whole_number,
)
from web_gateway.console.sessions import Session
from web_gateway.problems import Problem

_MOST_SEEN = 2**32 - 1  # of the protocol's field


class Strangers:
    """The list of strangers."""

    def __init__(self, frame: Frame) -> None:
        self._frame = frame

    def routes(self) -> list[Route]:
        """The routes."""
        return [self._frame.get("/strangers", self._strangers)]

    async def _strangers(self, request: Request, session: Session) -> Response:
        query, collection = request.query_params, collection_of(request)
        seen = max(1, min(whole_number(query.get("seen", "")), _MOST_SEEN))
        recognizer = self._frame.caller(session).recognizer
        answer = await recognizer.sightings.strangers(
            collection=collection,
            min_sightings=seen,
            page_size=PAGE,
            page_token=query.get("page_token", ""),
        )
        grouped = True
        if not answer.strangers:  # why there are none, if the caller may know
            got = await or_problem(recognizer.collections.get(collection))
            grouped = isinstance(got, Problem) or bool(got.collection.max_stranger_fpir)
        return self._frame.render(
            request,
            "strangers.html",
            session,
            strangers=answer.strangers,
            grouped=grouped,
            seen=seen,
            following=following(request, answer.next_page_token),
        )
