"""Operations on photographs: encode them, then query the recognizer for every face."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Final

from compactface.client import RequestFailed
from compactface.v1 import encoder_pb2, gallery_pb2, recognizer_pb2
from compactface.v1.compact_map_pb2 import CompactMap
from web_gateway.problems import Problem
from web_gateway.services import Caller
from web_gateway.transcoding import to_json

_AT_ONCE: Final = 8  # concurrent verifications of one photograph


@dataclass(frozen=True, slots=True)
class Threshold:
    """A threshold; at most one field is given, with neither the collection's default applies.

    Attributes:
        rate: FPIR or FMR, in (0, 1).
        min_similarity: cosine similarity, in [-1, 1].
    """

    rate: float | None = None
    min_similarity: float | None = None


@dataclass(frozen=True, slots=True)
class Identified:
    """One face of a photograph with its identification.

    Attributes:
        face: the encoder's result.
        answer: the recognizer's result, or the error.
    """

    face: encoder_pb2.Face
    answer: recognizer_pb2.IdentifyResponse | RequestFailed


async def identify(
    caller: Caller,
    image: bytes,
    *,
    collection: str,
    threshold: Threshold,
    max_subjects: int,
    include_crops: bool = False,
    liveness: float | None = None,
) -> tuple[list[Identified], int]:
    """Identify the faces of a photograph; returns the results and the number of faces found.

    A subject matches at most one face. Faces beyond the recognizer's batch limit are ignored, the
    least prominent first.
    """
    most = (await caller.known()).max_batch
    encoded = await caller.encode(
        image, max_faces=most, include_crops=include_crops, liveness=liveness
    )
    if not encoded.faces:
        return [], 0
    batch = await caller.recognizer.batch_identify(
        [face.map for face in encoded.faces],
        collection=collection,
        max_fpir=threshold.rate,
        min_similarity=threshold.min_similarity,
        max_subjects=max_subjects,
        pictures=["photograph"] * len(encoded.faces),
    )
    found = [
        Identified(
            face,
            RequestFailed.from_status(result.error)
            if result.HasField("error")
            else result.response,
        )
        for face, result in zip(encoded.faces, batch.results, strict=True)
    ]
    if failed := _failed_alike(found):
        raise failed
    return found, encoded.faces_found


async def verify(
    caller: Caller,
    image: bytes,
    reference: CompactMap | str,
    *,
    collection: str,
    threshold: Threshold,
    liveness: float | None = None,
) -> tuple[list[tuple[encoder_pb2.Face, recognizer_pb2.VerifyResponse]], int]:
    """Verify each face of a photograph against a map or subject."""
    encoded = await caller.encode(image, liveness=liveness)
    places = asyncio.Semaphore(_AT_ONCE)

    async def one(face: encoder_pb2.Face) -> recognizer_pb2.VerifyResponse:
        async with places:
            return await caller.recognizer.verify(
                face.map,
                reference,
                collection=collection,
                max_fmr=threshold.rate,
                min_similarity=threshold.min_similarity,
            )

    try:
        async with asyncio.TaskGroup() as tasks:
            running = [tasks.create_task(one(face)) for face in encoded.faces]
    except ExceptionGroup as failures:
        raise failures.exceptions[0] from None
    answers = [task.result() for task in running]
    return list(zip(encoded.faces, answers, strict=True)), encoded.faces_found


async def enroll(
    caller: Caller,
    image: bytes,
    request: gallery_pb2.EnrollRequest,
    *,
    face: int | None,
    liveness: float | None = None,
) -> tuple[gallery_pb2.EnrollResponse, encoder_pb2.EncodeResponse, int]:
    """Enroll one face of a photograph; returns the response, the encoder's result and the index.

    Args:
        caller: the caller.
        image: the photograph.
        request: the enrollment, without `maps`.
        face: index of the face; None: the photograph must show exactly one.
        liveness: what the client claims for the photograph, in [0, 1]; None: nothing.

    Raises:
        Problem: NO_FACE, SEVERAL_FACES or FACE_OUT_OF_RANGE; the last two list the faces.
    """
    encoded = await caller.encode(image, liveness=liveness)
    index = chosen_face(encoded, face, parameter="face")
    request.maps.append(encoded.faces[index].map)
    answer = await caller.call("Enroll", request)
    assert isinstance(answer, gallery_pb2.EnrollResponse)
    return answer, encoded, index


def chosen_face(encoded: encoder_pb2.EncodeResponse, face: int | None, *, parameter: str) -> int:
    """The index of the selected face.

    Raises:
        Problem: as `enroll`.
    """
    faces: dict[str, Any] = {"faces": faces_json(encoded), "facesFound": encoded.faces_found}
    if not encoded.faces:
        raise Problem(
            HTTPStatus.UNPROCESSABLE_ENTITY, "NO_FACE", "no face was found in the photograph"
        )
    if face is None:
        if encoded.faces_found > 1 or len(encoded.faces) > 1:
            raise Problem(
                HTTPStatus.UNPROCESSABLE_ENTITY,
                "SEVERAL_FACES",
                f"{len(encoded.faces)} faces were found; say which with {parameter}=INDEX",
                field=parameter,
                **faces,
            )
        return 0
    if face >= len(encoded.faces):
        raise Problem(
            HTTPStatus.UNPROCESSABLE_ENTITY,
            "FACE_OUT_OF_RANGE",
            f"{parameter} is {face}; the photograph has {len(encoded.faces)} faces, from 0",
            field=parameter,
            **faces,
        )
    return face


def faces_json(encoded: encoder_pb2.EncodeResponse) -> list[dict[str, Any]]:
    """All faces as JSON, without their maps."""
    return [face_json(index, face) for index, face in enumerate(encoded.faces)]


def face_json(index: int, face: encoder_pb2.Face) -> dict[str, Any]:
    """One face's index, box and quality as JSON, without its map."""
    shown = to_json(face)
    document = {"index": index, "box": None, "landmarks": None}
    document |= {name: shown[name] for name in ("detectionScore", "quality")}
    document |= {name: shown[name] for name in ("box", "landmarks") if name in shown}
    if face.crop_png:
        document["cropPng"] = shown["cropPng"]
    return document


def identified_json(found: list[Identified], faces_found: int) -> Mapping[str, Any]:
    """The JSON response of `identify`."""
    return {
        "faces": [
            face_json(index, each.face)
            | (
                {"error": Problem.of(each.answer).document()}
                if isinstance(each.answer, RequestFailed)
                else {"identification": to_json(each.answer)}
            )
            for index, each in enumerate(found)
        ],
        "facesFound": faces_found,
    }


def _failed_alike(found: list[Identified]) -> RequestFailed | None:
    """The error shared by all faces, if any: it then concerns the request, not a face."""
    failures = [each.answer for each in found if isinstance(each.answer, RequestFailed)]
    reasons = {failure.reason for failure in failures}
    return failures[0] if len(failures) == len(found) and len(reasons) == 1 else None
