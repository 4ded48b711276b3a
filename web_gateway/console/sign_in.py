"""Signing in with a token, and out."""

from http import HTTPStatus
from typing import Final

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from compactface.client import RequestFailed
from web_gateway.console.frame import Frame, to
from web_gateway.console.sessions import Session
from web_gateway.problems import Problem
from web_gateway.uploads import Form, Limits, read_form

_FORM_BYTES: Final = 1 << 14


class SignIn:
    """The forms that open and close sessions."""

    def __init__(self, frame: Frame) -> None:
        self._frame = frame

    def routes(self) -> list[Route]:
        """The routes."""
        return [
            Route("/sign-in", self._sign_in_page, methods=["GET"]),
            Route("/sign-in", self._sign_in, methods=["POST"]),
            self._frame.post("/sign-out", self._sign_out),
        ]

    async def _sign_in_page(self, request: Request) -> Response:
        wanted = request.query_params.get("to", "")
        return self._frame.render(request, "sign_in.html", None, refusal="", wanted=wanted)

    async def _sign_in(self, request: Request) -> Response:
        form = await read_form(request, Limits(_FORM_BYTES, self._frame.limits.seconds))
        token = form.fields.get("token", "").strip()
        if not ((token.isascii() and token.isprintable()) or not token):
            refusal = "this is no token"
        else:
            try:
                await self._frame.services.caller(token).recognizer.info()
            except RequestFailed as failure:
                refusal = Problem.of(failure).detail
            else:
                answer = to(_page_here(form.fields.get("to", "")))
                answer.set_cookie(
                    self._frame.cookie,
                    self._frame.sessions.open(token),
                    max_age=round(self._frame.sessions.seconds),
                    path="/",
                    secure=self._frame.secure,
                    httponly=True,
                    samesite="strict",
                )
                return answer
        return self._frame.render(
            request,
            "sign_in.html",
            None,
            status=HTTPStatus.UNAUTHORIZED,
            refusal=refusal,
            wanted=form.fields.get("to", ""),
        )

    async def _sign_out(self, request: Request, _: Session, __: Form) -> Response:
        self._frame.sessions.close(request.cookies.get(self._frame.cookie, ""))
        answer = to("/sign-in")
        answer.delete_cookie(self._frame.cookie, path="/", secure=self._frame.secure, httponly=True)
        return answer


def _page_here(wanted: str) -> str:
    """The page that was wanted before signing in; links of others must not lead elsewhere."""
    here = wanted.startswith("/") and wanted[1:2] not in {"/", "\\"} and wanted.isprintable()
    return wanted if here else "/people"
