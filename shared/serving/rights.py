"""Permissions that a call requires, read from its method's options (`authorization.proto`)."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any

from google.protobuf import descriptor_pool
from google.protobuf.descriptor import FieldDescriptor, MethodDescriptor
from google.protobuf.message import Message

from compactface.v1 import authorization_pb2
from shared.serving.access_file import ALL_COLLECTIONS

DEFAULT_COLLECTION = "default"
_PACKAGE = "compactface.v1"
_NAMES_OF_COLLECTIONS = frozenset({"collection", "collection_id"})


@dataclass(frozen=True, slots=True)
class Need:
    """The permissions that a method requires.

    Attributes:
        scope: name of the scope in lower case; None: no caller has access; "any": every
            authenticated caller has.
        spans_collections: a first message without a collection refers to all of them.
    """

    scope: str | None
    spans_collections: bool


@cache
def need(service: str, name: str) -> Need:
    """Return a method's requirements; without the option, no caller has access."""
    try:
        method = descriptor_pool.Default().FindMethodByName(f"{service}.{name}")
    except KeyError:
        return Need(None, spans_collections=True)
    return _need(method)


def _need(method: MethodDescriptor) -> Need:
    options: Any = method.GetOptions()  # the stubs do not know extensions of options
    return Need(
        scope_name(options.Extensions[authorization_pb2.scope]),
        options.Extensions[authorization_pb2.spans_collections],
    )


def scope_name(scope: int) -> str | None:
    """SCOPE_IDENTIFY -> "identify"; None for SCOPE_UNSPECIFIED."""
    if scope == authorization_pb2.SCOPE_UNSPECIFIED:
        return None
    return authorization_pb2.Scope.Name(scope).removeprefix("SCOPE_").lower()


def scopes_of_fields(message: Message) -> Iterator[str]:
    """Yield further scopes that the set fields require, at any depth."""
    for field, value in message.ListFields():
        options: Any = field.GetOptions()
        scope = scope_name(options.Extensions[authorization_pb2.field_scope])
        if scope is not None:
            yield scope
        for inner in _messages(field, value):
            yield from scopes_of_fields(inner)


def collections_in(message: Message, need: Need) -> list[str]:
    """The collections that a request refers to; `ALL_COLLECTIONS` stands for all.

    Args:
        message: the request.
        need: requirements of its method.
    """
    named = list(_named(message))
    if not need.spans_collections:
        return [name or DEFAULT_COLLECTION for name in named]
    return [name or ALL_COLLECTIONS for name in named] or [ALL_COLLECTIONS]


def _named(message: Message) -> Iterator[str]:
    """Yield collection names at any depth, also in absent messages, since defaults count."""
    for field in message.DESCRIPTOR.fields:
        if field.name in _NAMES_OF_COLLECTIONS and field.type == FieldDescriptor.TYPE_STRING:
            yield getattr(message, field.name)
        else:
            for inner in _messages(field, getattr(message, field.name)):
                yield from _named(inner)


def _messages(field: Any, value: object) -> Iterator[Message]:
    """Yield the compactface messages in a field: one, those of a list, or none."""
    kind = field.message_type
    if kind is None or kind.file.package != _PACKAGE or kind.GetOptions().map_entry:
        return
    if isinstance(value, Message):
        yield value
    else:
        yield from value  # type: ignore[misc] # a list
