"""Sightings as server-sent events."""

import asyncio
import json
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from typing import Any, Final

from starlette.requests import Request
from starlette.responses import StreamingResponse

from compactface.client import RequestFailed
from compactface.v1 import recognizer_pb2
from web_gateway.problems import Problem
from web_gateway.services import METHODS, Caller
from web_gateway.transcoding import from_query, parse, path_value, query_fields

_ALIVE_S: Final = 15.0
"""Idle time before a keepalive comment, since proxies close idle connections."""

_MAX_EVENT_ID: Final = 1024

WATCH_FIELDS: Final = query_fields(
    METHODS["WatchSightings"].input_type, without=("collection", "afterSightingId")
)
"""Query parameters of a watch."""

Answer = recognizer_pb2.WatchSightingsResponse


def watch_request(request: Request, collection: str) -> recognizer_pb2.WatchSightingsRequest:
    """Parse a watch request; a reconnecting browser sends the resume token.

    Raises:
        Problem: a parameter is unknown, or a value is invalid.
    """
    given = from_query(
        [pair for pair in request.query_params.multi_items() if pair[0] != "collection"],
        WATCH_FIELDS,
    )
    last = request.headers.get("last-event-id", "")[:_MAX_EVENT_ID]
    if last:
        given["resumeToken"] = last
    message = parse(
        {**given, "collection": path_value(collection)}, recognizer_pb2.WatchSightingsRequest
    )
    assert isinstance(message, recognizer_pb2.WatchSightingsRequest)
    return message


async def watch(
    caller: Caller,
    asked: recognizer_pb2.WatchSightingsRequest,
    *,
    stopping: asyncio.Event,
    show: Callable[[Answer], str],
) -> StreamingResponse:
    """Send sightings until the client disconnects or the gateway stops.

    Args:
        caller: the caller.
        asked: the watch request.
        stopping: event set when the gateway stops; clients reconnect by themselves.
        show: makes the data of an event.

    Raises:
        RequestFailed: the service rejects the request; the response status reports it.
    """
    now = await caller.recognizer.sightings.list(
        collection=asked.collection, only=asked.filter, page_size=1
    )
    answers = caller.recognizer.sightings.watch(
        collection=asked.collection,
        only=asked.filter,
        resume_token=asked.resume_token or now.resume_token,
        include_pictures=asked.include_pictures,
    )
    return StreamingResponse(
        _events(answers, stopping, show),
        media_type="text/event-stream",
        headers={"x-accel-buffering": "no"},  # disables nginx's buffering of events
    )


async def _events(
    answers: AsyncIterator[Answer], stopping: asyncio.Event, show: Callable[[Answer], str]
) -> AsyncGenerator[str, None]:
    stop = asyncio.ensure_future(stopping.wait())
    coming: asyncio.Future[Answer] | None = None
    try:
        yield ": watching\n\n"
        while not stop.done():
            coming = coming or asyncio.ensure_future(anext(answers))
            either: set[asyncio.Future[Any]] = {coming, stop}
            done, _ = await asyncio.wait(
                either, timeout=_ALIVE_S, return_when=asyncio.FIRST_COMPLETED
            )
            if coming in done:
                answer, coming = coming.result(), None
                yield _event(show(answer), identity=answer.resume_token)
            elif not done:
                yield ": alive\n\n"
    except StopAsyncIteration:
        return
    except RequestFailed as failure:
        yield _event(json.dumps(Problem.of(failure).document()), kind="problem")
    finally:
        stop.cancel()
        if coming is not None:
            coming.cancel()


def _event(data: str, *, identity: str = "", kind: str = "") -> str:
    lines = [f"event: {kind}"] if kind else []
    lines += [f"id: {identity}"] if identity else []
    lines += [f"data: {line}" for line in data.splitlines()]
    return "\n".join(lines) + "\n\n"
