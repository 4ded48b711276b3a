"""BulkEnroll: enrolments embedded side by side, and stored one after the other as they came."""

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from functools import partial

from compactface.v1 import gallery_pb2
from recognizer_service.api import conversions, gallery_conversions
from recognizer_service.core.enroll import Enroller, PreparedEnrolment
from shared.errors import CompactfaceError, Unavailable
from shared.serving.error_interceptor import to_status
from shared.serving.in_order import map_in_order

_IN_FLIGHT = 32  # enough to fill a batch of the networks, little to hold in memory


async def enroll_all(
    enroller: Enroller, requests: AsyncIterator[gallery_pb2.BulkEnrollRequest], *, caller: str
) -> AsyncGenerator[gallery_pb2.BulkEnrollResponse, None]:
    """An answer for each request, in order; nothing more is read while 32 are in work.

    Raises:
        Unavailable: the service stops, or its database is away.
    """
    index = 0
    prepare = partial(_prepare, enroller, caller)
    async with aclosing(map_in_order(prepare, requests, limit=_IN_FLIGHT)) as items:
        async for item in items:
            yield await _store(enroller, index, item)
            index += 1


async def _prepare(
    enroller: Enroller, caller: str, request: gallery_pb2.BulkEnrollRequest
) -> PreparedEnrolment | CompactfaceError:
    try:
        return await enroller.prepare_patiently(
            conversions.collection_id(request.enroll.collection),
            gallery_conversions.enrol_request(request.enroll, caller=caller),
        )
    except Unavailable:
        raise  # of no single item: the service stops, or its database is away
    except CompactfaceError as error:
        return error


async def _store(
    enroller: Enroller, index: int, item: PreparedEnrolment | CompactfaceError
) -> gallery_pb2.BulkEnrollResponse:
    answer = gallery_pb2.BulkEnrollResponse(index=index)
    try:
        if isinstance(item, CompactfaceError):
            raise item
        stored = await enroller.store(item)
    except CompactfaceError as error:
        answer.error.CopyFrom(to_status(error))
    else:
        answer.response.CopyFrom(gallery_conversions.enroll_response(stored))
    return answer
