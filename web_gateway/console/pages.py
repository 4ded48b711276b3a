"""The console: server-rendered pages over the same calls as REST."""

import asyncio
import base64
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote, urlencode

import jinja2
from google.protobuf.message import DecodeError
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from compactface.client import RequestFailed
from compactface.v1 import gallery_pb2, recognizer_pb2
from compactface.v1.compact_map_pb2 import CompactMap
from web_gateway import photos
from web_gateway.console.sessions import Session, Sessions
from web_gateway.console.words import FILTERS
from web_gateway.problems import Problem
from web_gateway.services import Caller, Services
from web_gateway.sightings import watch
from web_gateway.surroundings import current_request_id
from web_gateway.transcoding import path_value
from web_gateway.uploads import Form, Limits, read_form

_HERE: Final = Path(__file__).parent
_CANDIDATES: Final = 5
_PAGE: Final = 50
_AUDITED: Final = timedelta(days=1)
_MOST_EVENTS: Final = 1000
_SIGN_IN_BYTES: Final = 1 << 14
_ERASURE_WAIT: Final = timedelta(seconds=5)

_SHOWN: Final = {
    "known": (recognizer_pb2.IDENTIFY_DECISION_MATCH,),
    "unknown": (
        recognizer_pb2.IDENTIFY_DECISION_NO_MATCH,
        recognizer_pb2.IDENTIFY_DECISION_EMPTY_GALLERY,
    ),
}

Page = Callable[[Request, Session], Awaitable[Response]]
Submit = Callable[[Request, Session, Form], Awaitable[Response]]


class Console:
    """The pages and forms.

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
        self._services = services
        self._limits = limits
        self._secure = secure
        self._stopping = stopping
        # With the prefix, browsers accept the cookie from this exact host only, and by https.
        self._cookie = "__Host-compactface" if secure else "compactface"
        self._sessions = Sessions(seconds=session_s)
        self._templates = jinja2.Environment(
            loader=jinja2.FileSystemLoader(_HERE / "templates"),
            autoescape=True,
            undefined=jinja2.StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self._templates.filters |= FILTERS

    def routes(self) -> list[Route | Mount]:
        """All routes, including static files."""
        return [
            Route("/", self._home, methods=["GET"]),
            Route("/sign-in", self._sign_in_page, methods=["GET"]),
            Route("/sign-in", self._sign_in, methods=["POST"]),
            Route("/sign-out", self._submit(self._sign_out), methods=["POST"]),
            Route("/people", self._page(self._people), methods=["GET"]),
            Route("/people", self._submit(self._enroll), methods=["POST"]),
            Route("/people/{subject}", self._page(self._person), methods=["GET"]),
            Route("/people/{subject}", self._submit(self._change), methods=["POST"]),
            Route("/people/{subject}/delete", self._submit(self._delete), methods=["POST"]),
            Route(
                "/people/{subject}/faces/{face}/delete",
                self._submit(self._delete_face),
                methods=["POST"],
            ),
            Route(
                "/people/{subject}/faces/{face}/picture", self._page(self._face), methods=["GET"]
            ),
            Route("/live", self._page(self._live), methods=["GET"]),
            Route("/live/events", self._page(self._events), methods=["GET"]),
            Route("/live/{sighting}/picture", self._page(self._sighting), methods=["GET"]),
            Route("/erasures/{erasure}", self._page(self._erasure), methods=["GET"]),
            Route("/ask", self._page(self._ask_page), methods=["GET"]),
            Route("/ask", self._submit(self._ask), methods=["POST"]),
            Route("/system", self._page(self._system), methods=["GET"]),
            Mount("/static", _Static(directory=_HERE / "static"), name="static"),
        ]

    def show_problem(self, request: Request, problem: Problem) -> Response:
        """Render an error as a page."""
        return self._render(
            request,
            "problem.html",
            self._session(request),
            status=problem.status,
            problem=problem,
            request_id=current_request_id(),
        )

    # --- sessions ---

    def _session(self, request: Request) -> Session | None:
        return self._sessions.find(request.cookies.get(self._cookie, ""))

    def _page(self, page: Page) -> Callable[[Request], Awaitable[Response]]:
        async def endpoint(request: Request) -> Response:
            session = self._session(request)
            if session is None:
                return _to("/sign-in")
            return await page(request, session)

        return endpoint

    def _submit(self, submit: Submit) -> Callable[[Request], Awaitable[Response]]:
        """Wrap a form handler with the session and CSRF check."""

        async def endpoint(request: Request) -> Response:
            session = self._session(request)
            if session is None:
                return _to("/sign-in")
            form = await read_form(request, self._limits)
            if not session.owns(form.fields.get("form_key", "")):
                raise Problem(
                    HTTPStatus.FORBIDDEN, "FORM_EXPIRED", "the page was too old; load it again"
                )
            return await submit(request, session, form)

        return endpoint

    async def _home(self, _: Request) -> Response:
        return _to("/people")

    async def _sign_in_page(self, request: Request) -> Response:
        return self._render(request, "sign_in.html", None, refusal="")

    async def _sign_in(self, request: Request) -> Response:
        form = await read_form(request, Limits(_SIGN_IN_BYTES, self._limits.seconds))
        token = form.fields.get("token", "").strip()
        if not ((token.isascii() and token.isprintable()) or not token):
            refusal = "this is no token"
        else:
            try:
                await self._services.caller(token).recognizer.info()
            except RequestFailed as failure:
                refusal = Problem.of(failure).detail
            else:
                answer = _to("/people")
                answer.set_cookie(
                    self._cookie,
                    self._sessions.open(token),
                    max_age=round(self._sessions.seconds),
                    path="/",
                    secure=self._secure,
                    httponly=True,
                    samesite="strict",
                )
                return answer
        return self._render(
            request, "sign_in.html", None, status=HTTPStatus.UNAUTHORIZED, refusal=refusal
        )

    async def _sign_out(self, request: Request, _: Session, __: Form) -> Response:
        self._sessions.close(request.cookies.get(self._cookie, ""))
        answer = _to("/sign-in")
        answer.delete_cookie(self._cookie, path="/", secure=self._secure, httponly=True)
        return answer

    # --- people ---

    async def _people(self, request: Request, session: Session) -> Response:
        query = request.query_params
        collection, label = query.get("collection", ""), query.get("label", "").strip()
        answer = await self._caller(session).recognizer.subjects.list(
            collection=collection,
            name_contains=query.get("name", "").strip(),
            labels=[label] if label else [],
            page_size=_PAGE,
            page_token=query.get("page_token", ""),
        )
        return self._render(
            request,
            "people.html",
            session,
            subjects=answer.subjects,
            following=_following(request, answer.next_page_token),
            name=query.get("name", ""),
            label=label,
        )

    async def _person(self, request: Request, session: Session) -> Response:
        subject = _part(request, "subject")
        collection = _collection(request)
        recognizer = self._caller(session).recognizer
        answer, review = await asyncio.gather(
            recognizer.subjects.get(subject, collection=collection),
            recognizer.subjects.review(subject, collection=collection),
        )
        return self._render(
            request,
            "person.html",
            session,
            subject=answer.subject,
            faces=answer.faces,
            doubts={doubt.face_id: doubt for doubt in review.doubts},
        )

    async def _enroll(self, request: Request, session: Session, form: Form) -> Response:
        """Enroll from a photograph, a sighting, or the map of a face shown before."""
        fields = form.fields
        collection = fields.get("collection", "")
        enrollment = gallery_pb2.EnrollRequest(
            collection=collection,
            subject_id=fields.get("subject_id", "").strip(),
            display_name=fields.get("display_name", "").strip(),
            labels=_words(fields.get("labels", "")),
            on_duplicate=(
                gallery_pb2.ON_DUPLICATE_ALLOW
                if fields.get("allow_duplicate")
                else gallery_pb2.ON_DUPLICATE_REJECT
            ),
        )
        caller = self._caller(session)
        if "map" in fields or "sighting_id" in fields:
            if "map" in fields:
                enrollment.maps.append(_map(fields["map"]))
            else:
                enrollment.sighting_ids.append(fields["sighting_id"])
            answer = await caller.call("Enroll", enrollment)
            assert isinstance(answer, gallery_pb2.EnrollResponse)
        else:
            image = form.files.get("image", b"")
            if not image:
                raise Problem(HTTPStatus.BAD_REQUEST, "IMAGE_MISSING", "choose a photograph")
            encoded = await caller.encode(image, include_crops=True)
            if len(encoded.faces) > 1:
                return self._render(
                    request,
                    "choose.html",
                    session,
                    status=HTTPStatus.UNPROCESSABLE_ENTITY,
                    faces=encoded.faces,
                    enrollment=enrollment,
                )
            photos.chosen_face(encoded, None, parameter="face")
            enrollment.maps.append(encoded.faces[0].map)
            answer = await caller.call("Enroll", enrollment)
            assert isinstance(answer, gallery_pb2.EnrollResponse)
        return _to(_person_url(answer.subject.subject_id, collection))

    async def _change(self, request: Request, session: Session, form: Form) -> Response:
        subject, collection = _part(request, "subject"), form.fields.get("collection", "")
        revision = form.fields.get("revision", "0")
        await self._caller(session).recognizer.subjects.update(
            subject,
            collection=collection,
            display_name=form.fields.get("display_name", "").strip(),
            labels=_words(form.fields.get("labels", "")),
            revision=int(revision) if revision.isdigit() and len(revision) < 19 else 0,  # noqa: PLR2004 - of uint64
        )
        return _to(_person_url(subject, collection))

    async def _delete(self, request: Request, session: Session, form: Form) -> Response:
        subject, collection = _part(request, "subject"), form.fields.get("collection", "")
        answer = await self._caller(session).recognizer.subjects.delete(
            subject, collection=collection, erasure_wait=_ERASURE_WAIT
        )
        return self._erased(request, session, subject, answer, answer.faces_deleted)

    async def _delete_face(self, request: Request, session: Session, form: Form) -> Response:
        answer = await self._caller(session).recognizer.faces.delete(
            _part(request, "face"),
            collection=form.fields.get("collection", ""),
            erasure_wait=_ERASURE_WAIT,
        )
        return self._erased(request, session, _part(request, "subject"), answer, 1)

    def _erased(
        self, request: Request, session: Session, subject: str, answer: Any, faces: int
    ) -> Response:
        return self._render(
            request,
            "erasure.html",
            session,
            subject=subject,
            faces=faces,
            erased=answer.erased,
            erasure=answer.erasure,
        )

    async def _erasure(self, request: Request, session: Session) -> Response:
        number = _part(request, "erasure")
        if not number.isdigit() or len(number) >= 19:  # noqa: PLR2004 - 2^63
            raise Problem(HTTPStatus.NOT_FOUND, "NOT_FOUND", "there is no such erasure")
        answer = await self._caller(session).recognizer.erasures.get(
            int(number), wait=_ERASURE_WAIT
        )
        return self._render(
            request,
            "erasure.html",
            session,
            subject="",
            faces=0,
            erased=answer.erased,
            erasure=int(number),
        )

    # --- ask ---

    async def _ask_page(self, request: Request, session: Session) -> Response:
        return self._render(request, "ask.html", session, found=None, faces_found=0, pictures=[])

    async def _ask(self, request: Request, session: Session, form: Form) -> Response:
        image = form.files.get("image", b"")
        if not image:
            raise Problem(HTTPStatus.BAD_REQUEST, "IMAGE_MISSING", "choose a photograph")
        caller = self._caller(session)
        found, faces_found = await photos.identify(
            caller,
            image,
            collection=form.fields.get("collection", ""),
            threshold=photos.Threshold(),
            max_subjects=_CANDIDATES,
            include_crops=True,
        )
        pictures = await asyncio.gather(
            *(_or_problem(caller.recognizer.reconstruct(each.face.map)) for each in found)
        )
        return self._render(
            request,
            "ask.html",
            session,
            form=form,
            found=found,
            faces_found=faces_found,
            # Tokens without the scope `reconstruct` get no images.
            pictures=[b"" if isinstance(each, Problem) else each.png for each in pictures],
        )

    # --- live ---

    async def _live(self, request: Request, session: Session) -> Response:
        only = _filter(request)
        answer = await self._caller(session).recognizer.sightings.list(
            collection=_collection(request),
            only=only,
            page_size=_PAGE,
            page_token=request.query_params.get("page_token", ""),
        )
        return self._render(
            request,
            "live.html",
            session,
            sightings=answer.sightings,
            following=_following(request, answer.next_page_token),
            only=only,
            shown=request.query_params.get("shown", ""),
            query=urlencode(request.query_params.multi_items()),
        )

    async def _events(self, request: Request, session: Session) -> Response:
        """Send table rows for new sightings as events."""
        template = self._templates.get_template("sighting.html")
        collection = _collection(request)
        return await watch(
            self._caller(session),
            recognizer_pb2.WatchSightingsRequest(
                collection=collection,
                filter=_filter(request),
                resume_token=request.headers.get("last-event-id", ""),
            ),
            stopping=self._stopping,
            show=lambda answer: template.render(
                sighting=answer.sighting,
                session=session,
                collection=collection,
                person_url=_person_url,
            ),
        )

    async def _sighting(self, request: Request, session: Session) -> Response:
        answer = await self._caller(session).recognizer.sightings.get(
            _part(request, "sighting"), collection=_collection(request), include_picture=True
        )
        return Response(answer.picture_png, media_type="image/png")

    async def _face(self, request: Request, session: Session) -> Response:
        answer = await self._caller(session).call(
            "GetFace",
            gallery_pb2.GetFaceRequest(
                collection=_collection(request),
                face_id=_part(request, "face"),
                include_picture=True,
            ),
        )
        assert isinstance(answer, gallery_pb2.GetFaceResponse)
        return Response(answer.picture_png, media_type="image/png")

    # --- system ---

    async def _system(self, request: Request, session: Session) -> Response:
        caller = self._caller(session)
        collections = [_collection(request) or "default"]
        health, encoder, recognizer, listed, one, audit = await asyncio.gather(
            self._services.health(),
            _or_problem(caller.encoder.info()),
            _or_problem(caller.recognizer.info()),
            _or_problem(caller.recognizer.collections.list(page_size=_PAGE)),
            _or_problem(caller.recognizer.collections.get(collections[0])),
            _or_problem(
                caller.recognizer.audit_events.list(
                    since=datetime.now(UTC) - _AUDITED, page_size=_MOST_EVENTS
                )
            ),
        )
        # A caller limited to one collection gets that one.
        if isinstance(listed, Problem) and not isinstance(one, Problem):
            listed = gallery_pb2.ListCollectionsResponse(collections=[one.collection])
        return self._render(
            request,
            "system.html",
            session,
            health=health,
            encoder=encoder,
            recognizer=recognizer,
            collections=listed,
            audit=audit,
            events=[] if isinstance(audit, Problem) else list(reversed(audit.events)),
        )

    # --- all pages ---

    def _caller(self, session: Session) -> Caller:
        return self._services.caller(session.token)

    def _render(
        self,
        request: Request,
        template: str,
        session: Session | None,
        *,
        status: int = HTTPStatus.OK,
        form: Form | None = None,
        **values: Any,
    ) -> HTMLResponse:
        collection = (form.fields if form else request.query_params).get("collection", "")
        return HTMLResponse(
            self._templates.get_template(template).render(
                session=session,
                path=request.url.path,
                collection=collection,
                person_url=_person_url,
                **values,
            ),
            status,
        )


class _Static(StaticFiles):
    """Static files, which contain no personal data, so browsers may cache them."""

    def file_response(self, *args: Any, **kwargs: Any) -> Response:
        response = super().file_response(*args, **kwargs)
        response.headers["cache-control"] = "public, max-age=3600"
        return response


async def _or_problem(call: Awaitable[Any]) -> Any:
    """The response, or its error: a page shows the parts that the caller may access."""
    try:
        return await call
    except RequestFailed as failure:
        return Problem.of(failure)


def _to(path: str) -> RedirectResponse:
    return RedirectResponse(path, HTTPStatus.SEE_OTHER)


def _collection(request: Request) -> str:
    return request.query_params.get("collection", "")


def _filter(request: Request) -> recognizer_pb2.SightingFilter:
    """The filter of sightings from the page's query."""
    query = request.query_params
    return recognizer_pb2.SightingFilter(
        camera_id=query.get("camera", "").strip(),
        decisions=_SHOWN.get(query.get("shown", ""), ()),
    )


def _following(request: Request, page_token: str) -> str:
    """The query string of the next page; "": none."""
    if not page_token:
        return ""
    kept = [pair for pair in request.query_params.multi_items() if pair[0] != "page_token"]
    return urlencode([*kept, ("page_token", page_token)])


def _part(request: Request, name: str) -> str:
    return path_value(request.path_params[name])


def _person_url(subject: str, collection: str, *more: str) -> str:
    path = "/".join(quote(part, safe="") for part in (subject, *more))
    return f"/people/{path}" + (f"?{urlencode({'collection': collection})}" if collection else "")


def _words(text: str) -> list[str]:
    """Split comma-separated labels."""
    return [word for part in text.split(",") if (word := part.strip())]


def _map(text: str) -> CompactMap:
    """Decode a map from a form field."""
    try:
        return CompactMap.FromString(base64.b64decode(text, validate=True))
    except (ValueError, DecodeError):
        raise Problem(
            HTTPStatus.BAD_REQUEST, "MALFORMED_REQUEST", "the form holds no compact map"
        ) from None
