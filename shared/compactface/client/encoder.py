"""EncoderService: encode photographs as compact maps."""

from collections.abc import AsyncIterable, AsyncIterator, Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal, overload

from google.protobuf.message import Message

from compactface.client.asynchronous import Asyncio
from compactface.client.blocking import Blocking
from compactface.client.call import Call, CallOfEach, Service, message_too_large
from compactface.client.errors import FieldViolation, InvalidArgument, RequestFailed
from compactface.client.methods import Group, T, unary
from compactface.v1 import encoder_pb2, encoder_pb2_grpc

Kind = Literal["photo", "crop"]
"""A scene with 0 to n faces, or one aligned face of 112 rows by 96 columns."""

_KINDS = {
    "photo": encoder_pb2.PICTURE_KIND_PHOTO,
    "crop": encoder_pb2.PICTURE_KIND_CROP,
}
_MAX_FRAME_ID_CHARACTERS = 128


@dataclass(frozen=True, slots=True)
class Frame:
    """One image of a stream.

    Attributes:
        image: an image file: JPEG, PNG, WebP, AVIF, HEIC, GIF, BMP or TIFF.
        frame_id: id that the response repeats; at most 128 characters.
        capture_time: capture time; None: time of arrival.
    """

    image: bytes
    frame_id: str = ""
    capture_time: datetime | None = None


class Encoder(Group[T]):
    """Methods of an encoder client; all of them raise `RequestFailed`."""

    def __init__(self, transport: T) -> None:
        super().__init__(transport, _stub(transport.channel))

    def with_timeout(self, timeout_s: float) -> "Encoder[T]":
        """Return the client with a deadline of `timeout_s` seconds per call.

        It shares the connection and need not be closed.
        """
        return Encoder(self._within(timeout_s))

    def with_token(self, token: str) -> "Encoder[T]":
        """Return the client with another bearer token; "": none.

        It shares the connection and need not be closed.
        """
        return Encoder(self._showing(token))

    @unary
    def encode(
        self,
        image: bytes,
        *,
        kind: Kind = "photo",
        capture_time: datetime | None = None,
        forward: bool = False,
        camera: str = "",
        max_faces: int = 0,
        include_crops: bool = False,
    ) -> Call[encoder_pb2.EncodeResponse]:
        """Encode every face of an image, most prominent first; an image without a face is valid.

        Args:
            image: an image file: JPEG, PNG, WebP, AVIF, HEIC, GIF, BMP or TIFF.
            kind: content of the image.
            capture_time: capture time; None: now.
            forward: whether to also send the maps to the encoder's uplink.
            camera: name of the camera in sightings, if the encoder has several.
            max_faces: maximum number of faces; 0: all.
            include_crops: whether to return the aligned faces as PNG, for display.
        """
        request = encoder_pb2.EncodeRequest(
            image=image,
            kind=_KINDS[kind],
            capture_time=capture_time,
            forward=forward,
            camera=camera,
            max_faces=max_faces,
            include_crops=include_crops,
        )
        return Call(self._stub.Encode, request, encoder_pb2.EncodeResponse)

    @overload
    def encode_stream(
        self: "Encoder[Blocking]",
        frames: Iterable[Frame],
        *,
        kind: Kind = "photo",
        forward: bool = False,
        camera: str = "",
        max_faces: int = 0,
        include_crops: bool = False,
    ) -> Iterator[encoder_pb2.EncodeStreamResponse]: ...

    @overload
    def encode_stream(
        self: "Encoder[Asyncio]",
        frames: Iterable[Frame] | AsyncIterable[Frame],
        *,
        kind: Kind = "photo",
        forward: bool = False,
        camera: str = "",
        max_faces: int = 0,
        include_crops: bool = False,
    ) -> AsyncIterator[encoder_pb2.EncodeStreamResponse]: ...

    def encode_stream(
        self,
        frames: Any,
        *,
        kind: Kind = "photo",
        forward: bool = False,
        camera: str = "",
        max_faces: int = 0,
        include_crops: bool = False,
    ) -> Any:
        """Yield one response per frame, in order, while frames are still being sent.

        A frame that cannot be encoded does not end the stream: its response has `error` set, which
        `RequestFailed.from_status` decodes. Options as in `encode`. No deadline.

        Args:
            frames: read in another thread or task, slightly ahead of the responses. An exception of
                the iterator ends the stream and is raised here.
            kind: content of every frame.
            forward: whether to also send the maps to the encoder's uplink.
            camera: name of the camera in sightings, if the encoder has several.
            max_faces: maximum number of faces per frame; 0: all.
            include_crops: whether to return the aligned faces as PNG, for display.
        """

        def request(frame: Frame) -> encoder_pb2.EncodeStreamRequest:
            return encoder_pb2.EncodeStreamRequest(
                frame_id=frame.frame_id,
                request=encoder_pb2.EncodeRequest(
                    image=frame.image,
                    kind=_KINDS[kind],
                    capture_time=frame.capture_time,
                    forward=forward,
                    camera=camera,
                    max_faces=max_faces,
                    include_crops=include_crops,
                ),
            )

        call = CallOfEach(
            self._stub.EncodeStream, request, encoder_pb2.EncodeStreamResponse, stand_in=_stand_in
        )
        return self._transport.each(call, frames)

    @unary
    def info(self) -> Call[encoder_pb2.GetEncoderInfoResponse]:
        """Get the model, limits and state of the uplink."""
        return _info(self._transport.channel)


def _stub(channel: Any) -> Any:
    return encoder_pb2_grpc.EncoderServiceStub(channel)  # type: ignore[no-untyped-call] # generated


def _info(channel: Any) -> Call[encoder_pb2.GetEncoderInfoResponse]:
    return Call(
        _stub(channel).GetEncoderInfo,
        encoder_pb2.GetEncoderInfoRequest(),
        encoder_pb2.GetEncoderInfoResponse,
    )


def _stand_in(frame: encoder_pb2.EncodeStreamRequest) -> encoder_pb2.EncodeStreamRequest:
    return encoder_pb2.EncodeStreamRequest(frame_id=frame.frame_id[:_MAX_FRAME_ID_CHARACTERS])


def _refusal(request: Message, size: int, limits: Any) -> RequestFailed | None:
    """Return the service's error for too large an image, else that for too large a message."""
    path, picture = _picture(request)
    if len(picture) <= limits.max_image_bytes:
        return message_too_large(request, size, limits)
    message = f"picture is {len(picture)} bytes; at most {limits.max_image_bytes} are accepted"
    return InvalidArgument(
        "IMAGE_TOO_LARGE", message, field_violations=(FieldViolation(path, message),)
    )


def _picture(request: Message) -> tuple[str, bytes]:
    """The path of a request's image field, and the image; both empty if there is none."""
    if isinstance(request, encoder_pb2.EncodeStreamRequest):
        return "request.image", request.request.image
    if isinstance(request, encoder_pb2.EncodeRequest):
        return "image", request.image
    return "", b""


ENCODER = Service("encoder", _info, _refusal)
