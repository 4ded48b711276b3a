"""Generate the OpenAPI document from the protocol's descriptors and the table of paths."""

from importlib.metadata import version
from typing import Any, Final

from google.protobuf.descriptor import Descriptor, EnumDescriptor, FieldDescriptor

from compactface.v1 import authorization_pb2
from web_gateway.photo_parameters import (
    COLLECTION,
    CROPS,
    ENROLLMENT,
    FACE,
    IDENTIFY,
    LIVENESS,
    VERIFY,
    Parameter,
)
from web_gateway.services import METHODS
from web_gateway.sightings import WATCH_FIELDS
from web_gateway.transcoding import MAPPED, Mapped, parameters_of, path_names, request_type

_WELL_KNOWN: Final[dict[str, dict[str, Any]]] = {
    "google.protobuf.Timestamp": {"type": "string", "format": "date-time"},
    "google.protobuf.Duration": {"type": "string", "pattern": r"^-?\d+(\.\d{1,9})?s$"},
    "google.protobuf.FieldMask": {"type": "string"},
    "google.rpc.Status": {"type": "object", "description": "google.rpc.Status"},
}
_WHOLE_64: Final = {
    FieldDescriptor.TYPE_INT64,
    FieldDescriptor.TYPE_UINT64,
}
_REAL: Final = {FieldDescriptor.TYPE_FLOAT, FieldDescriptor.TYPE_DOUBLE}
_MAX_UINT32: Final = (1 << 32) - 1

_PICTURES: Final = {
    "image/*": {"schema": {"type": "string", "format": "binary"}},
    "application/octet-stream": {"schema": {"type": "string", "format": "binary"}},
    "multipart/form-data": {
        "schema": {
            "type": "object",
            "properties": {"image": {"type": "string", "format": "binary"}},
            "required": ["image"],
        }
    },
}
_TWO_PICTURES: Final = {
    **_PICTURES,
    "multipart/form-data": {
        "schema": {
            "type": "object",
            "properties": {
                "image": {"type": "string", "format": "binary"},
                "reference": {"type": "string", "format": "binary"},
            },
            "required": ["image"],
        }
    },
}


def document() -> dict[str, Any]:
    """The complete OpenAPI 3.1 document."""
    schemas = _Schemas()
    paths: dict[str, dict[str, Any]] = {}
    for mapped in MAPPED:
        paths.setdefault(mapped.path, {})[mapped.verb.lower()] = _operation(mapped, schemas)
    for path, operations in _photograph_paths(schemas).items():
        paths.setdefault(path, {}).update(operations)
    return {
        "openapi": "3.1.0",
        "info": {"title": "compactface", "version": version("compactface")},
        "paths": paths,
        "components": {
            "schemas": {**schemas.found, **_OWN_SCHEMAS},
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
        "security": [{"token": []}, {}],
    }


class _Schemas:
    """JSON Schemas of the referenced messages."""

    def __init__(self) -> None:
        self.found: dict[str, Any] = {}

    def reference(self, message: Descriptor) -> dict[str, Any]:
        """A reference to the schema of a message."""
        if message.full_name in _WELL_KNOWN:
            return _WELL_KNOWN[message.full_name]
        name = message.full_name.removeprefix("compactface.v1.")
        if name not in self.found:
            self.found[name] = {}  # messages may be recursive
            self.found[name] = {
                "type": "object",
                "properties": {field.json_name: self.field(field) for field in message.fields},
            }
        return {"$ref": f"#/components/schemas/{name}"}

    def field(self, field: FieldDescriptor) -> dict[str, Any]:
        """The schema of a field's value."""
        if field.message_type is not None and field.message_type.GetOptions().map_entry:
            return {"type": "object", "additionalProperties": {"type": "string"}}
        one = self._one(field)
        return {"type": "array", "items": one} if field.is_repeated else one

    def _one(self, field: FieldDescriptor) -> dict[str, Any]:
        if field.message_type is not None:
            return self.reference(field.message_type)
        if field.enum_type is not None:
            return _enum(field.enum_type)
        if field.type in _WHOLE_64:  # JavaScript numbers cannot represent them
            return {"type": "string", "pattern": r"^\d{1,20}$"}
        if field.type in _REAL:
            return {"type": "number"}
        return {
            FieldDescriptor.TYPE_STRING: {"type": "string"},
            FieldDescriptor.TYPE_BYTES: {"type": "string", "contentEncoding": "base64"},
            FieldDescriptor.TYPE_BOOL: {"type": "boolean"},
        }.get(field.type, {"type": "integer", "minimum": 0, "maximum": _MAX_UINT32})


def _enum(enum: EnumDescriptor) -> dict[str, Any]:
    return {"type": "string", "enum": [value.name for value in enum.values]}


def _operation(mapped: Mapped, schemas: _Schemas) -> dict[str, Any]:
    method = METHODS[mapped.method]
    parameters = [_path_parameter(name) for name in path_names(mapped.path)]
    parameters += [
        {"name": name, "in": "query", "schema": schemas.field(field)}
        for name, field in parameters_of(mapped).items()
    ]
    operation: dict[str, Any] = {
        "operationId": mapped.method,
        "summary": mapped.summary,
        "description": f"Scope: {_scope(mapped.method)}.",
        "parameters": parameters,
        "responses": _responses("200", schemas.reference(method.output_type)),
    }
    if mapped.body:
        body: Any = request_type(mapped)
        if mapped.body != "*":
            body = body.fields_by_name[mapped.body].message_type
        content = {"application/json": {"schema": schemas.reference(body)}}
        operation["requestBody"] = {"required": True, "content": content}
    return operation


def _photograph_paths(schemas: _Schemas) -> dict[str, Any]:
    subject = "/v1/collections/{collection}/subjects/{subjectId}/faces"
    enrolled = {
        "allOf": [
            schemas.reference(METHODS["Enroll"].output_type),
            {"type": "object", "properties": {"photograph": _object(face={"type": "integer"})}},
        ]
    }
    identified = _object(
        identification=schemas.reference(METHODS["Identify"].output_type), error=_PROBLEM
    )
    verified = _object(verification=schemas.reference(METHODS["Verify"].output_type))
    scopes = f"Scopes: {_scope('Encode')} and "
    return {
        "/v1/health": {
            "get": {
                "operationId": "Health",
                "summary": "Health of both services; 503 unless both are SERVING.",
                "security": [{}],
                "responses": {
                    code: {"description": what, "content": _json(_object())}
                    for code, what in (("200", "Both serve."), ("503", "One does not."))
                },
            }
        },
        "/v1/collections/{collection}/sightings:watch": {
            "get": {
                "operationId": "WatchSightings",
                "summary": "Sightings as they are identified, as server-sent events.",
                "description": f"Scope: {_scope('WatchSightings')}. Each event has the resume "
                "token as its id, and WatchSightingsResponse as its data; Last-Event-ID goes on "
                "after it. An event `problem` ends the stream.",
                "parameters": [
                    _path_parameter("collection"),
                    *(
                        {"name": name, "in": "query", "schema": schemas.field(field)}
                        for name, field in WATCH_FIELDS.items()
                    ),
                ],
                "responses": {
                    "200": {
                        "description": "Events.",
                        "content": {"text/event-stream": {"schema": {"type": "string"}}},
                    },
                    "default": _responses("200", {})["default"],
                },
            }
        },
        "/v1/encode": _photograph(
            "EncodePhotograph",
            "Every face of a photograph as a compact map.",
            f"Scope: {_scope('Encode')}.",
            [*CROPS],
            _responses("200", schemas.reference(METHODS["Encode"].output_type)),
        ),
        "/v1/identify": _photograph(
            "IdentifyPhotograph",
            "Who does every face of a photograph show?",
            f"{scopes}{_scope('Identify')}.",
            [*COLLECTION, *IDENTIFY, *LIVENESS, *CROPS],
            _responses("200", _faces(identified)),
        ),
        "/v1/verify": _photograph(
            "VerifyPhotograph",
            "Does a face of a photograph show this subject, or whom another photograph shows?",
            f"{scopes}{_scope('Verify')}.",
            [*COLLECTION, *VERIFY, *LIVENESS],
            _responses("200", _faces(verified)),
            pictures=_TWO_PICTURES,
        ),
        subject: _photograph(
            "EnrollPhotograph",
            "Add the face of a photograph to a subject, new or known.",
            f"{scopes}{_scope('Enroll')}. Several faces are refused, with their boxes, unless "
            "`face` says which.",
            [*ENROLLMENT, *FACE, *LIVENESS],
            _responses("201", enrolled),
            path=subject,
        ),
    }


def _photograph(
    operation_id: str,
    summary: str,
    description: str,
    parameters: list[Parameter],
    responses: dict[str, Any],
    *,
    pictures: dict[str, Any] = _PICTURES,
    path: str = "",
) -> dict[str, Any]:
    return {
        "post": {
            "operationId": operation_id,
            "summary": summary,
            "description": description,
            "parameters": [
                *(_path_parameter(name) for name in path_names(path)),
                *(
                    {
                        "name": each.name,
                        "in": "query",
                        "schema": each.schema,
                        "description": each.description,
                    }
                    for each in parameters
                ),
            ],
            "requestBody": {"required": True, "content": pictures},
            "responses": responses,
        }
    }


def _path_parameter(name: str) -> dict[str, Any]:
    schema = {"type": "string", "minLength": 1}
    return {"name": name, "in": "path", "required": True, "schema": schema}


def _responses(code: str, schema: dict[str, Any]) -> dict[str, Any]:
    return {
        code: {"description": "The answer.", "content": _json(schema)},
        "default": {
            "description": "A problem; `reason` tells programs which.",
            "content": {"application/problem+json": {"schema": _PROBLEM}},
        },
    }


def _json(schema: dict[str, Any]) -> dict[str, Any]:
    return {"application/json": {"schema": schema}}


def _object(**properties: Any) -> dict[str, Any]:
    return {"type": "object", "properties": properties}


def _faces(more: dict[str, Any]) -> dict[str, Any]:
    face = {"allOf": [{"$ref": "#/components/schemas/PhotographedFace"}, more]}
    return _object(faces={"type": "array", "items": face}, facesFound={"type": "integer"})


def _scope(method: str) -> str:
    value = METHODS[method].GetOptions().Extensions[authorization_pb2.scope]
    name: str = authorization_pb2.Scope.Name(value)
    return name.removeprefix("SCOPE_").lower()


_PROBLEM: Final = {"$ref": "#/components/schemas/Problem"}
_NULLABLE_OBJECT: Final = {"type": ["object", "null"]}
_OWN_SCHEMAS: Final = {
    "Problem": {
        "type": "object",
        "description": "RFC 9457.",
        "required": ["type", "title", "status", "detail", "reason"],
        "properties": {
            "type": {"type": "string"},
            "title": {"type": "string"},
            "status": {"type": "integer"},
            "detail": {"type": "string", "description": "One sentence for people."},
            "reason": {"type": "string", "description": "Stable, for programs."},
            "field": {"type": "string", "description": "Path of the field at fault."},
            "metadata": {"type": "object", "additionalProperties": {"type": "string"}},
            "service": {"type": "string", "enum": ["encoder", "recognizer"]},
            "retryAfterSeconds": {"type": "number"},
        },
    },
    "PhotographedFace": {
        "type": "object",
        "properties": {
            "index": {"type": "integer", "description": "Position among the faces, from 0."},
            "box": _NULLABLE_OBJECT,
            "landmarks": _NULLABLE_OBJECT,
            "detectionScore": {"type": "number"},
            "quality": {"type": "number"},
            "cropPng": {"type": "string", "contentEncoding": "base64"},
        },
    },
}
