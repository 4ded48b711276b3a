# ruff: noqa: N802, ARG002 - gRPC defines names and signatures
"""EncoderService: convert requests, call the encoder, convert results."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing
from importlib.metadata import version

from compactface.v1 import encoder_pb2, encoder_pb2_grpc
from encoder_service.api import conversions
from encoder_service.core.encoder import EncodedPicture, Encoder
from encoder_service.metrics import EncoderMetrics
from encoder_service.settings import EncoderSettings
from encoder_service.uplink.uplink import Uplink
from shared.demand import current_demand
from shared.errors import CompactfaceError, FailedPrecondition
from shared.faces.align import CROP_HEIGHT, CROP_WIDTH
from shared.model_directory import ModelDirectory
from shared.serving.error_interceptor import to_status
from shared.serving.freed_memory import FreedMemory
from shared.serving.in_order import map_in_order
from shared.serving.interceptor import Context
from shared.serving.request_id import current_request_id
from shared.serving.stopping import until_stopping
from shared.serving.workers import Workers


class EncoderServicer(encoder_pb2_grpc.EncoderServiceServicer):
    """Implements the protocol's EncoderService.

    Args:
        encoder: encodes pictures.
        uplink: destination of forwarded maps; None: forwarding is rejected.
        model: the model that GetEncoderInfo describes.
        settings: limits.
        metrics: records every picture.
        workers: thread pool for encoding.
        memory: told of every picture, which frees memory.
        stopping: event that ends streams.
    """

    def __init__(
        self,
        *,
        encoder: Encoder,
        uplink: Uplink | None,
        model: ModelDirectory,
        settings: EncoderSettings,
        metrics: EncoderMetrics,
        workers: Workers,
        memory: FreedMemory,
        stopping: asyncio.Event,
    ) -> None:
        self._encoder = encoder
        self._uplink = uplink
        self._model = model
        self._settings = settings
        self._metrics = metrics
        self._workers = workers
        self._memory = memory
        self._stopping = stopping

    async def Encode(
        self, request: encoder_pb2.EncodeRequest, context: Context
    ) -> encoder_pb2.EncodeResponse:
        """Encode one picture."""
        return await self._encode(request, path="")

    async def EncodeStream(
        self, request_iterator: AsyncIterator[encoder_pb2.EncodeStreamRequest], context: Context
    ) -> AsyncIterator[encoder_pb2.EncodeStreamResponse]:
        """Encode pictures concurrently; responses are in order."""
        frames = until_stopping(request_iterator, self._stopping)
        limit = self._settings.max_stream_in_flight
        async with aclosing(map_in_order(self._answer_frame, frames, limit=limit)) as answers:
            async for answer in answers:
                yield answer

    async def GetEncoderInfo(
        self, request: encoder_pb2.GetEncoderInfoRequest, context: Context
    ) -> encoder_pb2.GetEncoderInfoResponse:
        """Describe the model, limits and uplink."""
        settings, manifest = self._settings, self._model.manifest
        info = encoder_pb2.GetEncoderInfoResponse(
            version=version("compactface"),
            model_family=manifest.family,
            model_version=manifest.version,
            operating_point=self._encoder.crop_encoder.point,
            codec_id=self._encoder.crop_encoder.codec_id,
            max_image_bytes=settings.max_image_bytes,
            max_image_pixels=settings.max_image_pixels,
            max_decode_bytes=settings.max_decode_bytes,
            max_faces=settings.max_faces,
            max_stream_in_flight=settings.max_stream_in_flight,
            uplink_enabled=self._uplink is not None,
            uplink_depth=self._uplink.depth if self._uplink else 0,
            crop_height=CROP_HEIGHT,
            crop_width=CROP_WIDTH,
            max_message_bytes=settings.max_message_bytes,
            uplink_aside=self._uplink.aside if self._uplink else 0,
            uplink_dropped=self._uplink.dropped if self._uplink else 0,
            uplink_discards=self._uplink is not None and self._uplink.discards,
        )
        if self._uplink is not None and (age_s := self._uplink.oldest_age_s) is not None:
            info.uplink_oldest_age.FromMilliseconds(round(1000 * age_s))
        return info

    async def _answer_frame(
        self, frame: encoder_pb2.EncodeStreamRequest
    ) -> encoder_pb2.EncodeStreamResponse:
        answer = encoder_pb2.EncodeStreamResponse(frame_id=conversions.cut_frame_id(frame.frame_id))
        try:
            conversions.check_frame_id(frame.frame_id)
            answer.response.CopyFrom(await self._encode(frame.request, path="request."))
        except CompactfaceError as error:
            answer.error.CopyFrom(to_status(error))
        return answer

    async def _encode(
        self, request: encoder_pb2.EncodeRequest, *, path: str
    ) -> encoder_pb2.EncodeResponse:
        """Encode, and forward if requested; `path` is the prefix of field paths in errors."""
        if request.forward and self._uplink is None:
            raise FailedPrecondition(
                "UPLINK_DISABLED", "this encoder has no uplink; see its setting uplink_target"
            )
        taken = conversions.capture_time(request, field=f"{path}capture_time")
        camera = conversions.camera(request, field=f"{path}camera")
        picture = await self._run_encoder(request, field=f"{path}image")
        faces = [
            conversions.face_message(
                face,
                codec_id=self._encoder.crop_encoder.codec_id,
                taken=taken,
                with_crop=request.include_crops,
            )
            for face in picture.faces
        ]
        if request.forward and self._uplink is not None:
            await _forward(self._uplink, picture, faces, camera)
        return encoder_pb2.EncodeResponse(
            faces=faces,
            timings=conversions.timings_message(picture.timings),
            faces_found=picture.faces_found,
        )

    async def _run_encoder(
        self, request: encoder_pb2.EncodeRequest, *, field: str
    ) -> EncodedPicture:
        kind = conversions.picture_kind(request.kind)
        deadline = current_demand().deadline

        def work() -> EncodedPicture:
            picture = self._encoder.encode(
                request.image, kind=kind, max_faces=request.max_faces, deadline=deadline
            )
            # Here, since the caller may have cancelled.
            self._metrics.observe(picture, kind=kind, size=len(request.image))
            return picture

        try:
            return await self._workers.run(work, kind=kind.value)
        except CompactfaceError as error:
            raise error.in_field(field) from None
        finally:
            self._memory.used()


async def _forward(
    uplink: Uplink, picture: EncodedPicture, faces: Sequence[encoder_pb2.Face], camera: str
) -> None:
    """Offer the maps of a picture to the uplink, and set the outcome in the response."""
    request_id = current_request_id() or ""
    for face, encoded in zip(faces, picture.faces, strict=True):
        face.sighting_id = encoded.sighting_id
    fate = await uplink.offer(
        [conversions.uplink_message(face, camera=camera, request_id=request_id) for face in faces]
    )
    for face in faces:
        face.forward_outcome = conversions.forward_outcome(fate)
