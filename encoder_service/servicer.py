"""EncoderService: receive, convert, call, convert, send."""

import asyncio
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import version

import grpc
from compactface.v1 import encoder_pb2, encoder_pb2_grpc

from encoder_service import conversions
from encoder_service.encoder import EncodedPicture, Encoder
from encoder_service.metrics import EncoderMetrics
from encoder_service.settings import EncoderSettings
from encoder_service.uplink import Uplink
from shared.errors import CompactfaceError, FailedPrecondition
from shared.inference.crop_encoder import CropEncoder
from shared.model_directory import ModelDirectory
from shared.service.error_interceptor import to_status


class EncoderServicer(encoder_pb2_grpc.EncoderServiceServicer):
    """The camera's side of the protocol."""

    def __init__(
        self,
        *,
        encoder: Encoder,
        uplink: Uplink | None,
        model: ModelDirectory,
        settings: EncoderSettings,
        metrics: EncoderMetrics,
        executor: ThreadPoolExecutor,
    ) -> None:
        self._encoder = encoder
        self._uplink = uplink
        self._model = model
        self._settings = settings
        self._metrics = metrics
        self._executor = executor

    async def Encode(  # noqa: N802 - named by the protocol
        self,
        request: encoder_pb2.EncodeRequest,
        context: grpc.aio.ServicerContext,  # noqa: ARG002
    ) -> encoder_pb2.EncodeResponse:
        """Encode one picture."""
        return await self._encode(request)

    async def EncodeStream(  # noqa: N802
        self,
        request_iterator: AsyncIterator[encoder_pb2.EncodeStreamRequest],
        context: grpc.aio.ServicerContext,  # noqa: ARG002
    ) -> AsyncIterator[encoder_pb2.EncodeStreamResponse]:
        """Encode pictures side by side, answering in order."""
        answers: asyncio.Queue[asyncio.Task[encoder_pb2.EncodeStreamResponse] | None]
        answers = asyncio.Queue(self._settings.max_stream_in_flight)

        async def read() -> None:
            async for frame in request_iterator:
                await answers.put(asyncio.create_task(self._answer_frame(frame)))
            await answers.put(None)

        reader = asyncio.create_task(read())
        try:
            while (answer := await answers.get()) is not None:
                yield await answer
        finally:
            reader.cancel()
            while not answers.empty():
                if (left := answers.get_nowait()) is not None:
                    left.cancel()

    async def GetEncoderInfo(  # noqa: N802
        self,
        request: encoder_pb2.GetEncoderInfoRequest,  # noqa: ARG002
        context: grpc.aio.ServicerContext,  # noqa: ARG002
    ) -> encoder_pb2.GetEncoderInfoResponse:
        """Describe model, limits and uplink."""
        crop_encoder: CropEncoder = self._encoder.crop_encoder
        return encoder_pb2.GetEncoderInfoResponse(
            version=version("compactface"),
            model_family=self._model.manifest.family,
            model_version=self._model.manifest.version,
            operating_point=crop_encoder.point,
            codec_id=crop_encoder.codec_id,
            max_image_bytes=self._settings.max_image_bytes,
            max_image_pixels=self._settings.max_image_pixels,
            max_faces=self._settings.max_faces,
            max_stream_in_flight=self._settings.max_stream_in_flight,
            uplink_enabled=self._uplink is not None,
            uplink_depth=self._uplink.depth if self._uplink else 0,
            crop_height=112,
            crop_width=96,
        )

    async def _answer_frame(
        self, frame: encoder_pb2.EncodeStreamRequest
    ) -> encoder_pb2.EncodeStreamResponse:
        try:
            response = await self._encode(frame.request)
        except CompactfaceError as error:
            return encoder_pb2.EncodeStreamResponse(frame_id=frame.frame_id, error=to_status(error))
        return encoder_pb2.EncodeStreamResponse(frame_id=frame.frame_id, response=response)

    async def _encode(self, request: encoder_pb2.EncodeRequest) -> encoder_pb2.EncodeResponse:
        if request.forward and self._uplink is None:
            raise FailedPrecondition(
                "UPLINK_DISABLED", "this encoder has no uplink; see its setting uplink_target"
            )
        picture = await self._run_encoder(request)
        self._metrics.observe(picture)
        taken = conversions.capture_time(request)
        faces = [
            conversions.face_message(
                face,
                codec_id=self._encoder.crop_encoder.codec_id,
                taken=taken,
                forwarded=request.forward,
                with_crop=request.include_crops,
            )
            for face in picture.faces
        ]
        if request.forward and self._uplink is not None:
            self._uplink.offer([conversions.uplink_message(face) for face in faces])
        return encoder_pb2.EncodeResponse(
            faces=faces, timings=conversions.timings_message(picture.timings)
        )

    async def _run_encoder(self, request: encoder_pb2.EncodeRequest) -> EncodedPicture:
        loop = asyncio.get_running_loop()
        kind = conversions.picture_kind(request.kind)
        try:
            return await loop.run_in_executor(
                self._executor,
                lambda: self._encoder.encode(request.image, kind=kind, max_faces=request.max_faces),
            )
        except CompactfaceError as error:
            raise error.in_field("image") from None
