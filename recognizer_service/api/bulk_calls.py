"""Calls of many items, each with its own status: BulkEnroll and BatchIdentify."""

from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing
from functools import partial

from compactface.v1 import gallery_pb2, recognizer_pb2
from recognizer_service.api import conversions, gallery_conversions
from recognizer_service.core.enroll import Enroller, PreparedEnrolment
from recognizer_service.core.recognizer import Recognizer
from recognizer_service.core.types import Identification, Question
from shared.errors import CompactfaceError, Unavailable
from shared.serving.error_interceptor import to_status
from shared.serving.in_order import map_in_order

_IN_FLIGHT = 32  # enough to fill a batch, small enough to hold in memory


async def enroll_all(
    enroller: Enroller, requests: AsyncIterator[gallery_pb2.BulkEnrollRequest], *, caller: str
) -> AsyncGenerator[gallery_pb2.BulkEnrollResponse, None]:
    """Embed enrollments concurrently and store them in order: yields one answer per request.

    At most 32 requests are in flight.

    Raises:
        Unavailable: the service is stopping, or the database is unavailable.
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
        raise  # concerns the whole stream: the service is stopping or the database is unavailable
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
    except Unavailable:
        raise  # concerns the whole stream, as above
    except CompactfaceError as error:
        answer.error.CopyFrom(to_status(error))
    else:
        answer.response.CopyFrom(gallery_conversions.enroll_response(stored))
    return answer


async def identify_all(
    recognizer: Recognizer, requests: Sequence[recognizer_pb2.IdentifyRequest]
) -> list[recognizer_pb2.BatchIdentifyResult]:
    """Return one result per request, in order."""
    items = [_question(request) for request in requests]
    questions = [item for item in items if isinstance(item, Question)]
    answers = iter(await recognizer.identifier.identify_each(questions))
    return [_result(next(answers) if isinstance(item, Question) else item) for item in items]


def _question(request: recognizer_pb2.IdentifyRequest) -> Question | CompactfaceError:
    try:
        return conversions.question(request)
    except CompactfaceError as error:
        return error


def _result(answer: Identification | CompactfaceError) -> recognizer_pb2.BatchIdentifyResult:
    if isinstance(answer, CompactfaceError):
        return recognizer_pb2.BatchIdentifyResult(error=to_status(answer))
    return recognizer_pb2.BatchIdentifyResult(response=conversions.identify_response(answer))
