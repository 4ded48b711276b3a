"""The messages of StreamMaps, and what its answers and errors mean for maps."""

from collections.abc import AsyncIterator, Sequence
from typing import Any

import grpc

from compactface.v1 import recognizer_pb2
from encoder_service.uplink.spool import SpooledMap

# Codes of answers. Those of the set are retried; other rejections, but one, are final.
RETRYABLE = frozenset(
    code.value[0]
    for code in (
        grpc.StatusCode.RESOURCE_EXHAUSTED,
        grpc.StatusCode.UNAVAILABLE,
        grpc.StatusCode.INTERNAL,
    )
)
INTERNAL = grpc.StatusCode.INTERNAL.value[0]
NOT_YET = grpc.StatusCode.FAILED_PRECONDITION.value[0]  # the next model may decode the map
# Statuses of the call. A recognizer that is unreachable, busy or misconfigured fails all maps.
# Other statuses may be caused by the map that it was about to acknowledge.
NO_MAPS_FAULT = frozenset(
    {
        grpc.StatusCode.RESOURCE_EXHAUSTED,
        grpc.StatusCode.UNAVAILABLE,
        grpc.StatusCode.CANCELLED,
        grpc.StatusCode.DEADLINE_EXCEEDED,
        grpc.StatusCode.UNAUTHENTICATED,
        grpc.StatusCode.PERMISSION_DENIED,
        grpc.StatusCode.UNIMPLEMENTED,
    }
)
DISCARDED = recognizer_pb2.StreamMapsResponse.OUTCOME_DISCARDED


def streamed(item: SpooledMap) -> recognizer_pb2.StreamedMap:
    """Parse a spooled map."""
    return recognizer_pb2.StreamedMap.FromString(item.message)


async def each_answer(call: Any) -> AsyncIterator[recognizer_pb2.StreamMapsResponse]:
    """One answer per map, also where the recognizer answers the maps of a message together."""
    async for response in call:
        for answer in response.answers or (response,):
            yield answer


def message(batch: Sequence[SpooledMap]) -> recognizer_pb2.StreamMapsRequest:
    """Build a message; a single map is in the format that older recognizers also support."""
    if len(batch) > 1:
        maps = map(streamed, batch)
        return recognizer_pb2.StreamMapsRequest(maps=maps, answer_together=True)
    return recognizer_pb2.StreamMapsRequest.FromString(batch[0].message)  # same field numbers
