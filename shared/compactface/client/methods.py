"""Client methods defined once for blocking and asyncio clients.

A method builds a `Call`, and `unary` passes it to the client's transport::

    class Faces(Group[T]):
        @unary
        def get(self, face_id: str) -> Call[GetFaceResponse]: ...

`Faces[Blocking].get` then returns a `GetFaceResponse`, and `Faces[Asyncio].get` a coroutine of
one, with the same parameters.
"""

from collections.abc import Callable, Coroutine
from copy import copy
from functools import wraps
from typing import Any, Concatenate, Generic, ParamSpec, Protocol, TypeVar, cast, overload

from google.protobuf.message import Message

from compactface.client.asynchronous import Asyncio
from compactface.client.blocking import Blocking
from compactface.client.call import Call

T = TypeVar("T", bound=Blocking | Asyncio)
G = TypeVar("G", bound="Group[Any]")
P = ParamSpec("P")
R = TypeVar("R", bound=Message)
R_co = TypeVar("R_co", bound=Message, covariant=True)


class Group(Generic[T]):
    """A group of methods over one transport."""

    def __init__(self, transport: T, stub: Any) -> None:
        self._transport = transport
        self._stub = stub

    def _within(self, timeout_s: float) -> T:
        """The transport with another deadline per call."""
        transport = copy(self._transport)
        transport.timeout_s = timeout_s
        return transport

    def _showing(self, token: str) -> T:
        """The transport with another bearer token."""
        transport = copy(self._transport)
        transport.token = token
        return transport


class Method(Protocol[P, R_co]):
    """The type of a method decorated with `unary`."""

    @overload
    def __get__(self, group: Group[Blocking], owner: object = None) -> Callable[P, R_co]: ...

    @overload
    def __get__(
        self, group: Group[Asyncio], owner: object = None
    ) -> Callable[P, Coroutine[Any, Any, R_co]]: ...


def unary(build: Callable[Concatenate[G, P], Call[R]]) -> Method[P, R]:
    """Make the call that `build` returns, with the deadline `timeout_s` of the client."""

    @wraps(build)
    def method(group: G, *args: P.args, **kwargs: P.kwargs) -> Any:
        return group._transport.unary(build(group, *args, **kwargs))  # noqa: SLF001

    return cast("Method[P, R]", method)
