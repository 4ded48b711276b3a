"""What a client sends, said once for both ways of calling: blocking, and under asyncio."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import grpc
from google.protobuf.message import Message

from compactface.client.errors import RequestFailed, ResourceExhausted

Item = TypeVar("Item")
Request = TypeVar("Request", bound=Message)
Response = TypeVar("Response", bound=Message)

ALWAYS_ACCEPTED_BYTES = 1 << 20
"""No service can be set to accept less in one message."""


@dataclass(frozen=True, slots=True)
class Call(Generic[Response]):
    """One request and the type of its answer.

    Attributes:
        method: of a stub.
        request: what to send.
        answer: the type of the response, which the generated stubs do not say.
        more_s: how much longer than other calls it may take, in seconds.
    """

    method: Callable[..., Any]
    request: Message
    answer: type[Response]
    more_s: float = 0


@dataclass(frozen=True, slots=True)
class CallOfEach(Generic[Item, Request, Response]):
    """A stream that answers each request, in order.

    Attributes:
        method: of a stub.
        request: makes the request for an item.
        answer: the type of the responses, which have a field `error`.
        stand_in: gives what to send in place of a request that is too large, so that every
            answer keeps its turn: small, and refused by the service.
    """

    method: Callable[..., Any]
    request: Callable[[Item], Request]
    answer: type[Response]
    stand_in: Callable[[Request], Request]


@dataclass(frozen=True, slots=True)
class Service:
    """A service, as far as a client must know it before it asks.

    Attributes:
        name: "encoder" or "recognizer", for errors.
        info: asks over a channel for the service's limits, among them `max_message_bytes`.
        refusal: why a service with these limits would not take a request of this many bytes;
            None: it would.
    """

    name: str
    info: Callable[[grpc.Channel | grpc.aio.Channel], Call[Any]]
    refusal: Callable[[Message, int, Any], RequestFailed | None]


def message_too_large(request: Message, size: int, limits: Any) -> RequestFailed | None:  # noqa: ARG001
    """The `refusal` of every service.

    gRPC itself would end the call, with all other items of a stream, and say no reason.
    """
    limit = limits.max_message_bytes
    if not 0 < limit < size:  # 0: a service from before this field
        return None
    return ResourceExhausted(
        "MESSAGE_TOO_LARGE",
        f"the request is {size} bytes; the service accepts at most {limit}",
        metadata={"size_bytes": str(size), "max_message_bytes": str(limit)},
    )
