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
"""What to do when another subject looks the same."""

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
    """Whom to enroll, for `Subjects.bulk_enroll`; arguments as in `Subjects.enroll`."""
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
    """Who is known; everywhere `collection` "" is "default"."""

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
        """Add faces to a subject, all or none; on return they survive a crash of the server.

        Args:
            maps: the faces; a subject may have 32.
            subject_id: the subject, new or known; "": the server makes an id.
            display_name: for people; "" keeps the name of a known subject.
            collection: where to.
            on_duplicate: what to do when another subject looks the same.
            create_only: whether to refuse a known subject.
            request_id: the same id and body, within 7 days, answer as the first time; "": one
                is made, since the channel repeats an enrollment whose connection broke.
            metadata: facts to keep with the subject; none keeps what a known subject has.
            labels: words to list the subject by; none keeps those of a known subject.
            expire_time: when to delete the subject; None keeps what a known subject has.
            allow_low_quality: enroll faces of too low a quality, too; never what is no face.
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
        """Enroll many; one answer for each, in order, while they are still coming.

        One that fails ends nothing: its answer has `error` set, which
        `RequestFailed.from_status` decodes. After a broken stream send again what was not
        answered, or all of it: what has a request id is enrolled once. There is no deadline.

        Args:
            enrollments: made by `enrollment`; read in another thread or task, a little ahead of
                the answers. What they raise ends the stream, and is raised here.
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
        """One subject with its faces."""
        request = gallery_pb2.GetSubjectRequest(collection=collection, subject_id=subject_id)
        return Call(self._stub.GetSubject, request, gallery_pb2.GetSubjectResponse)

    @unary
    def review(
        self, subject_id: str, *, collection: str = ""
    ) -> Call[gallery_pb2.ReviewSubjectResponse]:
        """The subject's faces that look like another subject, or unlike its others."""
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
        """One page of the subjects, by id; the answer holds the token of the next.

        Args:
            collection: where.
            id_prefix: only ids that begin so.
            name_contains: only display names that hold this, ASCII letters in either case.
            labels: only subjects that have all of these.
            page_size: at most so many, up to 1000.
            page_token: of the page before; "": the first.
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
        """Change what is given of a subject; None leaves it as it is.

        Args:
            subject_id: whom.
            collection: where.
            display_name: the new one, "" for none.
            metadata: in place of all that was there.
            labels: in place of all that were there.
            expire_time: when to delete the subject; "never": as its collection has it.
            revision: refuse if the subject is of another one (REVISION_CHANGED); 0: change it
                whatever it is.

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

        The bytes leave the disk in the background. The answer's `erased` says whether they have,
        and `Erasures.get` does so later, by the answer's `erasure`.

        Args:
            subject_id: whom.
            collection: where.
            erasure_wait: how long to wait with the answer for the bytes to go, up to a minute.
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


class Faces(Group[T]):
    """The enrolled faces of subjects; everywhere `collection` "" is "default"."""

    @unary
    def get(
        self, face_id: str, *, collection: str = "", include_picture: bool = False
    ) -> Call[gallery_pb2.GetFaceResponse]:
        """One enrolled face, with the picture that its map holds if that is asked for."""
        request = gallery_pb2.GetFaceRequest(
            collection=collection, face_id=face_id, include_picture=include_picture
        )
        return Call(self._stub.GetFace, request, gallery_pb2.GetFaceResponse)

    @unary
    def list(self, subject_id: str, *, collection: str = "") -> Call[gallery_pb2.ListFacesResponse]:
        """The faces of a subject, oldest first."""
        request = gallery_pb2.ListFacesRequest(collection=collection, subject_id=subject_id)
        return Call(self._stub.ListFaces, request, gallery_pb2.ListFacesResponse)

    @unary
    def delete(
        self, face_id: str, *, collection: str = "", erasure_wait: timedelta = AT_ONCE
    ) -> Call[gallery_pb2.DeleteFaceResponse]:
        """Delete one face; arguments and bytes as in `Subjects.delete`."""
        request = gallery_pb2.DeleteFaceRequest(
            collection=collection, face_id=face_id, erasure_wait=erasure_wait
        )
        return Call(
            self._stub.DeleteFace,
            request,
            gallery_pb2.DeleteFaceResponse,
            more_s=erasure_wait.total_seconds(),
        )
