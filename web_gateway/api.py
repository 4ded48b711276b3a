"""The REST API: methods of the protocol, and endpoints for photographs."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from http import HTTPStatus
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from compactface.v1 import gallery_pb2
from web_gateway import photos
from web_gateway.openapi import document
from web_gateway.photo_parameters import (
    COLLECTION,
    CROPS,
    ENROLLMENT,
    FACE,
    IDENTIFY,
    LIVENESS,
    VERIFY,
    Parameters,
)
from web_gateway.problems import Problem
from web_gateway.services import METHODS, Caller, Services
from web_gateway.sightings import watch, watch_request
from web_gateway.transcoding import (
    MAPPED,
    Mapped,
    build_request,
    from_query,
    parse,
    path_value,
    to_json,
)
from web_gateway.uploads import Limits, read_json, read_photographs

Endpoint = Callable[[Request], Awaitable[Response]]


class Api:
    """The endpoints under /v1."""

    def __init__(self, services: Services, limits: Limits, stopping: asyncio.Event) -> None:
        self._services = services
        self._limits = limits
        self._stopping = stopping
        self._document = document()

    def routes(self) -> list[Route]:
        """All routes, including the OpenAPI document."""
        return [
            Route("/openapi.json", self._openapi, methods=["GET"]),
            Route("/v1/health", self._health, methods=["GET"]),
            Route("/v1/encode", self._encode, methods=["POST"]),
            Route("/v1/identify", self._identify, methods=["POST"]),
            Route("/v1/verify", self._verify, methods=["POST"]),
            Route(
                "/v1/collections/{collection}/subjects/{subjectId}/faces",
                self._enroll,
                methods=["POST"],
            ),
            Route("/v1/collections/{collection}/sightings:watch", self._watch, methods=["GET"]),
            *(Route(each.path, self._mapped(each), methods=[each.verb]) for each in MAPPED),
        ]

    async def _openapi(self, _: Request) -> Response:
        return JSONResponse(self._document)

    async def _health(self, _: Request) -> Response:
        """Health of both services: 200 if both serve, else 503. Needs no authentication."""
        health = await self._services.health()
        serving = set(health.values()) == {"SERVING"}
        return JSONResponse(health, HTTPStatus.OK if serving else HTTPStatus.SERVICE_UNAVAILABLE)

    async def _encode(self, request: Request) -> Response:
        given = Parameters(request, CROPS)
        caller = self._caller(request)
        await caller.encoder.info()  # rejects strangers before reading their photograph
        image = (await read_photographs(request, self._limits))["image"]
        answer = await caller.encoder.encode(image, include_crops=given.flag("includeCrops"))
        return JSONResponse(to_json(answer))

    async def _identify(self, request: Request) -> Response:
        given = Parameters(request, COLLECTION, IDENTIFY, LIVENESS, CROPS)
        caller = self._caller(request)
        image = (await self._photographs(request, caller))["image"]
        found, faces_found = await photos.identify(
            caller,
            image,
            collection=given.text("collection"),
            threshold=given.threshold("maxFpir"),
            max_subjects=given.whole("maxSubjects") or 0,
            include_crops=given.flag("includeCrops"),
            liveness=given.share("liveness"),
        )
        return JSONResponse(photos.identified_json(found, faces_found))

    async def _verify(self, request: Request) -> Response:
        given = Parameters(request, COLLECTION, VERIFY, LIVENESS)
        caller = self._caller(request)
        files = await self._photographs(request, caller)
        subject = given.text("subjectId")
        if bool(subject) == ("reference" in files):
            raise Problem(
                HTTPStatus.BAD_REQUEST,
                "REFERENCE_MISSING" if not subject else "REFERENCE_AMBIGUOUS",
                "give either the parameter subjectId or a second photograph, the file "
                '"reference" of a multipart form',
                field="subjectId",
            )
        answer: dict[str, Any] = {}
        if subject:
            reference: Any = subject
        else:
            encoded = await caller.encode(files["reference"])
            chosen = given.whole("referenceFace")
            index = photos.chosen_face(encoded, chosen, parameter="referenceFace")
            reference = encoded.faces[index].map
            answer["reference"] = photos.face_json(index, encoded.faces[index])
        verified, faces_found = await photos.verify(
            caller,
            files["image"],
            reference,
            collection=given.text("collection"),
            threshold=given.threshold("maxFmr"),
            liveness=given.share("liveness"),
        )
        answer["faces"] = [
            photos.face_json(index, face) | {"verification": to_json(verification)}
            for index, (face, verification) in enumerate(verified)
        ]
        answer["facesFound"] = faces_found
        return JSONResponse(answer)

    async def _enroll(self, request: Request) -> Response:
        given = Parameters(request, ENROLLMENT, FACE, LIVENESS)
        enrollment = parse(
            {
                **from_query(given.only(ENROLLMENT), ENROLLMENT_FIELDS),
                **{name: path_value(value) for name, value in request.path_params.items()},
            },
            gallery_pb2.EnrollRequest,
        )
        assert isinstance(enrollment, gallery_pb2.EnrollRequest)
        caller = self._caller(request)
        image = (await self._photographs(request, caller))["image"]
        answer, encoded, index = await photos.enroll(
            caller,
            image,
            enrollment,
            face=given.whole("face"),
            liveness=given.share("liveness"),
        )
        photograph = {
            "faces": photos.faces_json(encoded),
            "facesFound": encoded.faces_found,
            "face": index,
        }
        return JSONResponse({**to_json(answer), "photograph": photograph}, HTTPStatus.CREATED)

    async def _watch(self, request: Request) -> Response:
        asked = watch_request(request, request.path_params["collection"])
        return await watch(
            self._caller(request),
            asked,
            stopping=self._stopping,
            show=lambda answer: json.dumps(to_json(answer)),
        )

    def _mapped(self, mapped: Mapped) -> Endpoint:
        async def endpoint(request: Request) -> Response:
            caller = self._caller(request)
            body = await read_json(request, self._limits) if mapped.body else None
            message = build_request(
                mapped,
                path=request.path_params,
                query=request.query_params.multi_items(),
                body=body,
            )
            return JSONResponse(to_json(await caller.call(mapped.method, message)))

        return endpoint

    async def _photographs(self, request: Request, caller: Caller) -> dict[str, bytes]:
        """Authenticate the caller, then read the photographs."""
        await caller.known()
        return await read_photographs(request, self._limits)

    def _caller(self, request: Request) -> Caller:
        return self._services.caller(bearer_token(request))


ENROLLMENT_FIELDS = {
    each.name: METHODS["Enroll"].input_type.fields_by_camelcase_name[each.name]
    for each in ENROLLMENT
}


def bearer_token(request: Request) -> str:
    """The bearer token of a request; "": none.

    Raises:
        Problem: the header is not a valid bearer token.
    """
    given = request.headers.get("authorization", "")
    scheme, _, token = given.partition(" ")
    token = token.strip()
    if not given:
        return ""
    if scheme.lower() != "bearer" or not token.isascii() or not token.isprintable() or not token:
        raise Problem(
            HTTPStatus.UNAUTHORIZED, "NOT_A_BEARER_TOKEN", "authorization must be: Bearer TOKEN"
        )
    return token
