"""Map the protocol's unary methods to HTTP paths and JSON, with protobuf's JSON mapping.

Fields of a request come from the path, the query and the body, by their JSON names. One table
defines the mapping; the OpenAPI document is generated from it.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Final, Literal
from urllib.parse import unquote

from google.protobuf import json_format
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass
from google.rpc import error_details_pb2  # noqa: F401 - JSON of batch errors needs its types

from web_gateway.problems import Problem
from web_gateway.services import METHODS

Verb = Literal["GET", "POST", "PATCH", "DELETE"]


@dataclass(frozen=True, slots=True)
class Mapped:
    """The HTTP mapping of one method of the protocol.

    Attributes:
        verb: HTTP method.
        path: path with JSON field names in braces; a name of a message field stands for its id.
        method: method of the protocol.
        summary: one sentence for users.
        body: field that the body holds; "*": the whole request; "": no body.
    """

    verb: Verb
    path: str
    method: str
    summary: str
    body: str = ""


_COLLECTION: Final = "/v1/collections/{collection}"
_SUBJECT: Final = f"{_COLLECTION}/subjects/{{subjectId}}"
_RULES: Final = f"{_COLLECTION}/alert-rules"

MAPPED: Final = (
    Mapped("GET", "/v1/encoder", "GetEncoderInfo", "Model, limits and uplink of the encoder."),
    Mapped(
        "GET", "/v1/recognizer", "GetRecognizerInfo", "Model, codecs, limits of the recognizer."
    ),
    Mapped("GET", "/v1/collections", "ListCollections", "All collections, by id."),
    Mapped("POST", "/v1/collections", "CreateCollection", "Create a collection.", "collection"),
    Mapped("GET", _COLLECTION, "GetCollection", "One collection."),
    Mapped(
        "PATCH",
        _COLLECTION,
        "UpdateCollection",
        "Change what the body names of a collection.",
        "collection",
    ),
    Mapped("DELETE", _COLLECTION, "DeleteCollection", "Delete a collection with all it holds."),
    Mapped("GET", f"{_COLLECTION}/subjects", "ListSubjects", "The subjects, by id, filtered."),
    Mapped("POST", f"{_COLLECTION}/subjects", "Enroll", "Add compact maps to a subject.", "*"),
    Mapped("GET", _SUBJECT, "GetSubject", "One subject with its faces."),
    Mapped("PATCH", _SUBJECT, "UpdateSubject", "Change what the body names of a subject.", "*"),
    Mapped("DELETE", _SUBJECT, "DeleteSubject", "Delete a subject with its faces."),
    Mapped("GET", f"{_SUBJECT}/faces", "ListFaces", "The faces of a subject, oldest first."),
    Mapped("GET", f"{_SUBJECT}/review", "ReviewSubject", "The doubtful faces of a subject."),
    Mapped(
        "POST", f"{_SUBJECT}/merge", "MergeSubjects", "Merge another subject into this one.", "*"
    ),
    Mapped("GET", f"{_COLLECTION}/faces/{{faceId}}", "GetFace", "One face."),
    Mapped("DELETE", f"{_COLLECTION}/faces/{{faceId}}", "DeleteFace", "Delete one face."),
    Mapped("GET", f"{_COLLECTION}/sightings", "ListSightings", "What cameras saw, last first."),
    Mapped("GET", f"{_COLLECTION}/sightings/{{sightingId}}", "GetSighting", "One sighting."),
    Mapped("DELETE", f"{_COLLECTION}/sightings", "DeleteSightings", "Delete sightings."),
    Mapped("GET", f"{_COLLECTION}/strangers", "ListStrangers", "The strangers, last seen first."),
    Mapped("GET", f"{_COLLECTION}/cameras", "ListCameras", "The cameras, by id."),
    Mapped("GET", _RULES, "ListAlertRules", "The alert rules, oldest first."),
    Mapped("POST", _RULES, "CreateAlertRule", "Create an alert rule.", "rule"),
    Mapped("DELETE", f"{_RULES}/{{ruleId}}", "DeleteAlertRule", "Delete an alert rule."),
    Mapped("POST", f"{_RULES}/{{ruleId}}/test", "TestAlertRule", "Send a test event."),
    Mapped(
        "GET", "/v1/erasures/{erasure}", "GetErasure", "Whether deleted bytes have left the disk."
    ),
    Mapped("GET", "/v1/audit-events", "ListAuditEvents", "Who did what to whom, oldest first."),
    Mapped("POST", "/v1/maps/identify", "Identify", "Who does a compact map show?", "*"),
    Mapped("POST", "/v1/maps/batch-identify", "BatchIdentify", "Who do these maps show?", "*"),
    Mapped("POST", "/v1/maps/verify", "Verify", "Does a map show this person?", "*"),
    Mapped("POST", "/v1/maps/embed", "Embed", "The embedding of a map.", "*"),
    Mapped("POST", "/v1/maps/reconstruct", "Reconstruct", "The picture that a map holds.", "*"),
)


def request_type(mapped: Mapped) -> Descriptor:
    """The request message of the method."""
    descriptor: Descriptor = METHODS[mapped.method].input_type
    return descriptor


def path_names(path: str) -> list[str]:
    """The names in braces of a path."""
    return [part[1:-1] for part in path.split("/") if part.startswith("{")]


def path_value(text: str) -> str:
    """Decode a percent-encoded path segment.

    Raises:
        Problem: it is not UTF-8.
    """
    try:
        return unquote(text, errors="strict")
    except UnicodeDecodeError:
        raise Problem(
            HTTPStatus.BAD_REQUEST, "MALFORMED_REQUEST", f"the path holds {text!r:.80}: no UTF-8"
        ) from None


def query_fields(descriptor: Descriptor, without: Iterable[str] = ()) -> dict[str, FieldDescriptor]:
    """A message's possible query parameters by name, such as "pageSize" or "filter.cameraId"."""
    taken = set(without)
    fields: dict[str, FieldDescriptor] = {}
    for field in descriptor.fields:
        inner = field.message_type
        if field.json_name in taken or field.GetOptions().deprecated:
            continue
        if inner is None or inner.file.package == "google.protobuf":
            fields[field.json_name] = field
        else:
            inner_fields = query_fields(inner).items()
            fields |= {f"{field.json_name}.{name}": each for name, each in inner_fields}
    return fields


def parameters_of(mapped: Mapped) -> dict[str, FieldDescriptor]:
    """The query parameters of a method; none if it has a body."""
    if mapped.body:
        return {}
    return query_fields(request_type(mapped), path_names(mapped.path))


def build_request(
    mapped: Mapped,
    *,
    path: Mapping[str, str],
    query: Iterable[tuple[str, str]],
    body: dict[str, Any] | None,
) -> Message:
    """Build the protocol's message for an HTTP request.

    Raises:
        Problem: a field is unknown, or a value is invalid.
    """
    descriptor = request_type(mapped)
    document: dict[str, Any] = dict(body or {})
    if "updateMask" in descriptor.fields_by_camelcase_name and body is not None:
        document = _masked(mapped, document)
    elif mapped.body not in {"", "*"}:
        document = {mapped.body: document}
    document |= from_query(query, parameters_of(mapped))
    for name, value in path.items():
        _put(document, descriptor.fields_by_camelcase_name[name], path_value(value))
    return parse(document, GetMessageClass(descriptor))


def from_query(
    query: Iterable[tuple[str, str]], fields: Mapping[str, FieldDescriptor]
) -> dict[str, Any]:
    """Convert query parameters to JSON for the fields of a message.

    Raises:
        Problem: a parameter is unknown or repeated.
    """
    found: dict[str, Any] = {}
    for name, value in query:
        if name not in fields:
            raise unknown_parameter(name, fields)
        *outer, last = name.split(".")
        place = found
        for each in outer:
            place = place.setdefault(each, {})
        if fields[name].is_repeated:
            place.setdefault(last, []).append(value)
        elif last in place:
            raise Problem(
                HTTPStatus.BAD_REQUEST,
                "PARAMETER_REPEATED",
                f"the parameter {name!r} is given twice",
                field=name,
            )
        else:
            place[last] = _boolean(value) if fields[name].type == fields[name].TYPE_BOOL else value
    return found


def unknown_parameter(name: str, known: Iterable[str]) -> Problem:
    """The error for an unknown parameter: a misspelled one must not be ignored silently."""
    return Problem(
        HTTPStatus.BAD_REQUEST,
        "PARAMETER_UNKNOWN",
        f"there is no parameter {name!r:.80}; known: {', '.join(known) or 'none'}",
        field=name[:80],
    )


def parse(document: dict[str, Any], kind: type[Message]) -> Message:
    """Parse a message from JSON.

    Raises:
        Problem: the JSON does not match the message.
    """
    try:
        return json_format.ParseDict(document, kind(), max_recursion_depth=32)
    except (json_format.ParseError, ValueError, TypeError, AttributeError, RecursionError) as error:
        # The library uses the message's full name and the field's path.
        detail = str(error).replace("compactface.v1.", "")
        raise Problem(HTTPStatus.BAD_REQUEST, "MALFORMED_REQUEST", f"{detail:.400}") from None


def to_json(message: Message) -> dict[str, Any]:
    """Convert a message to JSON with all fields, including defaults."""
    document: dict[str, Any] = json_format.MessageToDict(
        message, always_print_fields_with_no_presence=True
    )
    return document


def _masked(mapped: Mapped, document: dict[str, Any]) -> dict[str, Any]:
    """Derive the update mask from the body; null clears a field, as in a JSON merge patch."""
    mask = ",".join(name for name in document if name not in {"revision", "updateMask"})
    content = document if mapped.body == "*" else {mapped.body: document}
    return {**content, "updateMask": mask}


def _put(document: dict[str, Any], field: FieldDescriptor, value: str) -> None:
    """Set a path parameter, the id if the field is a message; the body must not contradict it."""
    name = field.json_name
    if field.message_type is not None:
        document = document.setdefault(name, {})
        name = f"{name}Id"
    if document.get(name, value) != value:
        raise Problem(
            HTTPStatus.BAD_REQUEST,
            "PATH_CONTRADICTED",
            f"{name} is {json.dumps(document[name]):.80} in the body and {value!r:.80} in the path",
            field=name,
        )
    document[name] = value


def _boolean(value: str) -> object:
    return {"true": True, "false": False}.get(value.lower(), value)
