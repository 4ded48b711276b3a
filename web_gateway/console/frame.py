"""What all pages of the console share: sessions, credentials, templates."""

import asyncio
from collections.abc import Awaitable, Callable
from http import HTTPStatus
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote, urlencode

import jinja2
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.routing import Route

from compactface.client import RequestFailed
from compactface.v1 import recognizer_pb2
from web_gateway.console.sessions import Session, Sessions
from web_gateway.console.words import FILTERS
from web_gateway.problems import Problem
from web_gateway.services import Caller, Services
from web_gateway.transcoding import path_value
from web_gateway.uploads import Form, Limits, read_form

HERE: Final = Path(__file__).parent
PAGE: Final = 50
"""Rows of a page."""

Page = Callable[[Request, Session], Awaitable[Response]]
Submit = Callable[[Request, Session, Form], Awaitable[Response]]


class Frame:
    """Wraps pages and forms with the session, and renders them.

    Args:
        services: called with the session's token.
        limits: limits of uploads.
        session_s: lifetime of a session in seconds.
        secure: whether browsers connect by https only.
        stopping: event set when the gateway stops.
    """

    def __init__(
        self,
        services: Services,
        limits: Limits,
        *,
        session_s: float,
        secure: bool,
        stopping: asyncio.Event,
    ) -> None:
        self.services = services
        self.limits = limits
        self.secure = secure
        self.stopping = stopping
        # With the prefix, browsers accept the cookie from this exact host only, and by https.
        self.cookie = "__Host-compactface" if secure else "compactface"
        self.sessions = Sessions(seconds=session_s)
        self._templates = jinja2.Environment(
            loader=jinja2.FileSystemLoader(HERE / "templates"),
            autoescape=True,
            undefined=jinja2.StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self._templates.filters |= FILTERS
        self._templates.globals |= {
            "person_url": person_url,
            "page_url": page_url,
            "MATCH": recognizer_pb2.IDENTIFY_DECISION_MATCH,
        }

    def get(self, path: str, page: Page) -> Route:
        """The route of a page, for signed-in browsers."""

        async def endpoint(request: Request) -> Response:
            session = self.session(request)
            if session is None:
                wanted = request.url.path + (f"?{request.url.query}" if request.url.query else "")
                return to(page_url("/sign-in", "", to=wanted))
            return await page(request, session)

        return Route(path, endpoint, methods=["GET"])

    def post(self, path: str, submit: Submit) -> Route:
        """The route of a form, for signed-in browsers, with the CSRF check."""

        async def endpoint(request: Request) -> Response:
            session = self.session(request)
            if session is None:
                return to("/sign-in")
            form = await read_form(request, self.limits)
            if not session.owns(form.fields.get("form_key", "")):
                raise Problem(
                    HTTPStatus.FORBIDDEN, "FORM_EXPIRED", "the page was too old; load it again"
                )
            return await submit(request, session, form)

        return Route(path, endpoint, methods=["POST"])

    def session(self, request: Request) -> Session | None:
        """The session of a request's cookie."""
        return self.sessions.find(request.cookies.get(self.cookie, ""))

    def caller(self, session: Session) -> Caller:
        """The services with the session's token."""
        return self.services.caller(session.token)

    def template(self, name: str) -> jinja2.Template:
        """A template by its file name."""
        return self._templates.get_template(name)

    def render(
        self,
        request: Request,
        template: str,
        session: Session | None,
        *,
        status: int = HTTPStatus.OK,
        form: Form | None = None,
        **values: Any,
    ) -> HTMLResponse:
        """Render a page; `form` is the one submitted, if any."""
        collection = (form.fields if form else request.query_params).get("collection", "")
        return HTMLResponse(
            self.template(template).render(
                session=session,
                path=request.url.path,
                collection=collection,
                **values,
            ),
            status,
        )


async def or_problem(call: Awaitable[Any]) -> Any:
    """The response, or its error: a page shows the parts that the caller may access."""
    try:
        return await call
    except RequestFailed as failure:
        return Problem.of(failure)


def to(path: str) -> RedirectResponse:
    """Redirect a browser after a form."""
    return RedirectResponse(path, HTTPStatus.SEE_OTHER)


def collection_of(request: Request) -> str:
    """The collection of a page; "" is the default one."""
    return request.query_params.get("collection", "")


def whole_number(text: str) -> int:
    """A number from a form or query; 0 if it is none, or more than the protocol's 63 bits."""
    return int(text) if text.isascii() and text.isdigit() and len(text) < 19 else 0  # noqa: PLR2004


def following(request: Request, page_token: str) -> str:
    """The query string of the next page; "": none."""
    if not page_token:
        return ""
    kept = [pair for pair in request.query_params.multi_items() if pair[0] != "page_token"]
    return urlencode([*kept, ("page_token", page_token)])


def part(request: Request, name: str) -> str:
    """A decoded segment of the path."""
    return path_value(request.path_params[name])


def page_url(page: str, collection: str, **query: str | int) -> str:
    """The address of a page, with its collection unless that is the default."""
    given = {"collection": collection, **query}
    shown = urlencode({name: value for name, value in given.items() if value})
    return page + (f"?{shown}" if shown else "")


def person_url(subject: str, collection: str, *more: str, **query: str) -> str:
    """The address of a person's page, or of one below it."""
    path = "/".join(quote(part, safe="") for part in (subject, *more))
    return page_url(f"/people/{path}", collection, **query)
