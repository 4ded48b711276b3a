"""Client of the encoder service: from photographs to compact maps."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import Any, Literal

from google.protobuf.message import Message

from compactface.client.client import Client
from compactface.client.errors import FieldViolation, RequestFailed
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


class EncoderClient(Client):
    """Blocking client of EncoderService; every method raises `RequestFailed`."""

    _service_name = "encoder"

    @cached_property
    def _service(self) -> Any:
        return encoder_pb2_grpc.EncoderServiceStub(self._channel)  # type: ignore[no-untyped-call] # generated

    def _info(self) -> encoder_pb2.GetEncoderInfoResponse:
        return self.get_encoder_info()

    def _refusal_by(self, limits: Any, request: Message, size: int) -> RequestFailed | None:
        """As the service answers, for pictures; else as `Client`."""
        path, picture = _picture(request)
        if len(picture) <= limits.max_image_bytes:
            return super()._refusal_by(limits, request, size)
        message = f"picture is {len(picture)} bytes; at most {limits.max_image_bytes} are accepted"
        return RequestFailed(
            "INVALID_ARGUMENT",
            "IMAGE_TOO_LARGE",
            message,
            field_violations=(FieldViolation(path, message),),
        )

    def encode(
        self,
        image: bytes,
        *,
        kind: Kind = "photo",
        capture_time: datetime | None = None,
        forward: bool = False,
        max_faces: int = 0,
        include_crops: bool = False,
    ) -> encoder_pb2.EncodeResponse:
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
        return self._call(self._service.Encode, request, encoder_pb2.EncodeResponse)

    def encode_stream(
        self,
        frames: Iterable[Frame],
        *,
        kind: Kind = "photo",
        forward: bool = False,
        max_faces: int = 0,
        include_crops: bool = False,
    ) -> Iterator[encoder_pb2.EncodeStreamResponse]:
        """One answer for each frame, in order, while the frames are still coming.

        A picture that cannot be encoded ends nothing: its answer has `error` set, which
        `RequestFailed.from_status` decodes. Options as in `encode`.

        Args:
            frames: read in another thread, a little ahead of the answers.
            kind: what every frame shows.
            forward: whether to hand the maps to the encoder's uplink, too.
            max_faces: at most this many of each frame; 0: all.
            include_crops: whether to return the aligned faces as PNG, for display.
        """
        requests = (
            encoder_pb2.EncodeStreamRequest(
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
            for frame in frames
        )
        return self._stream_each(
            self._service.EncodeStream,
            requests,
            encoder_pb2.EncodeStreamResponse,
            stand_in=lambda frame: encoder_pb2.EncodeStreamRequest(
                frame_id=frame.frame_id[:_MAX_FRAME_ID_CHARACTERS]
            ),
        )

    def get_encoder_info(self) -> encoder_pb2.GetEncoderInfoResponse:
        """Model, limits and the state of the uplink."""
        return self._call(
            self._service.GetEncoderInfo,
            encoder_pb2.GetEncoderInfoRequest(),
            encoder_pb2.GetEncoderInfoResponse,
        )


def _picture(request: Message) -> tuple[str, bytes]:
    """Where a request holds a picture, and the picture; empty where it holds none."""
    if isinstance(request, encoder_pb2.EncodeStreamRequest):
        return "request.image", request.request.image
    if isinstance(request, encoder_pb2.EncodeRequest):
        return "image", request.image
    return "", b""
