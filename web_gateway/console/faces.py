"""The faces of a person: pictures, and taking out one that is somebody else's."""

import asyncio
from typing import Final

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from compactface.v1 import gallery_pb2, recognizer_pb2
from web_gateway.console.erasures import ERASURE_WAIT, Erasures
from web_gateway.console.frame import Frame, collection_of, or_problem, part, person_url
from web_gateway.console.sessions import Session
from web_gateway.console.words import counted, outcome
from web_gateway.problems import Problem
from web_gateway.services import Caller
from web_gateway.uploads import Form

_LOOKED_THROUGH: Final = 200
"""Latest sightings of a person that are looked through for those a face matched."""


class Faces:
    """The page of a face, and its form."""

    def __init__(self, frame: Frame, erasures: Erasures) -> None:
        self._frame = frame
        self._erasures = erasures

    def routes(self) -> list[Route]:
        """The routes."""
        path = "/people/{subject}/faces/{face}"
        return [
            self._frame.get(path, self._face),
            self._frame.get(f"{path}/picture", self._picture),
            self._frame.post(f"{path}/delete", self._take_out),
        ]

    async def _face(self, request: Request, session: Session) -> Response:
        """A face, beside the sighting that it matched, and what taking it out would change."""
        subject, face_id = part(request, "subject"), part(request, "face")
        collection = collection_of(request)
        recognizer = self._frame.caller(session).recognizer
        face, answer, review, sightings = await asyncio.gather(
            recognizer.faces.get(face_id, collection=collection),
            recognizer.subjects.get(subject, collection=collection),
            recognizer.subjects.review(subject, collection=collection),
            or_problem(
                recognizer.sightings.list(
                    collection=collection,
                    only=recognizer_pb2.SightingFilter(subject_id=subject),
                    page_size=_LOOKED_THROUGH,
                )
            ),
        )
        return self._frame.render(
            request,
            "face.html",
            session,
            subject=answer.subject,
            face=face.face,
            doubts=[doubt for doubt in review.doubts if doubt.face_id == face_id],
            sighting=request.query_params.get("sighting", ""),
            looked_through=0 if isinstance(sightings, Problem) else len(sightings.sightings),
            matched=0 if isinstance(sightings, Problem) else _matched(sightings, face_id),
        )

    async def _take_out(self, request: Request, session: Session, form: Form) -> Response:
        subject, face_id = part(request, "subject"), part(request, "face")
        collection, sighting = form.fields.get("collection", ""), form.fields.get("sighting", "")
        caller = self._frame.caller(session)
        answer = await caller.recognizer.faces.delete(
            face_id, collection=collection, erasure_wait=ERASURE_WAIT
        )
        left = (await caller.recognizer.subjects.get(subject, collection=collection)).subject
        name, faces = left.display_name or subject, counted(left.face_count, "face")
        changes = [f"The face is no longer one of {name}, who keeps {faces}."]
        if not left.face_count:
            changes.append("Nobody is recognized as this person until a face is added.")
        if sighting:
            changes.append(await _now(caller, sighting, collection))
        return self._erasures.show(
            request,
            session,
            title="Taken out",
            changes=changes,
            erased=answer.erased,
            erasure=answer.erasure,
            person=person_url(subject, collection),
        )

    async def _picture(self, request: Request, session: Session) -> Response:
        answer = await self._frame.caller(session).call(
            "GetFace",
            gallery_pb2.GetFaceRequest(
                collection=collection_of(request),
                face_id=part(request, "face"),
                include_picture=True,
            ),
        )
        assert isinstance(answer, gallery_pb2.GetFaceResponse)
        return Response(answer.picture_png, media_type="image/png")


def _matched(listed: recognizer_pb2.ListSightingsResponse, face_id: str) -> int:
    """How many of the sightings matched by a face."""
    candidates = (each.identification.candidates for each in listed.sightings)
    return sum(bool(found) and found[0].face_id == face_id for found in candidates)


async def _now(caller: Caller, sighting: str, collection: str) -> str:
    """What the sighting would be taken for from now on."""
    answer = await or_problem(caller.recognizer.identify(sighting, collection=collection))
    if isinstance(answer, Problem):
        return f"The sighting cannot be identified again: {answer.detail}"
    return f"Seen again, this sighting would be: {outcome(answer)}"
