"""The console: server-rendered pages over the same calls as REST."""

import asyncio
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from web_gateway.console.ask import Ask
from web_gateway.console.cameras import Cameras
from web_gateway.console.erasures import Erasures
from web_gateway.console.faces import Faces
from web_gateway.console.frame import HERE, Frame, to
from web_gateway.console.live import Live
from web_gateway.console.merging import Merging
from web_gateway.console.people import People
from web_gateway.console.rules import Rules
from web_gateway.console.sign_in import SignIn
from web_gateway.console.strangers import Strangers
from web_gateway.console.system import System
from web_gateway.problems import Problem
from web_gateway.services import Services
from web_gateway.surroundings import current_request_id
from web_gateway.uploads import Limits


class Console:
    """All pages and forms; arguments as for `Frame`."""

    def __init__(
        self,
        services: Services,
        limits: Limits,
        *,
        session_s: float,
        secure: bool,
        stopping: asyncio.Event,
    ) -> None:
        self._frame = Frame(services, limits, session_s=session_s, secure=secure, stopping=stopping)

    def routes(self) -> list[Route | Mount]:
        """All routes, including static files."""
        frame = self._frame
        erasures = Erasures(frame)
        pages = (
            SignIn(frame),
            People(frame, erasures),
            Faces(frame, erasures),
            Merging(frame, erasures),
            erasures,
            Ask(frame),
            Live(frame),
            Strangers(frame),
            Cameras(frame),
            Rules(frame),
            System(frame),
        )
        return [
            Route("/", _home, methods=["GET"]),
            *(route for page in pages for route in page.routes()),
            Mount("/static", _Static(directory=HERE / "static"), name="static"),
        ]

    def show_problem(self, request: Request, problem: Problem) -> Response:
        """Render an error as a page."""
        return self._frame.render(
            request,
            "problem.html",
            self._frame.session(request),
            status=problem.status,
            problem=problem,
            request_id=current_request_id(),
        )


class _Static(StaticFiles):
    """Static files, which contain no personal data, so browsers may cache them."""

    def file_response(self, *args: Any, **kwargs: Any) -> Response:
        response = super().file_response(*args, **kwargs)
        response.headers["cache-control"] = "public, max-age=3600"
        return response


async def _home(_: Request) -> Response:
    return to("/people")
