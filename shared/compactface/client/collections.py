"""Client of GalleryService, first part: collections and the audit log."""

from datetime import datetime, timedelta
from functools import cached_property
from typing import Any, Literal

from google.protobuf.field_mask_pb2 import FieldMask

from compactface.client.client import Client
from compactface.v1 import gallery_pb2, gallery_pb2_grpc

SubjectScore = Literal["best-face", "mean-template"]
"""How similar a subject is to a probe: as the nearest of its faces, or as their mean."""

_SCORES = {
    "best-face": gallery_pb2.SUBJECT_SCORE_BEST_FACE,
    "mean-template": gallery_pb2.SUBJECT_SCORE_MEAN_TEMPLATE,
}

AT_ONCE = timedelta(0)
"""Wait for nothing."""


class CollectionsClient(Client):
    """The part of `RecognizerClient` that sets up collections and reads the audit log.

    Everywhere `collection` "" is "default".
    """

    @cached_property
    def _gallery(self) -> Any:
        return gallery_pb2_grpc.GalleryServiceStub(self._channel)  # type: ignore[no-untyped-call] # generated

    def create_collection(
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
    ) -> gallery_pb2.CreateCollectionResponse:
        """Create an isolated gallery.

        Args:
            collection_id: 1 to 64 of a-z, 0-9, '-' and '_', the first a letter or digit.
            max_fpir: default threshold of `identify`, in (0, 1); 0: the server's, 0.01.
            max_fmr: default threshold of `verify`, in (0, 1); 0: the server's, 0.001.
            sighting_retention: how long streamed maps are kept; 0: not at all; None: 24 h.
            max_subjects: most subjects it may hold; 0: no limit.
            max_faces: most faces it may hold; 0: no limit.
            subject_retention: how long after its creation a subject is deleted; 0: never.
            subject_score: how subjects are scored.
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
        )
        request = gallery_pb2.CreateCollectionRequest(collection=collection)
        return self._call(
            self._gallery.CreateCollection, request, gallery_pb2.CreateCollectionResponse
        )

    def get_collection(self, collection: str = "") -> gallery_pb2.GetCollectionResponse:
        """One collection."""
        request = gallery_pb2.GetCollectionRequest(collection=collection)
        return self._call(self._gallery.GetCollection, request, gallery_pb2.GetCollectionResponse)

    def list_collections(
        self, *, page_size: int = 100, page_token: str = ""
    ) -> gallery_pb2.ListCollectionsResponse:
        """One page of all collections, by id; the answer holds the token of the next."""
        request = gallery_pb2.ListCollectionsRequest(page_size=page_size, page_token=page_token)
        return self._call(
            self._gallery.ListCollections, request, gallery_pb2.ListCollectionsResponse
        )

    def update_collection(
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
    ) -> gallery_pb2.UpdateCollectionResponse:
        """Change what is given of a collection; None leaves it as it is.

        Arguments as in `create_collection`. A quota below what it holds deletes nothing; a
        shorter retention counts for what is there, too.
        """
        changes: dict[str, Any] = {
            "max_fpir": max_fpir,
            "max_fmr": max_fmr,
            "sighting_retention": sighting_retention,
            "max_subjects": max_subjects,
            "max_faces": max_faces,
            "subject_retention": subject_retention,
            "subject_score": _SCORES[subject_score] if subject_score else None,
        }
        given = {name: value for name, value in changes.items() if value is not None}
        request = gallery_pb2.UpdateCollectionRequest(
            collection=gallery_pb2.Collection(collection_id=collection_id, **given),
            update_mask=FieldMask(paths=given),
        )
        return self._call(
            self._gallery.UpdateCollection, request, gallery_pb2.UpdateCollectionResponse
        )

    def delete_collection(
        self, collection: str, *, force: bool = False, erasure_wait: timedelta = AT_ONCE
    ) -> gallery_pb2.DeleteCollectionResponse:
        """Delete a collection; with `force` even if it holds subjects.

        Its bytes leave the disk in the background, as in `GalleryClient.delete_subject`.
        """
        request = gallery_pb2.DeleteCollectionRequest(
            collection=collection, force=force, erasure_wait=erasure_wait
        )
        return self._call(
            self._gallery.DeleteCollection,
            request,
            gallery_pb2.DeleteCollectionResponse,
            more_s=erasure_wait.total_seconds(),
        )

    def erased(self, erasure: int, *, wait: timedelta = AT_ONCE) -> bool:
        """Whether the bytes of a deletion have left the disk.

        Args:
            erasure: the number in the deletion's answer.
            wait: how long to wait for it, up to a minute.
        """
        request = gallery_pb2.GetErasureRequest(erasure=erasure, erasure_wait=wait)
        answer = self._call(
            self._gallery.GetErasure,
            request,
            gallery_pb2.GetErasureResponse,
            more_s=wait.total_seconds(),
        )
        return answer.erased

    def list_audit_events(
        self,
        *,
        collection_id: str = "",
        subject_id: str = "",
        since: datetime | None = None,
        page_size: int = 100,
        page_token: str = "",
    ) -> gallery_pb2.ListAuditEventsResponse:
        """One page of who did what to whom, oldest first; the answer holds the next's token.

        Args:
            collection_id: only of this collection; "": of all.
            subject_id: only of this subject; "": of all.
            since: only at or after this time; None: all that are kept.
            page_size: at most so many, up to 1000.
            page_token: of the page before; "": the first.
        """
        request = gallery_pb2.ListAuditEventsRequest(
            collection_id=collection_id,
            subject_id=subject_id,
            start_time=since,
            page_size=page_size,
            page_token=page_token,
        )
        return self._call(
            self._gallery.ListAuditEvents, request, gallery_pb2.ListAuditEventsResponse
        )
