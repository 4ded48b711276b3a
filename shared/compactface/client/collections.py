"""GalleryService: collections, archives, erasure, and the audit log."""

from collections.abc import AsyncIterable, AsyncIterator, Coroutine, Iterable, Iterator
from datetime import datetime, timedelta
from typing import Any, Literal, overload

from google.protobuf.field_mask_pb2 import FieldMask

from compactface.client.asynchronous import Asyncio
from compactface.client.blocking import Blocking
from compactface.client.call import Call
from compactface.client.methods import Group, T, unary
from compactface.v1 import gallery_pb2

SubjectScore = Literal["best-face", "mean-template"]
"""How a subject is scored: by its most similar face, or by the mean of its faces."""

_SCORES = {
    "best-face": gallery_pb2.SUBJECT_SCORE_BEST_FACE,
    "mean-template": gallery_pb2.SUBJECT_SCORE_MEAN_TEMPLATE,
}

AT_ONCE = timedelta(0)
"""Do not wait."""


_CHUNK_BYTES = 1 << 19  # the whole message then fits the smallest message limit


class Collections(Group[T]):
    """Isolated galleries of one service. In all methods, `collection` "" means "default"."""

    @unary
    def create(
        self,
        collection_id: str,
        *,
        max_fpir: float = 0.0,
        max_fmr: float = 0.0,
        sighting_retention: timedelta | None = None,
        max_subjects: int = 0,
        max_faces: int = 0,
        subject_retention: timedelta = timedelta(0),
        subject_score: SubjectScore = "best-face",
        max_stranger_fpir: float = 0.0,
        min_liveness: float = 0.0,
    ) -> Call[gallery_pb2.CreateCollectionResponse]:
        """Create a collection.

        Args:
            collection_id: 1 to 64 of a-z, 0-9, '-' and '_', starting with a letter or digit.
            max_fpir: default threshold of `identify`, in (0, 1); 0: the server's, 0.01.
            max_fmr: default threshold of `verify`, in (0, 1); 0: the server's, 0.001.
            sighting_retention: retention of streamed maps; 0: not stored; None: 24 h.
            max_subjects: maximum number of subjects; 0: no limit.
            max_faces: maximum number of faces; 0: no limit.
            subject_retention: time from creation to deletion of a subject; 0: unlimited.
            subject_score: how subjects are scored.
            max_stranger_fpir: rate in (0, 1) of a new person's sightings that may join another
                stranger; 0: unknown sightings are not grouped.
            min_liveness: minimum `liveness` of maps to identify, verify and enroll, in [0, 1];
                0: not required.
        """
        collection = gallery_pb2.Collection(
            collection_id=collection_id,
            max_fpir=max_fpir,
            max_fmr=max_fmr,
            sighting_retention=sighting_retention,
            max_subjects=max_subjects,
            max_faces=max_faces,
            subject_retention=subject_retention,
            subject_score=_SCORES[subject_score],
            max_stranger_fpir=max_stranger_fpir,
            min_liveness=min_liveness,
        )
        request = gallery_pb2.CreateCollectionRequest(collection=collection)
        return Call(self._stub.CreateCollection, request, gallery_pb2.CreateCollectionResponse)

    @unary
    def get(self, collection: str = "") -> Call[gallery_pb2.GetCollectionResponse]:
        """Get one collection."""
        request = gallery_pb2.GetCollectionRequest(collection=collection)
        return Call(self._stub.GetCollection, request, gallery_pb2.GetCollectionResponse)

    @unary
    def list(
        self, *, page_size: int = 100, page_token: str = ""
    ) -> Call[gallery_pb2.ListCollectionsResponse]:
        """List collections by page, in order of id; the response holds the next page's token."""
        request = gallery_pb2.ListCollectionsRequest(page_size=page_size, page_token=page_token)
        return Call(self._stub.ListCollections, request, gallery_pb2.ListCollectionsResponse)

    @unary
    def update(
        self,
        collection_id: str,
        *,
        max_fpir: float | None = None,
        max_fmr: float | None = None,
        sighting_retention: timedelta | None = None,
        max_subjects: int | None = None,
        max_faces: int | None = None,
        subject_retention: timedelta | None = None,
        subject_score: SubjectScore | None = None,
        max_stranger_fpir: float | None = None,
        min_liveness: float | None = None,
    ) -> Call[gallery_pb2.UpdateCollectionResponse]:
        """Update a collection; None leaves a field unchanged.

        Arguments as for `create`. A quota below the current number deletes nothing; a shorter
        retention also applies to existing data.
        """
        changes: dict[str, Any] = {
            "max_fpir": max_fpir,
            "max_fmr": max_fmr,
            "sighting_retention": sighting_retention,
            "max_subjects": max_subjects,
            "max_faces": max_faces,
            "subject_retention": subject_retention,
            "subject_score": _SCORES[subject_score] if subject_score else None,
            "max_stranger_fpir": max_stranger_fpir,
            "min_liveness": min_liveness,
        }
        given = {name: value for name, value in changes.items() if value is not None}
        request = gallery_pb2.UpdateCollectionRequest(
            collection=gallery_pb2.Collection(collection_id=collection_id, **given),
            update_mask=FieldMask(paths=given),
        )
        return Call(self._stub.UpdateCollection, request, gallery_pb2.UpdateCollectionResponse)

    @unary
    def delete(
        self, collection: str, *, force: bool = False, erasure_wait: timedelta = AT_ONCE
    ) -> Call[gallery_pb2.DeleteCollectionResponse]:
        """Delete a collection; with `force`, even if it has subjects.

        Its data is erased from disk in the background, as in `Subjects.delete`.
        """
        request = gallery_pb2.DeleteCollectionRequest(
            collection=collection, force=force, erasure_wait=erasure_wait
        )
        return Call(
            self._stub.DeleteCollection,
            request,
            gallery_pb2.DeleteCollectionResponse,
            more_s=erasure_wait.total_seconds(),
        )

    @overload
    def export(self: "Collections[Blocking]", collection: str = "") -> Iterator[bytes]: ...

    @overload
    def export(self: "Collections[Asyncio]", collection: str = "") -> AsyncIterator[bytes]: ...

    def export(self, collection: str = "") -> Any:
        """Export a collection's archive as an iterator of chunks. No deadline.

        The archive is complete only if the iteration ends without an error.
        """
        request = gallery_pb2.ExportRequest(collection=collection)
        call = Call(self._stub.Export, request, gallery_pb2.ExportResponse)
        return self._transport.download(call, lambda answer: answer.chunk)

    @overload
    def restore(
        self: "Collections[Blocking]", chunks: Iterable[bytes], *, collection: str = ""
    ) -> gallery_pb2.ImportResponse: ...

    @overload
    def restore(
        self: "Collections[Asyncio]",
        chunks: Iterable[bytes] | AsyncIterable[bytes],
        *,
        collection: str = "",
    ) -> Coroutine[Any, Any, gallery_pb2.ImportResponse]: ...

    def restore(self, chunks: Any, *, collection: str = "") -> Any:
        """Restore an archive, all or nothing. No deadline.

        Args:
            chunks: the archive in chunks of any size. An exception of the iterator ends the call
                and is raised here.
            collection: target collection, new or empty; "": its original name.
        """

        def requests(chunk: bytes) -> Iterator[gallery_pb2.ImportRequest]:
            for begin in range(0, len(chunk), _CHUNK_BYTES):
                part = chunk[begin : begin + _CHUNK_BYTES]
                yield gallery_pb2.ImportRequest(collection=collection, chunk=part)

        return self._transport.upload(
            self._stub.Import, chunks, requests, gallery_pb2.ImportResponse
        )


class Erasures(Group[T]):
    """Erasure of deleted data from disk."""

    @unary
    def get(
        self, erasure: int, *, wait: timedelta = AT_ONCE
    ) -> Call[gallery_pb2.GetErasureResponse]:
        """Get the status of an erasure.

        Args:
            erasure: number from the deletion's response.
            wait: how long to wait for its completion, up to a minute.
        """
        request = gallery_pb2.GetErasureRequest(erasure=erasure, erasure_wait=wait)
        return Call(
            self._stub.GetErasure,
            request,
            gallery_pb2.GetErasureResponse,
            more_s=wait.total_seconds(),
        )


class AuditEvents(Group[T]):
    """The audit log."""

    @unary
    def list(
        self,
        *,
        collection_id: str = "",
        subject_id: str = "",
        since: datetime | None = None,
        page_size: int = 100,
        page_token: str = "",
    ) -> Call[gallery_pb2.ListAuditEventsResponse]:
        """List audit events, oldest first, by page; the response holds the next page's token.

        Args:
            collection_id: filter by collection; "": all.
            subject_id: filter by subject; "": all.
            since: earliest time; None: all retained events.
            page_size: maximum number of events, up to 1000.
            page_token: token from the previous page; "": first page.
        """
        request = gallery_pb2.ListAuditEventsRequest(
            collection_id=collection_id,
            subject_id=subject_id,
            start_time=since,
            page_size=page_size,
            page_token=page_token,
        )
        return Call(self._stub.ListAuditEvents, request, gallery_pb2.ListAuditEventsResponse)
