"""A recognizer's end of StreamMaps that does what a test tells it to."""

from collections import deque
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import grpc
from google.rpc import status_pb2

from compactface.v1 import recognizer_pb2_grpc
from compactface.v1.recognizer_pb2 import (
    GetRecognizerInfoRequest,
    GetRecognizerInfoResponse,
    StreamMapsRequest,
    StreamMapsResponse,
)

STORED = StreamMapsResponse.OUTCOME_STORED


class Recognizer(recognizer_pb2_grpc.RecognizerServiceServicer):
    """Acknowledges every map, unless its script says otherwise for the next ones.

    Attributes:
        received: ids in the order of arrival, repetitions included.
        acknowledged: ids in the order of acknowledgement.
        script: what to do with the next maps: "ack", "ignore" (read on without an answer),
            "break" (end the stream with UNAVAILABLE), "fail" (end it with INTERNAL, as a bug
            does), or a code to refuse the map with.
        poison: what to do with these maps, by id, whenever they come.
        hang_up: code to end every stream with at once; None: read on.
        streams: how many there were.
        answers_together: whether it does so where it is asked to; if not, it is older.
        maps_per_message: what it says of itself; 0: it is older.
        messages: how many maps each message had.
    """

    def __init__(self, script: Sequence[str | grpc.StatusCode] = ()) -> None:
        self.received: list[str] = []
        self.acknowledged: list[str] = []
        self.script = deque(script)
        self.poison: dict[str, str | grpc.StatusCode] = {}
        self.hang_up: grpc.StatusCode | None = None
        self.streams = 0
        self.answers_together = True
        self.maps_per_message = 0
        self.messages: list[int] = []

    async def StreamMaps(  # noqa: N802 - named by the protocol
        self, request_iterator: AsyncIterator[StreamMapsRequest], context: grpc.aio.ServicerContext
    ) -> AsyncIterator[StreamMapsResponse]:
        """Take maps by the script."""
        self.streams += 1
        if self.hang_up:
            await context.abort(self.hang_up, "gone")
        async for request in request_iterator:
            self.messages.append(max(1, len(request.maps)))
            answers = []
            for item in request.maps or [request]:
                answer = await self._answer(item.sighting_id, context)
                if answer is None:
                    continue
                if request.answer_together and self.answers_together:
                    answers.append(answer)
                else:
                    yield answer
            if answers:
                yield StreamMapsResponse(answers=answers)

    async def GetRecognizerInfo(  # noqa: N802 - named by the protocol
        self,
        request: GetRecognizerInfoRequest,  # noqa: ARG002
        context: grpc.aio.ServicerContext,
    ) -> GetRecognizerInfoResponse:
        """Say how many maps a message may hold; nothing, as services from before that."""
        if not self.maps_per_message:
            await context.abort(grpc.StatusCode.UNIMPLEMENTED, "an older one")
        return GetRecognizerInfoResponse(max_stream_maps=self.maps_per_message)

    async def _answer(
        self, sighting_id: str, context: grpc.aio.ServicerContext
    ) -> StreamMapsResponse | None:
        """What the script has for one map."""
        self.received.append(sighting_id)
        act = self.script.popleft() if self.script else "ack"
        match self.poison.get(sighting_id, act):
            case "ack":
                self.acknowledged.append(sighting_id)
                return StreamMapsResponse(sighting_id=sighting_id, outcome=STORED)
            case "break":
                await context.abort(grpc.StatusCode.UNAVAILABLE, "gone")
            case "fail":
                await context.abort(grpc.StatusCode.INTERNAL, "internal error")
            case grpc.StatusCode() as code:
                error = status_pb2.Status(code=code.value[0], message="refused by the script")
                return StreamMapsResponse(sighting_id=sighting_id, error=error)
        return None


@asynccontextmanager
async def listening(peer: Recognizer, *, port: int = 0) -> AsyncIterator[int]:
    """Serve on a free port, or on a given one; at the end connections are cut."""
    server = grpc.aio.server()
    recognizer_pb2_grpc.add_RecognizerServiceServicer_to_server(peer, server)
    port = server.add_insecure_port(f"127.0.0.1:{port}")
    await server.start()
    try:
        yield port
    finally:
        await server.stop(None)
