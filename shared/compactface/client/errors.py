"""What a request can end with, decoded from google.rpc.Status."""

from collections.abc import Mapping
from dataclasses import dataclass

import grpc
from google.rpc import code_pb2, error_details_pb2, status_pb2
from grpc_status import rpc_status


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

    Attributes:
        code: name of the `google.rpc.Code`, e.g. "INVALID_ARGUMENT".
        reason: UPPER_SNAKE_CASE and stable, for programs (ErrorInfo.reason); the code where the
            service sent no details, e.g. "UNAVAILABLE" if it could not be reached.
        message: one sentence for people.
        field_violations: the fields of the request that are at fault.
        metadata: further facts for programs (ErrorInfo.metadata).
        retry_after_s: how long to wait before another try, in seconds; None: not said.
    """

    def __init__(
        self,
        code: str,
        reason: str,
        message: str,
        *,
        field_violations: tuple[FieldViolation, ...] = (),
        metadata: Mapping[str, str] | None = None,
        retry_after_s: float | None = None,
    ) -> None:
        super().__init__(f"{reason}: {message}")
        self.code = code
        self.reason = reason
        self.message = message
        self.field_violations = field_violations
        self.metadata = dict(metadata or {})
        self.retry_after_s = retry_after_s


def failure_of_call(error: grpc.RpcError) -> RequestFailed:
    """What a call that grpc reports as failed ended with."""
    if not isinstance(error, grpc.Call):
        raise error
    status = rpc_status.from_call(error)
    if status is not None:
        return failure_of_status(status)
    code = error.code().name
    return RequestFailed(code, code, error.details() or "no details were given")


def failure_of_status(status: status_pb2.Status) -> RequestFailed:
    """What one item of a batch or a stream, or a whole call, ended with."""
    code = code_pb2.Code.Name(status.code)
    info = error_details_pb2.ErrorInfo(reason=code)
    bad_request = error_details_pb2.BadRequest()
    retry: float | None = None
    for detail in status.details:
        detail.Unpack(info)
        detail.Unpack(bad_request)
        if detail.Is(error_details_pb2.RetryInfo.DESCRIPTOR):
            retry_info = error_details_pb2.RetryInfo()
            detail.Unpack(retry_info)
            retry = retry_info.retry_delay.ToTimedelta().total_seconds()
    return RequestFailed(
        code,
        info.reason,
        status.message,
        field_violations=tuple(
            FieldViolation(violation.field, violation.description)
            for violation in bad_request.field_violations
        ),
        metadata=info.metadata,
        retry_after_s=retry,
    )
