# ruff: noqa: N802, ARG002 - names and signatures are the protocol's
"""RecognizerService: receive, convert, call, convert, send."""

import asyncio
from collections.abc import AsyncIterator
from importlib.metadata import version

import structlog

from compactface.v1 import recognizer_pb2, recognizer_pb2_grpc
from recognizer_service.api import conversions
from recognizer_service.api.batch_identification import identify_all
from recognizer_service.api.identity import caller_name
from recognizer_service.core.recognizer import Recognizer
from recognizer_service.gallery.limits import (
    MAX_FACES_PER_SUBJECT,
    MAX_ID_CHARACTERS,
    MAX_SUBJECTS_PER_SEARCH,
)
from recognizer_service.settings import RecognizerSettings
from shared.codec.png_reader import MAX_PNG_BYTES
from shared.errors import CompactfaceError, InvalidInput, Overloaded, Unavailable
from shared.faces.display import encode_png
from shared.serving.authorization import check_collection, current_caller
from shared.serving.error_interceptor import INTERNAL, to_status
from shared.serving.interceptor import Context
from shared.serving.request_id import logged_as
from shared.serving.stopping import until_stopping

_log = structlog.get_logger(__name__)
_ANONYMOUS_CAMERA = "anonymous"


class RecognizerServicer(recognizer_pb2_grpc.RecognizerServiceServicer):
    """The questions of backends, and the streams of cameras.

    Args:
        recognizer: the domain.
        settings: limits, and where streamed maps go.
        stopping: ends streams when it is set.
    """

    def __init__(
        self, recognizer: Recognizer, settings: RecognizerSettings, stopping: asyncio.Event
    ) -> None:
        self._recognizer = recognizer
        self._settings = settings
        self._stopping = stopping

    async def Identify(
        self, request: recognizer_pb2.IdentifyRequest, context: Context
    ) -> recognizer_pb2.IdentifyResponse:
        """Who is this?"""
        answer = await self._recognizer.identify(conversions.question(request))
        return conversions.identify_response(answer)

    async def BatchIdentify(
        self, request: recognizer_pb2.BatchIdentifyRequest, context: Context
    ) -> recognizer_pb2.BatchIdentifyResponse:
        """Who are these? One status each."""
        limit = self._settings.max_batch_items
        if not 1 <= len(request.requests) <= limit:
            raise InvalidInput(
                "INVALID_BATCH_SIZE",
                f"{len(request.requests)} items given; 1 to {limit} are accepted",
                field="requests",
            )
        results = await identify_all(self._recognizer, request.requests)
        return recognizer_pb2.BatchIdentifyResponse(results=results)

    async def Verify(
        self, request: recognizer_pb2.VerifyRequest, context: Context
    ) -> recognizer_pb2.VerifyResponse:
        """Is this the same person?"""
        collection = conversions.collection_id(request.collection)
        probe = conversions.probe(request.probe)
        criterion = conversions.verify_criterion(request.threshold)
        reference = request.WhichOneof("reference")
        if reference is None:
            raise InvalidInput(
                "NO_REFERENCE", "neither map nor subject_id is set", field="reference"
            )
        if reference == "subject_id":
            answer = await self._recognizer.verify_subject(
                collection, probe, request.subject_id, criterion
            )
        else:
            face = conversions.face_map(request.map, field="map")
            answer = await self._recognizer.verify_map(collection, probe, face, criterion)
        return conversions.verify_response(answer)

    async def StreamMaps(
        self, request_iterator: AsyncIterator[recognizer_pb2.StreamMapsRequest], context: Context
    ) -> AsyncIterator[recognizer_pb2.StreamMapsResponse]:
        """Take maps from a camera, acknowledging each once it is durable."""
        check_collection(current_caller(), self._settings.stream_collection)
        camera_id = caller_name() or _ANONYMOUS_CAMERA
        async for request in until_stopping(request_iterator, self._stopping):
            yield await self._accept(request, camera_id)

    async def Embed(
        self, request: recognizer_pb2.EmbedRequest, context: Context
    ) -> recognizer_pb2.EmbedResponse:
        """Compute the embedding of a map."""
        embedding, space = await self._recognizer.embed(
            conversions.face_map(request.map, field="map")
        )
        return recognizer_pb2.EmbedResponse(embedding=embedding.tolist(), embedding_space=space)

    async def Reconstruct(
        self, request: recognizer_pb2.ReconstructRequest, context: Context
    ) -> recognizer_pb2.ReconstructResponse:
        """Paint the picture that a map holds."""
        picture = await self._recognizer.reconstruct(
            conversions.collection_id(request.collection), conversions.probe(request.probe)
        )
        return recognizer_pb2.ReconstructResponse(png=encode_png(picture))

    async def GetRecognizerInfo(
        self, request: recognizer_pb2.GetRecognizerInfoRequest, context: Context
    ) -> recognizer_pb2.GetRecognizerInfoResponse:
        """Describe model, codecs and limits."""
        manifest = self._recognizer.decoder.model.manifest
        info = recognizer_pb2.GetRecognizerInfoResponse(
            version=version("compactface"),
            model_family=manifest.family,
            model_version=manifest.version,
            embedding_space=manifest.embedding_space,
            codecs=conversions.codec_messages(manifest.codecs),
            max_batch=self._settings.max_batch_items,
            max_subjects=MAX_SUBJECTS_PER_SEARCH,
            max_map_bytes=MAX_PNG_BYTES,
            min_quality=self._settings.min_quality,
            device=self._settings.device,
            max_message_bytes=self._settings.max_message_bytes,
            max_faces_per_subject=MAX_FACES_PER_SUBJECT,
        )
        info.max_batch_wait.FromMicroseconds(round(1000 * self._settings.max_batch_wait_ms))
        return info

    async def _accept(
        self, request: recognizer_pb2.StreamMapsRequest, camera_id: str
    ) -> recognizer_pb2.StreamMapsResponse:
        answer = recognizer_pb2.StreamMapsResponse(
            sighting_id=request.sighting_id[:MAX_ID_CHARACTERS]
        )
        with logged_as(request.request_id):
            await self._take(request, camera_id, answer)
        return answer

    async def _take(
        self,
        request: recognizer_pb2.StreamMapsRequest,
        camera_id: str,
        answer: recognizer_pb2.StreamMapsResponse,
    ) -> None:
        log = _log.bind(sighting_id=answer.sighting_id, camera_id=camera_id)
        try:
            outcome = await self._recognizer.accept_sighting(
                self._settings.stream_collection,
                request.sighting_id,
                camera_id,
                conversions.face_map(request.map, field="map"),
            )
        except (Overloaded, Unavailable):
            raise  # it will be sent again; what follows must not overtake it
        except CompactfaceError as error:
            answer.error.CopyFrom(to_status(error))
            log.warning("map_refused", reason=error.reason, message=error.message)
        except Exception:  # a bug that one map meets must not hold up the others
            answer.error.CopyFrom(INTERNAL)
            log.exception("map_failed")
        else:
            answer.outcome = conversions.outcome(outcome)
            log.debug("map_taken", outcome=outcome.name)
