"""Client of GalleryService: collections, subjects and their faces."""

import uuid
from collections.abc import Sequence
from datetime import timedelta
from typing import Literal

from compactface.client.channel import Tls
from compactface.client.client import Client
from compactface.v1 import gallery_pb2, gallery_pb2_grpc
from compactface.v1.compact_map_pb2 import CompactMap

_ON_DUPLICATE = {
    "reject": gallery_pb2.ON_DUPLICATE_REJECT,
    "allow": gallery_pb2.ON_DUPLICATE_ALLOW,
}


class GalleryClient(Client):
    """The part of `RecognizerClient` that changes and reads the gallery.

    Everywhere `collection` "" is "default".
    """

    def __init__(self, target: str, *, tls: Tls | None = None, timeout_s: float = 10.0) -> None:
        super().__init__(target, tls=tls, timeout_s=timeout_s)
        self._gallery = gallery_pb2_grpc.GalleryServiceStub(self._channel)  # type: ignore[no-untyped-call] # generated

    def create_collection(
        self,
        collection_id: str,
        *,
        max_fpir: float = 0.0,
        max_fmr: float = 0.0,
        sighting_retention: timedelta = timedelta(0),
    ) -> gallery_pb2.CreateCollectionResponse:
        """Create an isolated gallery.

        Args:
            collection_id: 1 to 64 of a-z, 0-9, '-' and '_', the first a letter or digit.
            max_fpir: default threshold of `identify`, in (0, 1); 0: the server's, 0.01.
            max_fmr: default threshold of `verify`, in (0, 1); 0: the server's, 0.001.
            sighting_retention: how long streamed maps are kept; 0: not at all.
        """
        collection = gallery_pb2.Collection(
            collection_id=collection_id,
            max_fpir=max_fpir,
            max_fmr=max_fmr,
            sighting_retention=sighting_retention,
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

    def delete_collection(
        self, collection: str, *, force: bool = False
    ) -> gallery_pb2.DeleteCollectionResponse:
        """Delete a collection; with `force` even if it holds subjects."""
        request = gallery_pb2.DeleteCollectionRequest(collection=collection, force=force)
        return self._call(
            self._gallery.DeleteCollection, request, gallery_pb2.DeleteCollectionResponse
        )

    def enroll(
        self,
        maps: Sequence[CompactMap],
        *,
        subject_id: str = "",
        display_name: str = "",
        collection: str = "",
        on_duplicate: Literal["reject", "allow"] = "reject",
        create_only: bool = False,
        request_id: str | None = None,
    ) -> gallery_pb2.EnrollResponse:
        """Add faces to a subject, all or none; on return they survive a crash of the server.

        Args:
            maps: the faces; a subject may have 32.
            subject_id: the subject, new or known; "": the server makes an id.
            display_name: for people; "" keeps the name of a known subject.
            collection: where to.
            on_duplicate: what to do when another subject looks the same.
            create_only: whether to refuse a known subject.
            request_id: the same id and body, within 7 days, answer as the first time; None: one
                is made, since the channel itself repeats calls whose connection broke.
        """
        request = gallery_pb2.EnrollRequest(
            collection=collection,
            subject_id=subject_id,
            display_name=display_name,
            maps=maps,
            on_duplicate=_ON_DUPLICATE[on_duplicate],
            request_id=str(uuid.uuid4()) if request_id is None else request_id,
            create_only=create_only,
        )
        return self._call(self._gallery.Enroll, request, gallery_pb2.EnrollResponse)

    def get_subject(
        self, subject_id: str, *, collection: str = ""
    ) -> gallery_pb2.GetSubjectResponse:
        """One subject with its faces."""
        request = gallery_pb2.GetSubjectRequest(collection=collection, subject_id=subject_id)
        return self._call(self._gallery.GetSubject, request, gallery_pb2.GetSubjectResponse)

    def list_subjects(
        self, *, collection: str = "", page_size: int = 100, page_token: str = ""
    ) -> gallery_pb2.ListSubjectsResponse:
        """One page of the subjects, by id; the answer holds the token of the next."""
        request = gallery_pb2.ListSubjectsRequest(
            collection=collection, page_size=page_size, page_token=page_token
        )
        return self._call(self._gallery.ListSubjects, request, gallery_pb2.ListSubjectsResponse)

    def delete_subject(
        self, subject_id: str, *, collection: str = ""
    ) -> gallery_pb2.DeleteSubjectResponse:
        """Delete a subject with its faces, and the bytes they took on disk."""
        request = gallery_pb2.DeleteSubjectRequest(collection=collection, subject_id=subject_id)
        return self._call(self._gallery.DeleteSubject, request, gallery_pb2.DeleteSubjectResponse)

    def get_face(self, face_id: str, *, collection: str = "") -> gallery_pb2.GetFaceResponse:
        """One enrolled face."""
        request = gallery_pb2.GetFaceRequest(collection=collection, face_id=face_id)
        return self._call(self._gallery.GetFace, request, gallery_pb2.GetFaceResponse)

    def list_faces(self, subject_id: str, *, collection: str = "") -> gallery_pb2.ListFacesResponse:
        """The faces of a subject, oldest first."""
        request = gallery_pb2.ListFacesRequest(collection=collection, subject_id=subject_id)
        return self._call(self._gallery.ListFaces, request, gallery_pb2.ListFacesResponse)

    def delete_face(self, face_id: str, *, collection: str = "") -> gallery_pb2.DeleteFaceResponse:
        """Delete one face, and the bytes it took on disk."""
        request = gallery_pb2.DeleteFaceRequest(collection=collection, face_id=face_id)
        return self._call(self._gallery.DeleteFace, request, gallery_pb2.DeleteFaceResponse)
