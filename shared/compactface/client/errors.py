"""What a request can end with, decoded from google.rpc.Status."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

import grpc
from google.rpc import code_pb2, error_details_pb2, status_pb2
from grpc_status import rpc_status

from compactface.client.channel import Tls
from compactface.client.request_ids import REQUEST_ID


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

    def __init__(
        self,
        code: str,
        reason: str,
        message: str,
        *,
        field_violations: tuple[FieldViolation, ...] = (),
        metadata: Mapping[str, str] | None = None,
        retry_after_s: float | None = None,
        peer: Peer | None = None,
    ) -> None:
        super().__init__(f"{reason}: {message}")
        self.code = code
        self.reason = reason
        self.message = message
        self.field_violations = field_violations
        self.metadata = dict(metadata or {})
        self.retry_after_s = retry_after_s
        self.peer = peer
        self.request_id = ""

    @classmethod
    def from_status(cls, status: status_pb2.Status) -> Self:
        """What an item of a batch or stream ended with; its message carries the status."""
        info = error_details_pb2.ErrorInfo(reason=code_pb2.Code.Name(status.code))
        bad_request = error_details_pb2.BadRequest()
        retry = error_details_pb2.RetryInfo()
        for detail in status.details:
            for known in (info, bad_request, retry):
                detail.Unpack(known)  # leaves messages of other types alone
        return cls(
            code_pb2.Code.Name(status.code),
            info.reason,
            status.message,
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
        )

    @classmethod
    def from_call(cls, error: grpc.RpcError, peer: Peer | None = None) -> Self:
        """What a whole call to `peer` ended with."""
        assert isinstance(error, grpc.Call)  # as every error that a call raises
        status = rpc_status.from_call(error)
        if status is not None:
            failed = cls.from_status(status)
            failed.peer = peer
        else:
            code = error.code().name
            failed = cls(code, code, error.details() or "the service said no more", peer=peer)
        metadata = dict(error.trailing_metadata() or ())
        failed.request_id = str(metadata.get(REQUEST_ID, ""))
        return failed

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
