"""People: those enrolled, searched, added, changed and deleted."""

import asyncio
import base64
from http import HTTPStatus

from google.protobuf.message import DecodeError
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from compactface.v1 import gallery_pb2
from compactface.v1.compact_map_pb2 import CompactMap
from web_gateway import photos
from web_gateway.console.erasures import ERASURE_WAIT, Erasures
from web_gateway.console.frame import (
    PAGE,
    Frame,
    collection_of,
    following,
    part,
    person_url,
    to,
    whole_number,
)
from web_gateway.console.sessions import Session
from web_gateway.console.words import counted
from web_gateway.problems import Problem
from web_gateway.uploads import Form


class People:
    """The list of people, a person's page, and their forms."""

    def __init__(self, frame: Frame, erasures: Erasures) -> None:
        self._frame = frame
        self._erasures = erasures

    def routes(self) -> list[Route]:
        """The routes."""
        frame = self._frame
        return [
            frame.get("/people", self._people),
            frame.post("/people", self._enroll),
            frame.get("/people/{subject}", self._person),
            frame.post("/people/{subject}", self._change),
            frame.post("/people/{subject}/delete", self._delete),
        ]

    async def _people(self, request: Request, session: Session) -> Response:
        query = request.query_params
        collection, label = query.get("collection", ""), query.get("label", "").strip()
        answer = await self._frame.caller(session).recognizer.subjects.list(
            collection=collection,
            name_contains=query.get("name", "").strip(),
            labels=[label] if label else [],
            page_size=PAGE,
            page_token=query.get("page_token", ""),
        )
        return self._frame.render(
            request,
            "people.html",
            session,
            subjects=answer.subjects,
            following=following(request, answer.next_page_token),
            name=query.get("name", ""),
            label=label,
        )

    async def _person(self, request: Request, session: Session) -> Response:
        subject = part(request, "subject")
        collection = collection_of(request)
        recognizer = self._frame.caller(session).recognizer
        answer, review = await asyncio.gather(
            recognizer.subjects.get(subject, collection=collection),
            recognizer.subjects.review(subject, collection=collection),
        )
        return self._frame.render(
            request,
            "person.html",
            session,
            subject=answer.subject,
            faces=answer.faces,
            doubts={doubt.face_id: doubt for doubt in review.doubts},
        )

    async def _enroll(self, request: Request, session: Session, form: Form) -> Response:
        """Enroll from a photograph, sightings, a stranger, or the map of a face shown before."""
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
        caller = self._frame.caller(session)
        if {"map", "stranger", "sighting_id", "chosen"} & fields.keys():
            _add_known_faces(enrollment, form)
            answer = await caller.call("Enroll", enrollment)
            assert isinstance(answer, gallery_pb2.EnrollResponse)
        else:
            image = form.files.get("image", b"")
            if not image:
                raise Problem(HTTPStatus.BAD_REQUEST, "IMAGE_MISSING", "choose a photograph")
            encoded = await caller.encode(image, include_crops=True)
            if len(encoded.faces) > 1:
                return self._frame.render(
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
        return to(person_url(answer.subject.subject_id, collection))

    async def _change(self, request: Request, session: Session, form: Form) -> Response:
        subject, collection = part(request, "subject"), form.fields.get("collection", "")
        await self._frame.caller(session).recognizer.subjects.update(
            subject,
            collection=collection,
            display_name=form.fields.get("display_name", "").strip(),
            labels=_words(form.fields.get("labels", "")),
            revision=whole_number(form.fields.get("revision", "")),
        )
        return to(person_url(subject, collection))

    async def _delete(self, request: Request, session: Session, form: Form) -> Response:
        subject, collection = part(request, "subject"), form.fields.get("collection", "")
        answer = await self._frame.caller(session).recognizer.subjects.delete(
            subject, collection=collection, erasure_wait=ERASURE_WAIT
        )
        faces = counted(answer.faces_deleted, "face")
        return self._erasures.show(
            request,
            session,
            changes=[f"{subject} is deleted with {faces}."],
            erased=answer.erased,
            erasure=answer.erasure,
        )


def _add_known_faces(enrollment: gallery_pb2.EnrollRequest, form: Form) -> None:
    """Add the faces that a form names, which the recognizer has or the page had."""
    if "map" in form.fields:
        enrollment.maps.append(_map(form.fields["map"]))
    elif "stranger" in form.fields:
        enrollment.stranger_number = whole_number(form.fields["stranger"])
    elif "sighting_id" in form.fields:
        enrollment.sighting_ids.extend(form.repeated["sighting_id"])
    else:
        raise Problem(
            HTTPStatus.BAD_REQUEST, "NOTHING_SELECTED", "choose one or several sightings first"
        )


def _words(text: str) -> list[str]:
    """Split comma-separated labels."""
    return [word for each in text.split(",") if (word := each.strip())]


def _map(text: str) -> CompactMap:
    """Decode a map from a form field."""
    try:
        return CompactMap.FromString(base64.b64decode(text, validate=True))
    except (ValueError, DecodeError):
        raise Problem(
            HTTPStatus.BAD_REQUEST, "MALFORMED_REQUEST", "the form holds no compact map"
        ) from None
