"""Map domain errors to `google.rpc.Status`, and all other exceptions to "internal error"."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import grpc
import structlog
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import DecodeError, Message
from google.rpc import code_pb2, error_details_pb2, status_pb2
from grpc_status import rpc_status

from shared.errors import CompactfaceError, InvalidInput, Overloaded, Unavailable, Unimplemented
from shared.serving.interceptor import AroundInterceptor, Context, Method

DOMAIN = "compactface"
"""`ErrorInfo.domain` of all compactface errors; reasons are unique within it."""

_log = structlog.get_logger(__name__)


class ErrorInterceptor(AroundInterceptor):
    """The only place that aborts calls. Cancellation and the handler's own aborts pass through."""

    @asynccontextmanager
    async def around(self, method: Method, context: Context) -> AsyncIterator[None]:
        """Turn an exception of the handler into a status with details."""
        try:
            yield
        except CompactfaceError as error:
            await _abort(context, to_status(error))
        except DecodeError:
            await _abort(context, _MALFORMED)
        except NotImplementedError:  # from generated servicers, for unimplemented methods
            await _abort(context, _UNIMPLEMENTED)
        except grpc.aio.AbortError:
            raise
        except Exception:  # noqa: BLE001 - details of a bug must not reach the client
            _log.exception("unforeseen error", method=f"{method.service}/{method.name}")
            await _abort(context, INTERNAL)


def to_status(error: CompactfaceError) -> status_pb2.Status:
    """Convert an error to a status, for a whole call or for one item of a batch or stream.

    Details: always `ErrorInfo`; `BadRequest` if a request field is invalid; `RetryInfo` if the same
    request may be retried later.
    """
    details: list[Message] = [
        error_details_pb2.ErrorInfo(reason=error.reason, domain=DOMAIN, metadata=error.metadata)
    ]
    if error.field and error.code == "INVALID_ARGUMENT":
        violation = error_details_pb2.BadRequest.FieldViolation(
            field=error.field, description=error.message
        )
        details.append(error_details_pb2.BadRequest(field_violations=[violation]))
    if isinstance(error, Overloaded | Unavailable) and error.retry_after_s is not None:
        delay = Duration()
        delay.FromMilliseconds(round(error.retry_after_s * 1000))
        details.append(error_details_pb2.RetryInfo(retry_delay=delay))
    status = status_pb2.Status(code=code_pb2.Code.Value(error.code), message=error.message)
    for detail in details:
        status.details.add().Pack(detail)
    return status


INTERNAL = to_status(CompactfaceError("INTERNAL", "internal error"))
"""The status that clients receive for a bug."""

_MALFORMED = to_status(
    InvalidInput("MALFORMED_REQUEST", "the request is not a legal message of this method")
)

_UNIMPLEMENTED = to_status(
    Unimplemented("NOT_IMPLEMENTED", "this version does not implement the method yet")
)


async def _abort(context: Context, status: status_pb2.Status) -> None:
    answer = rpc_status.to_status(status)
    # abort replaces the trailing metadata; keep what is set, such as the request id.
    metadata = (*context.trailing_metadata(), *answer.trailing_metadata)
    await context.abort(answer.code, answer.details, metadata)
