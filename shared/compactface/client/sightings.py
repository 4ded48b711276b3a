"""RecognizerService: what cameras streamed, and who it shows."""

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
"""What can come of identifying a sighting."""


def sighting_filter(
    *,
    start: datetime | None = None,
    end: datetime | None = None,
    camera: str = "",
    subject: str = "",
    decisions: Sequence[str] = (),
) -> recognizer_pb2.SightingFilter:
    """Which sightings are meant: those that pass all that is given.

    Args:
        start: only those seen then or later.
        end: only those seen before.
        camera: only those of one camera.
        subject: only those that match this subject.
        decisions: only those with one of these, of `DECISIONS`.

    Raises:
        ValueError: a decision that is none.
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
    )


def _whole(
    answer: recognizer_pb2.WatchSightingsResponse,
) -> recognizer_pb2.WatchSightingsResponse:
    return answer


class Sightings(Group[T]):
    """What cameras streamed; everywhere `collection` "" is "default"."""

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
        """One page of sightings, the last seen first; the answer holds the token of the next.

        Args:
            collection: where.
            only: which, made by `sighting_filter`; None: all.
            page_size: at most so many, up to 1000.
            page_token: of the page before; "": the first.
        """
        request = recognizer_pb2.ListSightingsRequest(
            collection=collection, filter=only, page_size=page_size, page_token=page_token
        )
        return Call(self._stub.ListSightings, request, recognizer_pb2.ListSightingsResponse)

    @unary
    def get(
        self, sighting_id: str, *, collection: str = "", include_picture: bool = False
    ) -> Call[recognizer_pb2.GetSightingResponse]:
        """One sighting, with the picture that its map holds if that is asked for."""
        request = recognizer_pb2.GetSightingRequest(
            collection=collection, sighting_id=sighting_id, include_picture=include_picture
        )
        return Call(self._stub.GetSighting, request, recognizer_pb2.GetSightingResponse)

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
        """Sightings as they are identified, without an end.

        Whatever breaks the stream is raised; watch again with the last `resume_token` and none is
        missed. A reader that is too slow is dropped with WATCHER_TOO_SLOW.

        Args:
            collection: where.
            only: which, made by `sighting_filter`; None: all.
            resume_token: of an earlier answer, to go on after it; "": from now.
            include_pictures: whether to send the pictures that the maps hold.
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
        """Enroll the face of sightings, of one person, as a subject, new or known.

        The sightings are identified anew with it.

        Args:
            sighting_ids: which.
            subject_id: the subject; "": the server makes an id.
            display_name: for people; "" keeps the name of a known subject.
            collection: of the sightings, and of the subject.
            on_duplicate: what to do when another subject looks the same.
            request_id: the same id and body, within 7 days, answer as the first time; "": one is
                made.
        """
        request = gallery_pb2.EnrollRequest(
            collection=collection,
            subject_id=subject_id,
            display_name=display_name,
            sighting_ids=sighting_ids,
            on_duplicate=ON_DUPLICATE[on_duplicate],
            request_id=request_id or str(uuid.uuid4()),
        )
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
        """Delete sightings by their ids, or all that pass a filter; bytes as of a subject.

        Args:
            sighting_ids: which, at most 1000; those that are not there are no error.
            collection: where.
            only: which instead, made by `sighting_filter`; one without conditions means all.
            erasure_wait: how long to wait with the answer for the bytes to go, up to a minute.
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
