"""BatchIdentify: many probes in one call, each with its own status."""

from collections.abc import Sequence

from compactface.v1 import recognizer_pb2
from recognizer_service.api import conversions
from recognizer_service.core.recognizer import Recognizer
from recognizer_service.core.types import Identification, Question
from shared.errors import CompactfaceError
from shared.serving.error_interceptor import to_status


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
