"""GalleryService: subjects and their faces."""

import uuid
from collections.abc import AsyncIterable, AsyncIterator, Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Literal, overload

from google.protobuf.field_mask_pb2 import FieldMask

from compactface.client.asynchronous import Asyncio
from compactface.client.blocking import Blocking
from compactface.client.call import Call, CallOfEach
from compactface.client.collections import AT_ONCE
from compactface.client.methods import Group, T, unary
from compactface.v1 import gallery_pb2
from compactface.v1.compact_map_pb2 import CompactMap

OnDuplicate = Literal["reject", "allow"]
"""What to do if another subject looks the same."""

ON_DUPLICATE = {
    "reject": gallery_pb2.ON_DUPLICATE_REJECT,
    "allow": gallery_pb2.ON_DUPLICATE_ALLOW,
}


def enrollment(
    maps: Sequence[CompactMap],
    *,
    subject_id: str = "",
    display_name: str = "",
    collection: str = "",
    on_duplicate: OnDuplicate = "reject",
    create_only: bool = False,
    request_id: str = "",
    metadata: Mapping[str, str] | None = None,
    labels: Sequence[str] = (),
    expire_time: datetime | None = None,
    allow_low_quality: bool = False,
) -> gallery_pb2.EnrollRequest:
    """Build an enrollment for `Subjects.bulk_enroll`; arguments as for `Subjects.enroll`."""
    return gallery_pb2.EnrollRequest(
        collection=collection,
        subject_id=subject_id,
        display_name=display_name,
        maps=maps,
        on_duplicate=ON_DUPLICATE[on_duplicate],
        allow_low_quality=allow_low_quality,
        request_id=request_id or str(uuid.uuid4()),
        create_only=create_only,
        metadata=metadata,
        labels=labels,
        expire_time=expire_time,
    )


def _bulk_request(enroll: gallery_pb2.EnrollRequest) -> gallery_pb2.BulkEnrollRequest:
    return gallery_pb2.BulkEnrollRequest(enroll=enroll)


class Subjects(Group[T]):
    """Enrolled subjects. In all methods, `collection` "" means "default"."""

    @unary
    def enroll(
        self,
        maps: Sequence[CompactMap],
        *,
        subject_id: str = "",
        display_name: str = "",
        collection: str = "",
        on_duplicate: OnDuplicate = "reject",
        create_only: bool = False,
        request_id: str = "",
        metadata: Mapping[str, str] | None = None,
        labels: Sequence[str] = (),
        expire_time: datetime | None = None,
        allow_low_quality: bool = False,
    ) -> Call[gallery_pb2.EnrollResponse]:
        """Add faces to a subject, all or none. On return they are durable.

        Args:
            maps: the faces; a subject may have 32.
            subject_id: id of a new or existing subject; "": the server generates one.
            display_name: name for display; "" keeps that of an existing subject.
            collection: the collection.
            on_duplicate: what to do if another subject looks the same.
            create_only: whether to reject an existing subject.
            request_id: repeated within 7 days with the same body, it returns the first response;
                "": one is generated, since the channel retries an enrollment if the connection
                breaks.
            metadata: data to store with the subject; empty keeps that of an existing subject.
            labels: labels for filtering; empty keeps those of an existing subject.
            expire_time: when to delete the subject; None keeps that of an existing subject.
            allow_low_quality: accept faces of low quality; images that show no face are still
                rejected.
        """
        request = enrollment(
            maps,
            subject_id=subject_id,
            display_name=display_name,
            collection=collection,
            on_duplicate=on_duplicate,
            create_only=create_only,
            request_id=request_id,
            metadata=metadata,
            labels=labels,
            expire_time=expire_time,
            allow_low_quality=allow_low_quality,
        )
        return Call(self._stub.Enroll, request, gallery_pb2.EnrollResponse)

    @overload
    def bulk_enroll(
        self: "Subjects[Blocking]", enrollments: Iterable[gallery_pb2.EnrollRequest]
    ) -> Iterator[gallery_pb2.BulkEnrollResponse]: ...

    @overload
    def bulk_enroll(
        self: "Subjects[Asyncio]",
        enrollments: Iterable[gallery_pb2.EnrollRequest] | AsyncIterable[gallery_pb2.EnrollRequest],
    ) -> AsyncIterator[gallery_pb2.BulkEnrollResponse]: ...

    def bulk_enroll(self, enrollments: Any) -> Any:
        """Enroll many subjects; yields one response per enrollment, in order, while sending.

        A failed enrollment does not end the stream: its response has `error` set, which
        `RequestFailed.from_status` decodes. If the stream breaks, resend the unanswered
        enrollments, or all: an enrollment with a request id is executed once. No deadline.

        Args:
            enrollments: from `enrollment`; read in another thread or task, slightly ahead of the
                responses. An exception of the iterator ends the stream and is raised here.
        """
        call = CallOfEach(
            self._stub.BulkEnroll,
            _bulk_request,
            gallery_pb2.BulkEnrollResponse,
            stand_in=lambda _: gallery_pb2.BulkEnrollRequest(),
        )
        return self._transport.each(call, enrollments)

    @unary
    def get(self, subject_id: str, *, collection: str = "") -> Call[gallery_pb2.GetSubjectResponse]:
        """Get one subject with its faces."""
        request = gallery_pb2.GetSubjectRequest(collection=collection, subject_id=subject_id)
        return Call(self._stub.GetSubject, request, gallery_pb2.GetSubjectResponse)

    @unary
    def review(
        self, subject_id: str, *, collection: str = ""
    ) -> Call[gallery_pb2.ReviewSubjectResponse]:
        """Find faces that resemble another subject, or differ from the subject's other faces."""
        request = gallery_pb2.ReviewSubjectRequest(collection=collection, subject_id=subject_id)
        return Call(self._stub.ReviewSubject, request, gallery_pb2.ReviewSubjectResponse)

    @unary
    def list(
        self,
        *,
        collection: str = "",
        id_prefix: str = "",
        name_contains: str = "",
        labels: Sequence[str] = (),
        page_size: int = 100,
        page_token: str = "",
    ) -> Call[gallery_pb2.ListSubjectsResponse]:
        """List subjects by page, in order of id; the response holds the next page's token.

        Args:
            collection: the collection.
            id_prefix: only ids with this prefix.
            name_contains: only display names with this substring; ASCII letters ignore case.
            labels: only subjects with all of these labels.
            page_size: maximum number of subjects, up to 1000.
            page_token: token from the previous page; "": first page.
        """
        request = gallery_pb2.ListSubjectsRequest(
            collection=collection,
            subject_id_prefix=id_prefix,
            display_name_contains=name_contains,
            labels=labels,
            page_size=page_size,
            page_token=page_token,
        )
        return Call(self._stub.ListSubjects, request, gallery_pb2.ListSubjectsResponse)

    @unary
    def update(
        self,
        subject_id: str,
        *,
        collection: str = "",
        display_name: str | None = None,
        metadata: Mapping[str, str] | None = None,
        labels: Sequence[str] | None = None,
        expire_time: datetime | Literal["never"] | None = None,
        revision: int = 0,
    ) -> Call[gallery_pb2.UpdateSubjectResponse]:
        """Update a subject; None leaves a field unchanged.

        Args:
            subject_id: id of the subject.
            collection: the collection.
            display_name: new name, "" for none.
            metadata: replaces all metadata.
            labels: replaces all labels.
            expire_time: when to delete the subject; "never": only the collection's retention
                applies.
            revision: expected revision, otherwise REVISION_CHANGED; 0: any.

        Raises:
            ValueError: there is nothing to change.
        """
        changes: dict[str, Any] = {
            "display_name": display_name,
            "metadata": metadata,
            "labels": labels,
            "expire_time": expire_time,
        }
        given = {name: value for name, value in changes.items() if value is not None}
        if not given:
            raise ValueError(f"nothing to change; give one of {', '.join(changes)}")
        mask = FieldMask(paths=given)
        if given.get("expire_time") == "never":
            del given["expire_time"]
        request = gallery_pb2.UpdateSubjectRequest(
            collection=collection,
            subject_id=subject_id,
            update_mask=mask,
            revision=revision,
            **given,
        )
        return Call(self._stub.UpdateSubject, request, gallery_pb2.UpdateSubjectResponse)

    @unary
    def delete(
        self, subject_id: str, *, collection: str = "", erasure_wait: timedelta = AT_ONCE
    ) -> Call[gallery_pb2.DeleteSubjectResponse]:
        """Delete a subject with its faces.

        The data is erased from disk in the background. The response's `erased` tells whether it is
        complete, and `Erasures.get` does so later, by the response's `erasure`.

        Args:
            subject_id: id of the subject.
            collection: the collection.
            erasure_wait: how long to wait for erasure, up to a minute.
        """
        request = gallery_pb2.DeleteSubjectRequest(
            collection=collection, subject_id=subject_id, erasure_wait=erasure_wait
        )
        return Call(
            self._stub.DeleteSubject,
            request,
            gallery_pb2.DeleteSubjectResponse,
            more_s=erasure_wait.total_seconds(),
        )

    @unary
    def merge(
        self,
        subject_id: str,
        merged_subject_id: str,
        *,
        collection: str = "",
        request_id: str = "",
        erasure_wait: timedelta = AT_ONCE,
    ) -> Call[gallery_pb2.MergeSubjectsResponse]:
        """Merge a subject into another and delete it; both are one person.

        Args:
            subject_id: id of the subject that remains. It gets faces, labels, sightings and alert
                rules of the other.
            merged_subject_id: id of the subject that is merged into it.
            collection: the collection.
            request_id: as in `enroll`.
            erasure_wait: as in `delete`, for the id and name of the merged subject.
        """
        request = gallery_pb2.MergeSubjectsRequest(
            collection=collection,
            subject_id=subject_id,
            merged_subject_id=merged_subject_id,
            request_id=request_id or str(uuid.uuid4()),
            erasure_wait=erasure_wait,
        )
        return Call(
            self._stub.MergeSubjects,
            request,
            gallery_pb2.MergeSubjectsResponse,
            more_s=erasure_wait.total_seconds(),
        )


class Faces(Group[T]):
    """Enrolled faces of subjects. In all methods, `collection` "" means "default"."""

    @unary
    def get(
        self, face_id: str, *, collection: str = "", include_picture: bool = False
    ) -> Call[gallery_pb2.GetFaceResponse]:
        """Get one enrolled face, optionally with the image reconstructed from its map."""
        request = gallery_pb2.GetFaceRequest(
            collection=collection, face_id=face_id, include_picture=include_picture
        )
        return Call(self._stub.GetFace, request, gallery_pb2.GetFaceResponse)

    @unary
    def list(self, subject_id: str, *, collection: str = "") -> Call[gallery_pb2.ListFacesResponse]:
        """List the faces of a subject, oldest first."""
        request = gallery_pb2.ListFacesRequest(collection=collection, subject_id=subject_id)
        return Call(self._stub.ListFaces, request, gallery_pb2.ListFacesResponse)

    @unary
    def delete(
        self, face_id: str, *, collection: str = "", erasure_wait: timedelta = AT_ONCE
    ) -> Call[gallery_pb2.DeleteFaceResponse]:
        """Delete one face; arguments and erasure as in `Subjects.delete`."""
        request = gallery_pb2.DeleteFaceRequest(
            collection=collection, face_id=face_id, erasure_wait=erasure_wait
        )
        return Call(
            self._stub.DeleteFace,
            request,
            gallery_pb2.DeleteFaceResponse,
            more_s=erasure_wait.total_seconds(),
        )
