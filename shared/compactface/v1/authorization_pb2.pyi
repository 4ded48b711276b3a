from google.protobuf import descriptor_pb2 as _descriptor_pb2
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from typing import ClassVar as _ClassVar

DESCRIPTOR: _descriptor.FileDescriptor

class Scope(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    SCOPE_UNSPECIFIED: _ClassVar[Scope]
    SCOPE_ANY: _ClassVar[Scope]
    SCOPE_ENCODE: _ClassVar[Scope]
    SCOPE_STREAM: _ClassVar[Scope]
    SCOPE_IDENTIFY: _ClassVar[Scope]
    SCOPE_VERIFY: _ClassVar[Scope]
    SCOPE_ENROLL: _ClassVar[Scope]
    SCOPE_WATCH: _ClassVar[Scope]
    SCOPE_RECONSTRUCT: _ClassVar[Scope]
    SCOPE_EMBED: _ClassVar[Scope]
    SCOPE_EXPORT: _ClassVar[Scope]
    SCOPE_ADMIN: _ClassVar[Scope]
    SCOPE_METRICS: _ClassVar[Scope]
SCOPE_UNSPECIFIED: Scope
SCOPE_ANY: Scope
SCOPE_ENCODE: Scope
SCOPE_STREAM: Scope
SCOPE_IDENTIFY: Scope
SCOPE_VERIFY: Scope
SCOPE_ENROLL: Scope
SCOPE_WATCH: Scope
SCOPE_RECONSTRUCT: Scope
SCOPE_EMBED: Scope
SCOPE_EXPORT: Scope
SCOPE_ADMIN: Scope
SCOPE_METRICS: Scope
SCOPE_FIELD_NUMBER: _ClassVar[int]
scope: _descriptor.FieldDescriptor
SPANS_COLLECTIONS_FIELD_NUMBER: _ClassVar[int]
spans_collections: _descriptor.FieldDescriptor
FIELD_SCOPE_FIELD_NUMBER: _ClassVar[int]
field_scope: _descriptor.FieldDescriptor
