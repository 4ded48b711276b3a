# ruff: noqa: N802, ARG002 - names and signatures are the protocol's
"""RecognizerService: streaming, listing, watching and deleting sightings."""

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing

import structlog

from compactface.v1 import recognizer_pb2, recognizer_pb2_grpc
from recognizer_service.api import conversions, sighting_conversions
from recognizer_service.api.erasures import erased
from recognizer_service.api.gallery_conversions import erasure_wait_s
from recognizer_service.api.identity import caller_name
from recognizer_service.core.recognizer import Recognizer
from recognizer_service.core.types import FaceMap, map_of
from recognizer_service.gallery.audit import Operation
from recognizer_service.gallery.limits import MAX_ID_CHARACTERS, MAX_PAGE_SIZE
from recognizer_service.gallery.sightings.types import SeenFace, SightingOutcome
from recognizer_service.settings import RecognizerSettings
from shared.camera_name import camera_id, check_camera
from shared.errors import (
    CompactfaceError,
    FailedPrecondition,
    InvalidInput,
    NotFound,
    Overloaded,
    Unavailable,
)
from shared.faces.display import encode_png
from shared.serving.authorization import check_collection
from shared.serving.error_interceptor import INTERNAL, to_status
from shared.serving.interceptor import Context
from shared.serving.request_id import logged_as
from shared.serving.stopping import until_stopping

_log = structlog.get_logger(__name__)
_DEFAULT_PAGE = 100
MAX_STREAM_MAPS = 64
"""Maximum number of maps in one message."""


class SightingServicer(recognizer_pb2_grpc.RecognizerServiceServicer):
    """The calls for camera streams and sightings.

    Args:
        recognizer: the domain object.
        settings: the collection for streamed maps and the limits for watchers.
        stopping: ends streams when set.
    """

    def __init__(
        self, recognizer: Recognizer, settings: RecognizerSettings, stopping: asyncio.Event
    ) -> None:
        self._recognizer = recognizer
        self._settings = settings
        self._stopping = stopping
        self._sightings = recognizer.gallery.sightings

    async def StreamMaps(
        self, request_iterator: AsyncIterator[recognizer_pb2.StreamMapsRequest], context: Context
    ) -> AsyncIterator[recognizer_pb2.StreamMapsResponse]:
        """Receive maps from a camera and acknowledge each once it is durable."""
        check_collection(self._settings.stream_collection)
        async for request in until_stopping(request_iterator, self._stopping):
            answers = await self._take(sighting_conversions.streamed(request))
            if request.answer_together:
                yield recognizer_pb2.StreamMapsResponse(answers=answers)
                continue
            for answer in answers:
                yield answer

    async def ListSightings(
        self, request: recognizer_pb2.ListSightingsRequest, context: Context
    ) -> recognizer_pb2.ListSightingsResponse:
        """Return one page of sightings, and the position that it was read at.

        The position is read first: a finding in between is then both in the page and in the watch.
        """
        position = await self._recognizer.in_thread(self._sightings.newest_position)
        page = await self._recognizer.in_thread(
            self._sightings.list,
            conversions.collection_id(request.collection),
            only=sighting_conversions.sighting_filter(request.filter),
            page_size=request.page_size or _DEFAULT_PAGE,
            page_token=request.page_token,
        )
        return recognizer_pb2.ListSightingsResponse(
            sightings=map(sighting_conversions.sighting_message, page.items),
            next_page_token=page.next_page_token,
            resume_token=sighting_conversions.resume_token(position),
        )

    async def GetSighting(
        self, request: recognizer_pb2.GetSightingRequest, context: Context
    ) -> recognizer_pb2.GetSightingResponse:
        """Return one sighting."""
        collection = conversions.collection_id(request.collection)
        (seen,) = await self._recognizer.in_thread(
            self._sightings.find, collection, [request.sighting_id]
        )
        answer = recognizer_pb2.GetSightingResponse(
            sighting=sighting_conversions.sighting_message(seen)
        )
        if request.include_picture:
            await self._recognizer.note(Operation.RECONSTRUCT, collection, caller=caller_name())
            answer.picture_png = await self._picture(seen)
        return answer

    async def WatchSightings(
        self, request: recognizer_pb2.WatchSightingsRequest, context: Context
    ) -> AsyncIterator[recognizer_pb2.WatchSightingsResponse]:
        """Stream sightings as they are identified."""
        collection = conversions.collection_id(request.collection)
        after = await self._start(request, collection)
        only = sighting_conversions.sighting_filter(request.filter)
        await self._recognizer.in_thread(self._recognizer.gallery.collections.get, collection)
        if request.include_pictures:
            await self._recognizer.note(Operation.RECONSTRUCT, collection, caller=caller_name())
        watching = self._recognizer.sightings.watch(
            collection, after=after, only=only, stopping=self._stopping
        )
        async with aclosing(watching):
            async for seen in watching:
                answer = sighting_conversions.watch_response(seen)
                if request.include_pictures:
                    answer.picture_png = await self._picture_if_any(seen)
                began = time.monotonic()
                yield answer  # resumes when there is room for the next one
                self._check_pace(time.monotonic() - began, answer.resume_token)

    async def ListCameras(
        self, request: recognizer_pb2.ListCamerasRequest, context: Context
    ) -> recognizer_pb2.ListCamerasResponse:
        """Return one page of cameras."""
        page = await self._recognizer.in_thread(
            self._sightings.cameras,
            conversions.collection_id(request.collection),
            page_size=request.page_size or _DEFAULT_PAGE,
            page_token=request.page_token,
        )
        return recognizer_pb2.ListCamerasResponse(
            cameras=map(sighting_conversions.camera_message, page.items),
            next_page_token=page.next_page_token,
        )

    async def ListStrangers(
        self, request: recognizer_pb2.ListStrangersRequest, context: Context
    ) -> recognizer_pb2.ListStrangersResponse:
        """Return one page of strangers, and the position that it was read at; see ListSightings."""
        position = await self._recognizer.in_thread(self._sightings.newest_position)
        page = await self._recognizer.in_thread(
            self._recognizer.gallery.strangers.list,
            conversions.collection_id(request.collection),
            min_sightings=request.min_sightings,
            page_size=request.page_size or _DEFAULT_PAGE,
            page_token=request.page_token,
        )
        return recognizer_pb2.ListStrangersResponse(
            strangers=map(sighting_conversions.stranger_message, page.items),
            next_page_token=page.next_page_token,
            resume_token=sighting_conversions.resume_token(position),
        )

    async def DeleteSightings(
        self, request: recognizer_pb2.DeleteSightingsRequest, context: Context
    ) -> recognizer_pb2.DeleteSightingsResponse:
        """Delete sightings by id or by filter."""
        wait_s = erasure_wait_s(request)
        ids = list(request.sighting_ids)
        if bool(ids) == request.HasField("filter"):
            raise InvalidInput(
                "NOTHING_SELECTED",
                f"{'both' if ids else 'neither'} sighting_ids {'and' if ids else 'nor'} filter "
                "given; give one of them",
                field="sighting_ids",
            )
        if len(ids) > MAX_PAGE_SIZE:
            raise InvalidInput(
                "OUT_OF_RANGE",
                f"{len(ids)} sighting_ids given; at most {MAX_PAGE_SIZE} are accepted",
                field="sighting_ids",
            )
        count, erasure = await self._recognizer.in_writer(
            self._sightings.delete,
            request.collection,
            sighting_ids=ids or None,
            only=sighting_conversions.sighting_filter(request.filter),
            caller=caller_name(),
        )
        return recognizer_pb2.DeleteSightingsResponse(
            sightings_deleted=count,
            erased=await erased(self._recognizer, erasure, wait_s, self._stopping),
            erasure=erasure,
        )

    async def stream_retention_s(self) -> int | None:
        """The retention of streamed maps in seconds; None if their collection does not exist."""
        try:
            collection = await self._recognizer.in_thread(
                self._recognizer.gallery.collections.get, self._settings.stream_collection
            )
        except NotFound:
            return None
        return collection.sighting_retention_s

    async def _start(
        self, request: recognizer_pb2.WatchSightingsRequest, collection: str
    ) -> int | None:
        """Return the position to watch from; None means now."""
        if request.resume_token:
            return sighting_conversions.position(request.resume_token)
        if not request.after_sighting_id:
            return None
        (seen,) = await self._recognizer.in_thread(
            self._sightings.find, collection, [request.after_sighting_id]
        )
        if seen.finding is None:
            raise FailedPrecondition(
                "SIGHTING_NOT_IDENTIFIED",
                f"sighting {seen.sighting.sighting_id} is not identified yet",
                field="after_sighting_id",
            )
        return seen.position

    def _check_pace(self, took_s: float, token: str) -> None:
        """Disconnect a watcher that reads too slowly; it can resume with its token."""
        patience_s = self._settings.watch_patience_seconds
        if took_s > patience_s:
            error = Overloaded(
                "WATCHER_TOO_SLOW",
                f"the watcher took {took_s:.1f} s to read a sighting; at most {patience_s:g} s are "
                "waited: go on from the resume_token",
                retry_after_s=0,
            )
            error.metadata["resume_token"] = token
            raise error

    async def _picture(self, seen: SeenFace) -> bytes:
        return encode_png(await self._recognizer.picture_of(map_of(seen)))

    async def _picture_if_any(self, seen: SeenFace) -> bytes:
        try:
            return await self._picture(seen)
        except CompactfaceError as error:
            _log.warning("sighting_without_picture", reason=error.reason)
            return b""

    async def _take(
        self, maps: Sequence[recognizer_pb2.StreamedMap]
    ) -> list[recognizer_pb2.StreamMapsResponse]:
        """Store the maps of one message together; return one answer for each."""
        if not 1 <= len(maps) <= MAX_STREAM_MAPS:
            raise InvalidInput(
                "INVALID_BATCH_SIZE",
                f"{len(maps)} maps given; 1 to {MAX_STREAM_MAPS} are accepted",
                field="maps",
            )
        answers = [
            recognizer_pb2.StreamMapsResponse(sighting_id=item.sighting_id[:MAX_ID_CHARACTERS])
            for item in maps
        ]
        try:
            outcomes = await self._store(maps)
        except (Overloaded, Unavailable):
            raise  # the client resends them; later maps must not overtake them
        except Exception as error:  # noqa: BLE001 - one map's bug must not block the others
            if len(maps) > 1:
                return [answer for item in maps for answer in await self._take([item])]
            outcomes = [error]
        for item, answer, outcome in zip(maps, answers, outcomes, strict=True):
            with logged_as(item.request_id):
                _answer(answer, outcome, camera_id(caller_name(), item.camera))
        self._recognizer.sightings.arrived()
        return answers

    async def _store(
        self, maps: Sequence[recognizer_pb2.StreamedMap]
    ) -> Sequence[SightingOutcome | Exception]:
        """Store maps; return the outcome of each."""
        caller = caller_name()
        faces: list[tuple[str, str, FaceMap | CompactfaceError]] = []
        for item in maps:
            camera = camera_id(caller, "")
            try:
                check_camera(item.camera, field="camera")
                camera = camera_id(caller, item.camera)
                face = conversions.face_map(item.map, field="map")
            except CompactfaceError as error:
                faces.append((item.sighting_id, camera, error))
            else:
                faces.append((item.sighting_id, camera, face))
        try:
            return await self._recognizer.sightings.accept(self._settings.stream_collection, faces)
        except NotFound as error:  # of the collection: the operator's change, not the map's fault
            raise Unavailable("STREAM_COLLECTION_MISSING", error.message) from error


def _answer(
    answer: recognizer_pb2.StreamMapsResponse,
    outcome: SightingOutcome | Exception,
    camera: str,
) -> None:
    log = _log.bind(sighting_id=answer.sighting_id, camera_id=camera)
    if isinstance(outcome, CompactfaceError):
        answer.error.CopyFrom(to_status(outcome))
        log.warning("map_refused", reason=outcome.reason, message=outcome.message)
    elif isinstance(outcome, Exception):
        answer.error.CopyFrom(INTERNAL)
        log.error("map_failed", exc_info=outcome)
    else:
        answer.outcome = conversions.outcome(outcome)
        log.debug("map_taken", outcome=outcome.name)
