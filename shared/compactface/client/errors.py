"""Errors of requests, decoded from google.rpc.Status."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import grpc
from google.rpc import code_pb2, error_details_pb2, status_pb2

from compactface.client.channel import Tls
from compactface.client.request_ids import REQUEST_ID

_STATUS = "grpc-status-details-bin"  # metadata key of google.rpc.Status


@dataclass(frozen=True, slots=True)
class Peer:
    """The service that a client calls.

    Attributes:
        service: "encoder" or "recognizer".
        target: "host:port".
        tls: certificates; None: plaintext.
        proxy: URL of the HTTP proxy; "": none.
    """

    service: str
    target: str
    tls: Tls | None
    proxy: str = ""


@dataclass(frozen=True, slots=True)
class FieldViolation:
    """An invalid field of the request.

    Attributes:
        field: path of the field, such as "probe.map.png".
        description: description of the error.
    """

    field: str
    description: str


class RequestFailed(Exception):  # noqa: N818 - reads as a sentence
    """A service rejected a request or could not be reached.

    Subclasses correspond to the gRPC codes that callers commonly handle.

    Attributes:
        code: name of the `google.rpc.Code`, such as "INVALID_ARGUMENT".
        reason: stable identifier in UPPER_SNAKE_CASE, for programs (ErrorInfo.reason). Without
            details it is the code, such as "UNAVAILABLE" for an unreachable service.
        message: one sentence for users.
        field_violations: the invalid fields of the request.
        metadata: further details for programs (ErrorInfo.metadata).
        retry_after_s: delay before a retry, in seconds; None: unknown.
        peer: the service; None for an item of a batch or stream.
        request_id: id of the call in the service's logs; "": unknown, or an item.
    """

    code: str = "UNKNOWN"

    def __init__(
        self,
        reason: str,
        message: str,
        *,
        code: str = "",
        field_violations: tuple[FieldViolation, ...] = (),
        metadata: Mapping[str, str] | None = None,
        retry_after_s: float | None = None,
        peer: Peer | None = None,
        request_id: str = "",
    ) -> None:
        super().__init__(f"{reason}: {message}")
        self.code = code or self.code
        self.reason = reason
        self.message = message
        self.field_violations = field_violations
        self.metadata = dict(metadata or {})
        self.retry_after_s = retry_after_s
        self.peer = peer
        self.request_id = request_id

    @property
    def field(self) -> str:
        """Path of the first invalid field, such as "probe.map.png"; "": none."""
        return self.field_violations[0].field if self.field_violations else ""

    @staticmethod
    def from_status(
        status: status_pb2.Status, *, peer: Peer | None = None, request_id: str = ""
    ) -> "RequestFailed":
        """Decode the error of a batch or stream item from the status in its message."""
        code = _name(status.code)
        info = error_details_pb2.ErrorInfo(reason=code)
        bad_request = error_details_pb2.BadRequest()
        retry = error_details_pb2.RetryInfo()
        for detail in status.details:
            for known in (info, bad_request, retry):
                detail.Unpack(known)  # ignores messages of other types
        return _BY_CODE.get(code, RequestFailed)(
            info.reason,
            status.message,
            code=code,
            field_violations=tuple(
                FieldViolation(violation.field, violation.description)
                for violation in bad_request.field_violations
            ),
            metadata=info.metadata,
            retry_after_s=(
                retry.retry_delay.ToTimedelta().total_seconds()
                if retry.HasField("retry_delay")
                else None
            ),
            peer=peer,
            request_id=request_id,
        )

    @staticmethod
    def from_call(error: grpc.RpcError, peer: Peer | None = None) -> "RequestFailed":
        """Decode the error of a call to `peer`."""
        assert isinstance(error, grpc.Call | grpc.aio.AioRpcError)  # true of every error of a call
        trailing: Any = error.trailing_metadata() or ()  # typed differently by grpc and grpc.aio
        metadata: dict[str, str | bytes] = dict(trailing)
        details = metadata.get(_STATUS)
        if isinstance(details, bytes):
            status = status_pb2.Status.FromString(details)
        else:
            code: int = error.code().value[0]
            status = status_pb2.Status(
                code=code, message=error.details() or "the service said no more"
            )
        request_id = str(metadata.get(REQUEST_ID, ""))
        return RequestFailed.from_status(status, peer=peer, request_id=request_id)

    def to_status(self) -> status_pb2.Status:
        """Encode as the status of a batch or stream item; `from_status` decodes it."""
        status = status_pb2.Status(code=code_pb2.Code.Value(self.code), message=self.message)
        status.details.add().Pack(
            error_details_pb2.ErrorInfo(
                reason=self.reason, domain="compactface", metadata=self.metadata
            )
        )
        if self.field_violations:
            bad_request = error_details_pb2.BadRequest()
            for violation in self.field_violations:
                bad_request.field_violations.add(
                    field=violation.field, description=violation.description
                )
            status.details.add().Pack(bad_request)
        return status


class InvalidArgument(RequestFailed):
    """A field is invalid: `field` is its path, `message` has the value and the limit."""

    code = "INVALID_ARGUMENT"


class NotFound(RequestFailed):
    """The collection, subject, face or sighting does not exist."""

    code = "NOT_FOUND"


class AlreadyExists(RequestFailed):
    """It exists, another subject looks the same, or the request id was used with another body."""

    code = "ALREADY_EXISTS"


class FailedPrecondition(RequestFailed):
    """The state of the service does not permit it; the request may succeed after a change."""

    code = "FAILED_PRECONDITION"


class ResourceExhausted(RequestFailed):
    """Too many requests, or too large a message; see `retry_after_s`."""

    code = "RESOURCE_EXHAUSTED"


class Unavailable(RequestFailed):
    """The service is unreachable, starting or stopping; retry."""

    code = "UNAVAILABLE"


class DeadlineExceeded(RequestFailed):
    """The deadline passed. The change may have been made."""

    code = "DEADLINE_EXCEEDED"


class Unauthenticated(RequestFailed):
    """The credentials are missing or invalid."""

    code = "UNAUTHENTICATED"


class PermissionDenied(RequestFailed):
    """The caller lacks the permission."""

    code = "PERMISSION_DENIED"


class Unimplemented(RequestFailed):
    """The service does not implement this call, or is another service."""

    code = "UNIMPLEMENTED"


_BY_CODE = {kind.code: kind for kind in RequestFailed.__subclasses__()}


def _name(code: int) -> str:
    """Name of a `google.rpc.Code`; "UNKNOWN" for codes of newer services."""
    return code_pb2.Code.Name(code) if code in code_pb2.Code.values() else "UNKNOWN"
