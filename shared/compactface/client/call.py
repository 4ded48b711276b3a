"""Descriptions of calls, independent of the transport (blocking or asyncio)."""

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
"""Smallest message limit that a service can be configured with."""


@dataclass(frozen=True, slots=True)
class Call(Generic[Response]):
    """One request and the type of its response.

    Attributes:
        method: method of a stub.
        request: the request message.
        answer: type of the response, which the generated stubs do not declare.
        more_s: time it may take beyond the timeout of other calls, in seconds.
    """

    method: Callable[..., Any]
    request: Message
    answer: type[Response]
    more_s: float = 0


@dataclass(frozen=True, slots=True)
class CallOfEach(Generic[Item, Request, Response]):
    """A stream with one response per request, in order.

    Attributes:
        method: method of a stub.
        request: makes the request for an item.
        answer: type of the responses, which have a field `error`.
        stand_in: makes a small, invalid replacement for a request that is too large, so that the
            responses stay in order.
    """

    method: Callable[..., Any]
    request: Callable[[Item], Request]
    answer: type[Response]
    stand_in: Callable[[Request], Request]


@dataclass(frozen=True, slots=True)
class Service:
    """What a client knows of a service before calling it.

    Attributes:
        name: "encoder" or "recognizer", for errors.
        info: requests the service's limits over a channel, among them `max_message_bytes`.
        refusal: the error for a request of this many bytes under these limits; None: accepted.
    """

    name: str
    info: Callable[[grpc.Channel | grpc.aio.Channel], Call[Any]]
    refusal: Callable[[Message, int, Any], RequestFailed | None]


def message_too_large(request: Message, size: int, limits: Any) -> RequestFailed | None:  # noqa: ARG001
    """The default `refusal`, by message size.

    gRPC itself would end the call, with all other items of a stream, without a reason.
    """
    limit = limits.max_message_bytes
    if not 0 < limit < size:  # 0: the service predates this field
        return None
    return ResourceExhausted(
        "MESSAGE_TOO_LARGE",
        f"the request is {size} bytes; the service accepts at most {limit}",
        metadata={"size_bytes": str(size), "max_message_bytes": str(limit)},
    )
