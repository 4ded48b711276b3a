"""RecognizerService: receive, convert, call, convert, send."""

import asyncio
from collections.abc import AsyncIterator
from importlib.metadata import version

import grpc
from compactface.v1 import recognizer_pb2, recognizer_pb2_grpc

from recognizer_service import conversions
from recognizer_service.gallery.limits import MAX_SUBJECTS_PER_SEARCH
from recognizer_service.gallery.records import SightingOutcome
from recognizer_service.recognizer import Recognizer
from recognizer_service.settings import RecognizerSettings
from shared.errors import CompactfaceError, InvalidInput
from shared.face.display import encode_png
from shared.png_reader import MAX_PNG_BYTES
from shared.service.error_interceptor import to_status

_OUTCOMES = {
    SightingOutcome.STORED: recognizer_pb2.StreamMapsResponse.OUTCOME_STORED,
    SightingOutcome.DUPLICATE: recognizer_pb2.StreamMapsResponse.OUTCOME_DUPLICATE,
    SightingOutcome.DISCARDED: recognizer_pb2.StreamMapsResponse.OUTCOME_DISCARDED,
}
_ANONYMOUS_CAMERA = "anonymous"


class RecognizerServicer(recognizer_pb2_grpc.RecognizerServiceServicer):
    """The questions of backends, and the streams of cameras."""

    def __init__(self, recognizer: Recognizer, settings: RecognizerSettings) -> None:
        self._recognizer = recognizer
        self._settings = settings

    async def Identify(  # noqa: N802 - named by the protocol
        self,
        request: recognizer_pb2.IdentifyRequest,
        context: grpc.aio.ServicerContext,  # noqa: ARG002
    ) -> recognizer_pb2.IdentifyResponse:
        """Who is this?"""
        return await self._identify(request)

    async def BatchIdentify(  # noqa: N802
        self,
        request: recognizer_pb2.BatchIdentifyRequest,
        context: grpc.aio.ServicerContext,  # noqa: ARG002
    ) -> recognizer_pb2.BatchIdentifyResponse:
        """Who are these? One status each."""
        limit = self._settings.max_batch_items
        if not 1 <= len(request.requests) <= limit:
            raise InvalidInput(
                "INVALID_BATCH_SIZE",
                f"{len(request.requests)} items given; 1 to {limit} are accepted",
                field="requests",
            )
        results = await asyncio.gather(*map(self._identify_item, request.requests))
        return recognizer_pb2.BatchIdentifyResponse(results=results)

    async def Verify(  # noqa: N802
        self,
        request: recognizer_pb2.VerifyRequest,
        context: grpc.aio.ServicerContext,  # noqa: ARG002
    ) -> recognizer_pb2.VerifyResponse:
        """Is this the same person?"""
        collection = conversions.collection_id(request.collection)
        probe = conversions.probe(request.probe)
        criterion = conversions.verify_criterion(request.threshold)
        reference = request.WhichOneof("reference")
        if reference == "subject_id":
            answer = await self._recognizer.verify_subject(
                collection, probe, request.subject_id, criterion
            )
        elif reference == "map":
            answer = await self._recognizer.verify_map(
                collection, probe, conversions.face_map(request.map), criterion
            )
        else:
            raise InvalidInput("NO_REFERENCE", "neither map nor subject_id is set", field="map")
        return conversions.verify_response(answer)

    async def StreamMaps(  # noqa: N802
        self,
        request_iterator: AsyncIterator[recognizer_pb2.StreamMapsRequest],
        context: grpc.aio.ServicerContext,
    ) -> AsyncIterator[recognizer_pb2.StreamMapsResponse]:
        """Take maps from a camera, acknowledging each once it is durable."""
        camera_id = _camera_id(context)
        async for request in request_iterator:
            yield await self._accept(request, camera_id)

    async def Embed(  # noqa: N802
        self,
        request: recognizer_pb2.EmbedRequest,
        context: grpc.aio.ServicerContext,  # noqa: ARG002
    ) -> recognizer_pb2.EmbedResponse:
        """Compute the embedding of a map."""
        embedding = await self._recognizer.embed(conversions.face_map(request.map))
        return recognizer_pb2.EmbedResponse(
            embedding=embedding.tolist(), embedding_space=self._recognizer.decoder.embedding_space
        )

    async def Reconstruct(  # noqa: N802
        self,
        request: recognizer_pb2.ReconstructRequest,
        context: grpc.aio.ServicerContext,  # noqa: ARG002
    ) -> recognizer_pb2.ReconstructResponse:
        """Paint the picture that a map holds."""
        picture = await self._recognizer.reconstruct(
            conversions.collection_id(request.collection), conversions.probe(request.probe)
        )
        return recognizer_pb2.ReconstructResponse(png=encode_png(picture))

    async def GetRecognizerInfo(  # noqa: N802
        self,
        request: recognizer_pb2.GetRecognizerInfoRequest,  # noqa: ARG002
        context: grpc.aio.ServicerContext,  # noqa: ARG002
    ) -> recognizer_pb2.GetRecognizerInfoResponse:
        """Describe model, codecs and limits."""
        manifest = self._recognizer.decoder.model.manifest
        info = recognizer_pb2.GetRecognizerInfoResponse(
            version=version("compactface"),
            model_family=manifest.family,
            model_version=manifest.version,
            embedding_space=manifest.embedding_space,
            codecs=[
                recognizer_pb2.Codec(
                    codec_id=codec.codec_id,
                    operating_point=point,
                    channels=codec.channels,
                    levels=codec.levels,
                    layout=codec.layout,
                )
                for point, codec in manifest.codecs.items()
            ],
            max_batch=self._settings.max_batch_items,
            max_subjects=MAX_SUBJECTS_PER_SEARCH,
            max_map_bytes=MAX_PNG_BYTES,
            min_quality=self._settings.min_quality,
            device=self._settings.device,
        )
        info.max_batch_wait.FromMicroseconds(round(1000 * self._settings.max_batch_wait_ms))
        return info

    async def _identify(
        self, request: recognizer_pb2.IdentifyRequest
    ) -> recognizer_pb2.IdentifyResponse:
        answer = await self._recognizer.identify(
            conversions.collection_id(request.collection),
            conversions.probe(request.probe),
            conversions.identify_criterion(request.threshold),
            max_subjects=request.max_subjects or 1,
        )
        return conversions.identify_response(answer)

    async def _identify_item(
        self, request: recognizer_pb2.IdentifyRequest
    ) -> recognizer_pb2.BatchIdentifyResult:
        try:
            return recognizer_pb2.BatchIdentifyResult(response=await self._identify(request))
        except CompactfaceError as error:
            return recognizer_pb2.BatchIdentifyResult(error=to_status(error))

    async def _accept(
        self, request: recognizer_pb2.StreamMapsRequest, camera_id: str
    ) -> recognizer_pb2.StreamMapsResponse:
        answer = recognizer_pb2.StreamMapsResponse(sighting_id=request.sighting_id)
        try:
            outcome = await self._recognizer.accept_sighting(
                self._settings.stream_collection,
                request.sighting_id,
                camera_id,
                conversions.face_map(request.map),
            )
        except CompactfaceError as error:
            answer.error.CopyFrom(to_status(error))
        else:
            answer.outcome = _OUTCOMES[outcome]
        return answer


def _camera_id(context: grpc.aio.ServicerContext) -> str:
    """The common name of the client's certificate; without mutual TLS nobody can be sure."""
    names = context.auth_context().get("x509_common_name", [])
    return names[0].decode(errors="replace")[:128] if names else _ANONYMOUS_CAMERA
