"""RecognizerService: faces streamed by cameras, with their identification."""

import uuid
from collections.abc import AsyncIterator, Iterator, Sequence
from datetime import datetime, timedelta
from typing import Any, overload

from compactface.client.asynchronous import Asyncio
from compactface.client.blocking import Blocking
from compactface.client.call import Call
from compactface.client.collections import AT_ONCE
from compactface.client.methods import Group, T, unary
from compactface.client.subjects import ON_DUPLICATE, OnDuplicate
from compactface.v1 import gallery_pb2, recognizer_pb2

_DECISIONS = {
    "match": recognizer_pb2.IDENTIFY_DECISION_MATCH,
    "no-match": recognizer_pb2.IDENTIFY_DECISION_NO_MATCH,
    "low-quality": recognizer_pb2.IDENTIFY_DECISION_LOW_QUALITY,
    "empty-gallery": recognizer_pb2.IDENTIFY_DECISION_EMPTY_GALLERY,
}
DECISIONS = tuple(_DECISIONS)
"""Possible outcomes of identifying a sighting."""


def sighting_filter(
    *,
    start: datetime | None = None,
    end: datetime | None = None,
    camera: str = "",
    subject: str = "",
    decisions: Sequence[str] = (),
    stranger: int = 0,
) -> recognizer_pb2.SightingFilter:
    """Build a filter of sightings; all given conditions must hold.

    Args:
        start: earliest time, inclusive.
        end: latest time, exclusive.
        camera: only sightings of this camera.
        subject: only sightings that match this subject.
        decisions: only sightings with one of these outcomes, of `DECISIONS`.
        stranger: only sightings of the stranger with this number; 0: of any.

    Raises:
        ValueError: a decision is unknown.
    """
    for decision in decisions:
        if decision not in _DECISIONS:
            raise ValueError(f"decision is {decision!r}; it must be one of {', '.join(DECISIONS)}")
    return recognizer_pb2.SightingFilter(
        start_time=start,
        end_time=end,
        camera_id=camera,
        subject_id=subject,
        decisions=[_DECISIONS[decision] for decision in decisions],
        stranger_number=stranger,
    )


def _whole(
    answer: recognizer_pb2.WatchSightingsResponse,
) -> recognizer_pb2.WatchSightingsResponse:
    return answer


class Sightings(Group[T]):
    """Sightings of cameras. In all methods, `collection` "" means "default"."""

    def __init__(self, transport: T, stub: Any, gallery: Any) -> None:
        super().__init__(transport, stub)
        self._gallery = gallery

    @unary
    def list(
        self,
        *,
        collection: str = "",
        only: recognizer_pb2.SightingFilter | None = None,
        page_size: int = 100,
        page_token: str = "",
    ) -> Call[recognizer_pb2.ListSightingsResponse]:
        """List sightings, most recent first, by page; the response holds the next page's token.

        Args:
            collection: the collection.
            only: filter, from `sighting_filter`; None: all.
            page_size: maximum number of sightings, up to 1000.
            page_token: token from the previous page; "": first page.
        """
        request = recognizer_pb2.ListSightingsRequest(
            collection=collection, filter=only, page_size=page_size, page_token=page_token
        )
        return Call(self._stub.ListSightings, request, recognizer_pb2.ListSightingsResponse)

    @unary
    def get(
        self, sighting_id: str, *, collection: str = "", include_picture: bool = False
    ) -> Call[recognizer_pb2.GetSightingResponse]:
        """Get one sighting, optionally with the image reconstructed from its map."""
        request = recognizer_pb2.GetSightingRequest(
            collection=collection, sighting_id=sighting_id, include_picture=include_picture
        )
        return Call(self._stub.GetSighting, request, recognizer_pb2.GetSightingResponse)

    @unary
    def cameras(
        self, *, collection: str = "", page_size: int = 100, page_token: str = ""
    ) -> Call[recognizer_pb2.ListCamerasResponse]:
        """List the cameras whose sightings are kept, by id and page, with what they have seen."""
        request = recognizer_pb2.ListCamerasRequest(
            collection=collection, page_size=page_size, page_token=page_token
        )
        return Call(self._stub.ListCameras, request, recognizer_pb2.ListCamerasResponse)

    @unary
    def strangers(
        self,
        *,
        collection: str = "",
        min_sightings: int = 0,
        page_size: int = 100,
        page_token: str = "",
    ) -> Call[recognizer_pb2.ListStrangersResponse]:
        """List the strangers, last seen first, by page: unknown sightings grouped by person.

        There are none unless the collection has a `max_stranger_fpir`.

        Args:
            collection: the collection.
            min_sightings: only strangers seen at least so often.
            page_size: maximum number of strangers, up to 1000.
            page_token: token from the previous page; "": first page.
        """
        request = recognizer_pb2.ListStrangersRequest(
            collection=collection,
            min_sightings=min_sightings,
            page_size=page_size,
            page_token=page_token,
        )
        return Call(self._stub.ListStrangers, request, recognizer_pb2.ListStrangersResponse)

    @overload
    def watch(
        self: "Sightings[Blocking]",
        *,
        collection: str = "",
        only: recognizer_pb2.SightingFilter | None = None,
        resume_token: str = "",
        include_pictures: bool = False,
    ) -> Iterator[recognizer_pb2.WatchSightingsResponse]: ...

    @overload
    def watch(
        self: "Sightings[Asyncio]",
        *,
        collection: str = "",
        only: recognizer_pb2.SightingFilter | None = None,
        resume_token: str = "",
        include_pictures: bool = False,
    ) -> AsyncIterator[recognizer_pb2.WatchSightingsResponse]: ...

    def watch(
        self,
        *,
        collection: str = "",
        only: recognizer_pb2.SightingFilter | None = None,
        resume_token: str = "",
        include_pictures: bool = False,
    ) -> Any:
        """Yield sightings as they are identified, indefinitely.

        Errors of the stream are raised; to continue without a gap, watch again with the last
        `resume_token`. A reader that is too slow is disconnected with WATCHER_TOO_SLOW.

        Args:
            collection: the collection.
            only: filter, from `sighting_filter`; None: all.
            resume_token: token of an earlier response, to continue after it; "": from now.
            include_pictures: whether to send images reconstructed from the maps.
        """
        request = recognizer_pb2.WatchSightingsRequest(
            collection=collection,
            filter=only,
            resume_token=resume_token,
            include_pictures=include_pictures,
        )
        call = Call(self._stub.WatchSightings, request, recognizer_pb2.WatchSightingsResponse)
        return self._transport.download(call, part=_whole)

    @unary
    def enroll(
        self,
        sighting_ids: Sequence[str],
        *,
        subject_id: str = "",
        display_name: str = "",
        collection: str = "",
        on_duplicate: OnDuplicate = "reject",
        request_id: str = "",
    ) -> Call[gallery_pb2.EnrollResponse]:
        """Enroll the faces of sightings of one person, as a new or existing subject.

        The sightings are then identified again.

        Args:
            sighting_ids: ids of the sightings.
            subject_id: id of the subject; "": the server generates one.
            display_name: name for display; "" keeps that of an existing subject.
            collection: collection of the sightings and the subject.
            on_duplicate: what to do if another subject looks the same.
            request_id: repeated within 7 days with the same body, it returns the first response;
                "": one is generated.
        """
        request = gallery_pb2.EnrollRequest(
            collection=collection,
            subject_id=subject_id,
            display_name=display_name,
            sighting_ids=sighting_ids,
        )
        return self._enroll(request, on_duplicate, request_id)

    @unary
    def enroll_stranger(
        self,
        stranger: int,
        *,
        subject_id: str = "",
        display_name: str = "",
        collection: str = "",
        on_duplicate: OnDuplicate = "reject",
        request_id: str = "",
    ) -> Call[gallery_pb2.EnrollResponse]:
        """Enroll the best sightings of a stranger; all of its sightings are then identified again.

        Args:
            stranger: number of the stranger, from `strangers`.
            subject_id: as in `enroll`.
            display_name: as in `enroll`.
            collection: as in `enroll`.
            on_duplicate: as in `enroll`.
            request_id: as in `enroll`.
        """
        request = gallery_pb2.EnrollRequest(
            collection=collection,
            subject_id=subject_id,
            display_name=display_name,
            stranger_number=stranger,
        )
        return self._enroll(request, on_duplicate, request_id)

    def _enroll(
        self, request: gallery_pb2.EnrollRequest, on_duplicate: OnDuplicate, request_id: str
    ) -> Call[gallery_pb2.EnrollResponse]:
        request.on_duplicate = ON_DUPLICATE[on_duplicate]
        request.request_id = request_id or str(uuid.uuid4())
        return Call(self._gallery.Enroll, request, gallery_pb2.EnrollResponse)

    @unary
    def delete(
        self,
        sighting_ids: Sequence[str] = (),
        *,
        collection: str,
        only: recognizer_pb2.SightingFilter | None = None,
        erasure_wait: timedelta = AT_ONCE,
    ) -> Call[recognizer_pb2.DeleteSightingsResponse]:
        """Delete sightings by id, or all that match a filter, with erasure as in `Subjects.delete`.

        Args:
            sighting_ids: ids, at most 1000; missing ones are ignored.
            collection: the collection.
            only: filter to use instead, from `sighting_filter`; one without conditions matches all.
            erasure_wait: how long to wait for erasure, up to a minute.
        """
        request = recognizer_pb2.DeleteSightingsRequest(
            collection=collection,
            sighting_ids=sighting_ids,
            filter=only,
            erasure_wait=erasure_wait,
        )
        return Call(
            self._stub.DeleteSightings,
            request,
            recognizer_pb2.DeleteSightingsResponse,
            more_s=erasure_wait.total_seconds(),
        )
