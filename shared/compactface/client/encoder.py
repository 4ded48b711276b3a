"""EncoderService: from photographs to compact maps."""

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
"""A scene with 0 to n faces, or one face already aligned on 112 rows by 96 columns."""

_KINDS = {
    "photo": encoder_pb2.PICTURE_KIND_PHOTO,
    "crop": encoder_pb2.PICTURE_KIND_CROP,
}
_MAX_FRAME_ID_CHARACTERS = 128


@dataclass(frozen=True, slots=True)
class Frame:
    """One picture of a stream.

    Attributes:
        image: the picture as a file: JPEG, PNG, WebP, AVIF, HEIC, GIF, BMP or TIFF.
        frame_id: comes back with the answer; at most 128 characters.
        capture_time: when it was taken; None: when it arrives.
    """

    image: bytes
    frame_id: str = ""
    capture_time: datetime | None = None


class Encoder(Group[T]):
    """What can be asked of an encoder; every method raises `RequestFailed`."""

    def __init__(self, transport: T) -> None:
        super().__init__(transport, _stub(transport.channel))

    def with_timeout(self, timeout_s: float) -> "Encoder[T]":
        """The same client with a deadline of `timeout_s` seconds for each call.

        It shares the connection, and needs not be closed.
        """
        return Encoder(self._within(timeout_s))

    def with_token(self, token: str) -> "Encoder[T]":
        """The same client that shows another bearer token, for whom it asks; "": none.

        It shares the connection, and needs not be closed.
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
        max_faces: int = 0,
        include_crops: bool = False,
    ) -> Call[encoder_pb2.EncodeResponse]:
        """Every face of a picture as a compact map, the most prominent first; no face is no error.

        Args:
            image: the picture as a file: JPEG, PNG, WebP, AVIF, HEIC, GIF, BMP or TIFF.
            kind: what it shows.
            capture_time: when it was taken; None: now.
            forward: whether to hand the maps to the encoder's uplink, too.
            max_faces: at most this many; 0: all.
            include_crops: whether to return the aligned faces as PNG, for display.
        """
        request = encoder_pb2.EncodeRequest(
            image=image,
            kind=_KINDS[kind],
            capture_time=capture_time,
            forward=forward,
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
        max_faces: int = 0,
        include_crops: bool = False,
    ) -> AsyncIterator[encoder_pb2.EncodeStreamResponse]: ...

    def encode_stream(
        self,
        frames: Any,
        *,
        kind: Kind = "photo",
        forward: bool = False,
        max_faces: int = 0,
        include_crops: bool = False,
    ) -> Any:
        """One answer for each frame, in order, while the frames are still coming.

        A picture that cannot be encoded ends nothing: its answer has `error` set, which
        `RequestFailed.from_status` decodes. Options as in `encode`; there is no deadline.

        Args:
            frames: read in another thread or task, a little ahead of the answers. What they raise
                ends the stream, and is raised here.
            kind: what every frame shows.
            forward: whether to hand the maps to the encoder's uplink, too.
            max_faces: at most this many of each frame; 0: all.
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
        """Model, limits and the state of the uplink."""
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
    """As the service answers, for pictures; else as every service."""
    path, picture = _picture(request)
    if len(picture) <= limits.max_image_bytes:
        return message_too_large(request, size, limits)
    message = f"picture is {len(picture)} bytes; at most {limits.max_image_bytes} are accepted"
    return InvalidArgument(
        "IMAGE_TOO_LARGE", message, field_violations=(FieldViolation(path, message),)
    )


def _picture(request: Message) -> tuple[str, bytes]:
    """Where a request holds a picture, and the picture; empty where it holds none."""
    if isinstance(request, encoder_pb2.EncodeStreamRequest):
        return "request.image", request.request.image
    if isinstance(request, encoder_pb2.EncodeRequest):
        return "image", request.image
    return "", b""


ENCODER = Service("encoder", _info, _refusal)
