"""Clients of the two services, used with the caller's credentials."""

import uuid
from copy import copy
from typing import Any, Self

import grpc
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass
from grpc_health.v1 import health_pb2, health_pb2_grpc

from compactface.client.asynchronous import Asyncio
from compactface.client.call import Call
from compactface.client.encoder import ENCODER, Encoder
from compactface.client.recognizer import RECOGNIZER, Recognizer
from compactface.v1 import (
    alerts_pb2,
    alerts_pb2_grpc,
    encoder_pb2,
    encoder_pb2_grpc,
    gallery_pb2,
    gallery_pb2_grpc,
    recognizer_pb2,
    recognizer_pb2_grpc,
)
from web_gateway.settings import WebSettings

METHODS = {
    method.name: method
    for file, service in (
        (alerts_pb2, "AlertService"),
        (encoder_pb2, "EncoderService"),
        (gallery_pb2, "GalleryService"),
        (recognizer_pb2, "RecognizerService"),
    )
    for method in file.DESCRIPTOR.services_by_name[service].methods
}
"""Descriptors of the protocol's methods; names are unique."""

_REPEATABLE = (gallery_pb2.EnrollRequest, gallery_pb2.MergeSubjectsRequest)
_STUBS: dict[str, Any] = {
    "AlertService": alerts_pb2_grpc.AlertServiceStub,
    "EncoderService": encoder_pb2_grpc.EncoderServiceStub,
    "GalleryService": gallery_pb2_grpc.GalleryServiceStub,
    "RecognizerService": recognizer_pb2_grpc.RecognizerServiceStub,
}


class Services:
    """Connections to both services, shared by all callers; a context manager."""

    def __init__(self, settings: WebSettings) -> None:
        """Create the clients, without connecting.

        Raises:
            OSError: a certificate file cannot be read.
        """
        timeout_s = settings.timeout_seconds
        self._encoder = Asyncio(
            ENCODER, settings.encoder_target, tls=settings.encoder_tls, timeout_s=timeout_s
        )
        self._recognizer = Asyncio(
            RECOGNIZER, settings.recognizer_target, tls=settings.recognizer_tls, timeout_s=timeout_s
        )
        token = settings.encoder_token
        self._encoder_token = token.get_secret_value() if token else ""

    async def __aenter__(self) -> Self:
        """Return self; channels connect when first used."""
        return self

    async def __aexit__(self, *_: object) -> None:
        """Close the connections."""
        await self._encoder.channel.close(None)
        await self._recognizer.channel.close(None)

    def caller(self, token: str) -> "Caller":
        """The services with the bearer token of a caller; "": without one."""
        return Caller(
            _showing(self._encoder, token),
            _showing(self._recognizer, token),
            _showing(self._encoder, self._encoder_token) if self._encoder_token else None,
        )

    async def health(self, *, timeout_s: float = 2.0) -> dict[str, str]:
        """The grpc.health.v1 status of each service; UNREACHABLE without an answer."""
        return {
            "encoder": await _health(self._encoder, timeout_s),
            "recognizer": await _health(self._recognizer, timeout_s),
        }


class Caller:
    """Both services with the permissions of one caller; all methods raise `RequestFailed`."""

    def __init__(
        self, encoder: Asyncio, recognizer: Asyncio, gateway_encoder: Asyncio | None
    ) -> None:
        self._encoder = encoder
        self._recognizer = recognizer
        self._gateway_encoder = gateway_encoder
        self._info: recognizer_pb2.GetRecognizerInfoResponse | None = None

    @property
    def recognizer(self) -> Recognizer[Asyncio]:
        """The recognizer's client."""
        return Recognizer(self._recognizer)

    @property
    def encoder(self) -> Encoder[Asyncio]:
        """The encoder's client, with the caller's own token."""
        return Encoder(self._encoder)

    async def known(self) -> recognizer_pb2.GetRecognizerInfoResponse:
        """The recognizer's info, which also authenticates the caller; requested once."""
        if self._info is None:
            self._info = await self.recognizer.info()
        return self._info

    async def encode(
        self,
        image: bytes,
        *,
        max_faces: int = 0,
        include_crops: bool = False,
        liveness: float | None = None,
    ) -> encoder_pb2.EncodeResponse:
        """Encode the faces of a photograph for a subsequent call of the recognizer.

        Their maps carry the liveness that the client claims for the photograph, if any.

        If the gateway has its own encoder token, only callers that the recognizer accepts may use
        it.
        """
        encoder = self.encoder
        if self._gateway_encoder is not None:
            await self.known()
            encoder = Encoder(self._gateway_encoder)
        encoded = await encoder.encode(image, max_faces=max_faces, include_crops=include_crops)
        if liveness is not None:
            for face in encoded.faces:
                face.map.liveness = liveness
        return encoded

    async def call(self, name: str, request: Message) -> Message:
        """Call any unary method of the protocol."""
        method = METHODS[name]
        if isinstance(request, _REPEATABLE) and not request.request_id:
            request.request_id = str(uuid.uuid4())  # the channel may retry it
        service = method.containing_service.name
        transport = self._encoder if service == "EncoderService" else self._recognizer
        stub = _STUBS[service](transport.channel)
        wait = getattr(request, "erasure_wait", None)
        return await transport.unary(
            Call(
                getattr(stub, name),
                request,
                GetMessageClass(method.output_type),
                more_s=wait.ToTimedelta().total_seconds() if wait else 0,
            )
        )


def _showing(transport: Asyncio, token: str) -> Asyncio:
    shown = copy(transport)
    shown.token = token
    return shown


async def _health(transport: Asyncio, timeout_s: float) -> str:
    stub = health_pb2_grpc.HealthStub(transport.channel)
    try:
        answer = await stub.Check(health_pb2.HealthCheckRequest(), timeout=timeout_s)
    except grpc.aio.AioRpcError:
        return "UNREACHABLE"
    state: str = health_pb2.HealthCheckResponse.ServingStatus.Name(answer.status)
    return state
