# ruff: noqa: N802, ARG002 - names and signatures are the protocol's
"""RecognizerService: receive, convert, call, convert, send."""

from importlib.metadata import version

from compactface.v1 import recognizer_pb2
from recognizer_service.api import conversions
from recognizer_service.api.bulk_calls import identify_all
from recognizer_service.api.identity import caller_name
from recognizer_service.api.sighting_servicer import MAX_STREAM_MAPS, SightingServicer
from recognizer_service.gallery.audit import Operation
from recognizer_service.gallery.limits import MAX_FACES_PER_SUBJECT, MAX_SUBJECTS_PER_SEARCH
from shared.codec.png_reader import MAX_PNG_BYTES
from shared.errors import InvalidInput
from shared.faces.display import encode_png
from shared.serving.interceptor import Context


class RecognizerServicer(SightingServicer):
    """The calls of backends; the base class serves sightings."""

    async def Identify(
        self, request: recognizer_pb2.IdentifyRequest, context: Context
    ) -> recognizer_pb2.IdentifyResponse:
        """Search a collection for a probe (1:N)."""
        answer = await self._recognizer.identifier.identify(conversions.question(request))
        return conversions.identify_response(answer)

    async def BatchIdentify(
        self, request: recognizer_pb2.BatchIdentifyRequest, context: Context
    ) -> recognizer_pb2.BatchIdentifyResponse:
        """Identify many probes, with one status each."""
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
        """Compare a probe with a map or a subject (1:1)."""
        collection = conversions.collection_id(request.collection)
        probe = conversions.probe(request.probe)
        criterion = conversions.verify_criterion(request.threshold)
        reference = request.WhichOneof("reference")
        if reference is None:
            raise InvalidInput(
                "NO_REFERENCE", "neither map nor subject_id is set", field="reference"
            )
        if reference == "subject_id":
            answer = await self._recognizer.verifier.verify_subject(
                collection, probe, request.subject_id, criterion
            )
        else:
            face = conversions.face_map(request.map, field="map")
            answer = await self._recognizer.verifier.verify_map(collection, probe, face, criterion)
        return conversions.verify_response(answer)

    async def Embed(
        self, request: recognizer_pb2.EmbedRequest, context: Context
    ) -> recognizer_pb2.EmbedResponse:
        """Compute the embedding of a map."""
        embedding, space = await self._recognizer.embed(
            conversions.face_map(request.map, field="map")
        )
        await self._recognizer.note(Operation.EMBED, "", caller=caller_name())
        return recognizer_pb2.EmbedResponse(embedding=embedding.tolist(), embedding_space=space)

    async def Reconstruct(
        self, request: recognizer_pb2.ReconstructRequest, context: Context
    ) -> recognizer_pb2.ReconstructResponse:
        """Reconstruct the face from a map."""
        collection = conversions.collection_id(request.collection)
        probe = conversions.probe(request.probe)
        picture = await self._recognizer.reconstruct(collection, probe)
        await self._recognizer.note(Operation.RECONSTRUCT, collection, caller=caller_name())
        return recognizer_pb2.ReconstructResponse(png=encode_png(picture))

    async def GetRecognizerInfo(
        self, request: recognizer_pb2.GetRecognizerInfoRequest, context: Context
    ) -> recognizer_pb2.GetRecognizerInfoResponse:
        """Return the model, codecs and limits."""
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
            max_stream_maps=MAX_STREAM_MAPS,
        )
        if (kept_s := await self.stream_retention_s()) is not None:
            info.stream_retention.FromSeconds(kept_s)
        info.max_batch_wait.FromMicroseconds(round(1000 * self._settings.max_batch_wait_ms))
        return info
