"""Errors as RFC 9457 problem details, with the reasons of the protocol."""

import math
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, Final

from starlette.responses import JSONResponse

from compactface.client import RequestFailed

_STATUS: Final = {
    "INVALID_ARGUMENT": HTTPStatus.BAD_REQUEST,
    "OUT_OF_RANGE": HTTPStatus.BAD_REQUEST,
    "UNAUTHENTICATED": HTTPStatus.UNAUTHORIZED,
    "PERMISSION_DENIED": HTTPStatus.FORBIDDEN,
    "NOT_FOUND": HTTPStatus.NOT_FOUND,
    "ALREADY_EXISTS": HTTPStatus.CONFLICT,
    "ABORTED": HTTPStatus.CONFLICT,
    # The request may succeed after a change; 400 would mean that it never can.
    "FAILED_PRECONDITION": HTTPStatus.CONFLICT,
    "RESOURCE_EXHAUSTED": HTTPStatus.TOO_MANY_REQUESTS,
    "UNIMPLEMENTED": HTTPStatus.NOT_IMPLEMENTED,
    "UNAVAILABLE": HTTPStatus.SERVICE_UNAVAILABLE,
    "DEADLINE_EXCEEDED": HTTPStatus.GATEWAY_TIMEOUT,
}
_TOO_LARGE: Final = frozenset({"IMAGE_TOO_LARGE", "MESSAGE_TOO_LARGE"})


def status_of(code: str, reason: str) -> HTTPStatus:
    """The HTTP status for the name of a `google.rpc.Code` and an error's reason."""
    if reason in _TOO_LARGE:
        return HTTPStatus.REQUEST_ENTITY_TOO_LARGE
    return _STATUS.get(code, HTTPStatus.INTERNAL_SERVER_ERROR)


class Problem(Exception):  # noqa: N818 - RFC 9457's term
    """An error response.

    Attributes:
        status: HTTP status.
        reason: stable identifier in UPPER_SNAKE_CASE, for programs.
        detail: one sentence for users.
        members: extension members by their JSON names.
        retry_after_s: delay before a retry, in seconds; None: unknown.
    """

    def __init__(
        self,
        status: HTTPStatus,
        reason: str,
        detail: str,
        *,
        retry_after_s: float | None = None,
        **members: Any,
    ) -> None:
        super().__init__(f"{reason}: {detail}")
        self.status = status
        self.reason = reason
        self.detail = detail
        self.retry_after_s = retry_after_s
        self.members: Mapping[str, Any] = members

    @staticmethod
    def of(failure: RequestFailed) -> "Problem":
        """Convert the error of a service's call, or of an item of a batch."""
        members: dict[str, Any] = {}
        if failure.field_violations:
            members["field"] = failure.field
        if failure.metadata:
            members["metadata"] = failure.metadata
        if failure.peer is not None:
            members["service"] = failure.peer.service
        return Problem(
            status_of(failure.code, failure.reason),
            failure.reason,
            _detail(failure),
            retry_after_s=failure.retry_after_s,
            **members,
        )

    def document(self) -> dict[str, Any]:
        """The problem details as JSON."""
        document = {
            "type": "about:blank",
            "title": self.status.phrase,
            "status": int(self.status),
            "detail": self.detail,
            "reason": self.reason,
            **self.members,
        }
        if self.retry_after_s is not None:
            document["retryAfterSeconds"] = self.retry_after_s
        return document

    def headers(self) -> dict[str, str]:
        """The accompanying HTTP headers."""
        headers = {}
        if self.status == HTTPStatus.UNAUTHORIZED:
            headers["www-authenticate"] = "Bearer"
        if self.retry_after_s is not None:
            headers["retry-after"] = str(math.ceil(self.retry_after_s))
        return headers

    def response(self) -> JSONResponse:
        """The response for API clients."""
        return JSONResponse(
            self.document(),
            self.status,
            headers=self.headers(),
            media_type="application/problem+json",
        )


def _detail(failure: RequestFailed) -> str:
    """The service's message, unless it is gRPC's own, which reveals internal addresses."""
    if failure.reason != failure.code or failure.peer is None:
        return failure.message
    service = failure.peer.service
    if failure.code == "UNAVAILABLE":
        return f"the {service} cannot be reached"
    if failure.code == "DEADLINE_EXCEEDED":
        return f"the {service} did not answer in time"
    return f"the {service} answered {failure.code}"
