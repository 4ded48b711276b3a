"""What a request can end with, decoded from google.rpc.Status."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import grpc
from google.rpc import code_pb2, error_details_pb2, status_pb2

from compactface.client.channel import Tls
from compactface.client.request_ids import REQUEST_ID

_STATUS = "grpc-status-details-bin"  # where gRPC carries a google.rpc.Status, by its specification


@dataclass(frozen=True, slots=True)
class Peer:
    """Whom a client asks.

    Attributes:
        service: "encoder" or "recognizer".
        target: "host:port".
        tls: the certificates; None: plain text.
        proxy: URL of the HTTP proxy in between; "": none.
    """

    service: str
    target: str
    tls: Tls | None
    proxy: str = ""


@dataclass(frozen=True, slots=True)
class FieldViolation:
    """A field of the request that breaks a limit.

    Attributes:
        field: its path, e.g. "probe.map.png".
        description: what is wrong with it.
    """

    field: str
    description: str


class RequestFailed(Exception):  # noqa: N818 - reads as a sentence
    """A service refused a request, or could not be reached.

    Its subclasses are named as the codes of gRPC that are worth a branch of their own.

    Attributes:
        code: name of the `google.rpc.Code`, e.g. "INVALID_ARGUMENT".
        reason: UPPER_SNAKE_CASE and stable, for programs (ErrorInfo.reason). Where there are no
            details it is the code, e.g. "UNAVAILABLE" if the service could not be reached.
        message: one sentence for people.
        field_violations: the fields of the request that are at fault.
        metadata: further facts for programs (ErrorInfo.metadata).
        retry_after_s: how long to wait before another try, in seconds; None: not said.
        peer: who was asked; None for an item of a batch or stream.
        request_id: under which the service logged the call; "": of an item, or not known.
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
        """Path of the first field at fault, e.g. "probe.map.png"; "": there is none."""
        return self.field_violations[0].field if self.field_violations else ""

    @staticmethod
    def from_status(
        status: status_pb2.Status, *, peer: Peer | None = None, request_id: str = ""
    ) -> "RequestFailed":
        """What an item of a batch or stream ended with; its message carries the status."""
        code = _name(status.code)
        info = error_details_pb2.ErrorInfo(reason=code)
        bad_request = error_details_pb2.BadRequest()
        retry = error_details_pb2.RetryInfo()
        for detail in status.details:
            for known in (info, bad_request, retry):
                detail.Unpack(known)  # leaves messages of other types alone
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
        """What a whole call to `peer` ended with."""
        assert isinstance(error, grpc.Call | grpc.aio.AioRpcError)  # as every error of a call
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
        """The message for an item of a batch or stream; `from_status` decodes it."""
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
    """A field breaks a limit: `field` says which, `message` the value and the limit."""

    code = "INVALID_ARGUMENT"


class NotFound(RequestFailed):
    """There is no such collection, subject, face or sighting."""

    code = "NOT_FOUND"


class AlreadyExists(RequestFailed):
    """It exists, somebody else looks the same, or the request id was used with another body."""

    code = "ALREADY_EXISTS"


class FailedPrecondition(RequestFailed):
    """The state of the service forbids it; the same request may succeed after a change."""

    code = "FAILED_PRECONDITION"


class ResourceExhausted(RequestFailed):
    """Too much at once, or too large a message; see `retry_after_s`."""

    code = "RESOURCE_EXHAUSTED"


class Unavailable(RequestFailed):
    """The service cannot be reached, starts or stops; try again."""

    code = "UNAVAILABLE"


class DeadlineExceeded(RequestFailed):
    """No answer came in time. What was to be changed may have been changed."""

    code = "DEADLINE_EXCEEDED"


class Unauthenticated(RequestFailed):
    """The service does not know who calls."""

    code = "UNAUTHENTICATED"


class PermissionDenied(RequestFailed):
    """Who calls may not do that."""

    code = "PERMISSION_DENIED"


class Unimplemented(RequestFailed):
    """The service does not know this call, or is another service."""

    code = "UNIMPLEMENTED"


_BY_CODE = {kind.code: kind for kind in RequestFailed.__subclasses__()}


def _name(code: int) -> str:
    """Of a `google.rpc.Code`; "UNKNOWN" where a newer service has one more."""
    return code_pb2.Code.Name(code) if code in code_pb2.Code.values() else "UNKNOWN"
