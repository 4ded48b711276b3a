"""The gateway as an ASGI application: routes and error handlers."""

import asyncio
from http import HTTPStatus

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from compactface.client import RequestFailed
from web_gateway.api import Api
from web_gateway.console.pages import Console
from web_gateway.metrics import WebMetrics
from web_gateway.problems import Problem
from web_gateway.rates import Rates
from web_gateway.services import Services
from web_gateway.settings import WebSettings
from web_gateway.surroundings import Surroundings, internal
from web_gateway.uploads import Limits


def make_app(
    settings: WebSettings, services: Services, metrics: WebMetrics, stopping: asyncio.Event
) -> Surroundings:
    """Create the application; `stopping` ends long-lived requests."""
    limits = Limits(settings.max_upload_bytes, settings.upload_seconds)
    secure = settings.tls_certificate is not None
    console = Console(
        services,
        limits,
        session_s=3600 * settings.session_hours,
        secure=secure,
        stopping=stopping,
    )

    async def show(request: Request, error: Exception) -> Response:
        problem = _problem(error)
        if request.url.path.startswith(("/v1/", "/openapi.json")):
            return problem.response()
        return console.show_problem(request, problem)

    app = Starlette(
        routes=[*Api(services, limits, stopping).routes(), *console.routes()],
        exception_handlers=dict.fromkeys((Problem, RequestFailed, HTTPException, Exception), show),
    )
    app.router.redirect_slashes = False
    return Surroundings(
        app,
        names=settings.known_names,
        max_in_flight=settings.max_in_flight,
        max_watchers=settings.max_watchers,
        rates=Rates(settings.max_requests_per_second),
        secure=secure,
        metrics=metrics,
    )


def _problem(error: Exception) -> Problem:
    if isinstance(error, Problem):
        return error
    if isinstance(error, RequestFailed):
        return Problem.of(error)
    if isinstance(error, HTTPException):  # from the router: 404 or 405
        status = HTTPStatus(error.status_code)
        return Problem(status, status.name, status.description or status.phrase)
    return internal()
