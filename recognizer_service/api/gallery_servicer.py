# ruff: noqa: N802, ARG002 - names and signatures are the protocol's
"""GalleryService: receive, convert, call, convert, send."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing, contextmanager

from compactface.v1 import gallery_pb2
from recognizer_service.api import conversions, gallery_conversions
from recognizer_service.api.archive_servicer import ArchiveServicer
from recognizer_service.api.bulk_calls import enroll_all
from recognizer_service.api.erasures import erased
from recognizer_service.api.identity import caller_name
from recognizer_service.core.changeover import Changeover
from recognizer_service.core.recognizer import Recognizer
from recognizer_service.core.types import FaceMap
from recognizer_service.gallery.audit import Operation
from recognizer_service.gallery.types import Collection
from shared.errors import InvalidInput
from shared.faces.display import encode_png
from shared.serving.interceptor import Context
from shared.serving.stopping import until_stopping
from shared.serving.timestamps import moment

_DEFAULT_PAGE = 100


class GalleryServicer(ArchiveServicer):
    """Collections, subjects and faces; the base class serves archives and models.

    Args:
        recognizer: the domain object.
        changeover: switches the recognizer to the current model.
        stopping: ends streams when set.
    """

    def __init__(
        self, recognizer: Recognizer, changeover: Changeover, stopping: asyncio.Event
    ) -> None:
        super().__init__(recognizer, changeover, stopping)
        self._gallery = recognizer.gallery

    def _message(self, collection: Collection) -> gallery_pb2.Collection:
        check = self._recognizer.checks.of(collection)
        return gallery_conversions.collection_message(collection, check)

    async def CreateCollection(
        self, request: gallery_pb2.CreateCollectionRequest, context: Context
    ) -> gallery_pb2.CreateCollectionResponse:
        """Create a collection."""
        with _errors_in_collection():
            created = await self._recognizer.in_writer(
                self._gallery.collections.create,
                request.collection.collection_id,
                caller=caller_name(),
                **gallery_conversions.new_settings(request.collection),
            )
        return gallery_pb2.CreateCollectionResponse(collection=self._message(created))

    async def GetCollection(
        self, request: gallery_pb2.GetCollectionRequest, context: Context
    ) -> gallery_pb2.GetCollectionResponse:
        """Return one collection."""
        found = await self._recognizer.in_thread(
            self._gallery.collections.get, conversions.collection_id(request.collection)
        )
        return gallery_pb2.GetCollectionResponse(collection=self._message(found))

    async def ListCollections(
        self, request: gallery_pb2.ListCollectionsRequest, context: Context
    ) -> gallery_pb2.ListCollectionsResponse:
        """Return one page of collections."""
        page = await self._recognizer.in_thread(
            self._gallery.collections.list,
            page_size=request.page_size or _DEFAULT_PAGE,
            page_token=request.page_token,
        )
        return gallery_pb2.ListCollectionsResponse(
            collections=map(self._message, page.items),
            next_page_token=page.next_page_token,
        )

    async def UpdateCollection(
        self, request: gallery_pb2.UpdateCollectionRequest, context: Context
    ) -> gallery_pb2.UpdateCollectionResponse:
        """Change a collection's defaults, quotas and retention."""
        with _errors_in_collection():
            changed = await self._recognizer.in_writer(
                self._gallery.collections.update,
                request.collection.collection_id,
                caller=caller_name(),
                **gallery_conversions.changed_settings(request),
            )
        return gallery_pb2.UpdateCollectionResponse(collection=self._message(changed))

    async def DeleteCollection(
        self, request: gallery_pb2.DeleteCollectionRequest, context: Context
    ) -> gallery_pb2.DeleteCollectionResponse:
        """Delete a collection and its contents."""
        wait_s = gallery_conversions.erasure_wait_s(request)
        deletion = await self._recognizer.in_writer(
            self._gallery.collections.delete,
            request.collection,
            force=request.force,
            caller=caller_name(),
        )
        return gallery_pb2.DeleteCollectionResponse(
            faces_deleted=deletion.faces_deleted,
            erased=await self._erased(deletion.erasure, wait_s),
            erasure=deletion.erasure,
        )

    async def Enroll(
        self, request: gallery_pb2.EnrollRequest, context: Context
    ) -> gallery_pb2.EnrollResponse:
        """Add faces to a subject."""
        answer = await self._recognizer.enroller.enroll(
            conversions.collection_id(request.collection),
            gallery_conversions.enrol_request(request, caller=caller_name()),
        )
        return gallery_conversions.enroll_response(answer)

    async def BulkEnroll(
        self, request_iterator: AsyncIterator[gallery_pb2.BulkEnrollRequest], context: Context
    ) -> AsyncIterator[gallery_pb2.BulkEnrollResponse]:
        """Enroll many subjects, with one result each."""
        requests = until_stopping(request_iterator, self._stopping)
        answers = enroll_all(self._recognizer.enroller, requests, caller=caller_name())
        async with aclosing(answers):
            async for answer in answers:
                yield answer

    async def GetSubject(
        self, request: gallery_pb2.GetSubjectRequest, context: Context
    ) -> gallery_pb2.GetSubjectResponse:
        """Return one subject with its faces."""
        subject, faces = await self._recognizer.in_thread(
            self._gallery.subjects.get,
            conversions.collection_id(request.collection),
            request.subject_id,
        )
        return gallery_pb2.GetSubjectResponse(
            subject=gallery_conversions.subject_message(subject),
            faces=map(gallery_conversions.face_message, faces),
        )

    async def ListSubjects(
        self, request: gallery_pb2.ListSubjectsRequest, context: Context
    ) -> gallery_pb2.ListSubjectsResponse:
        """Return one page of subjects."""
        page = await self._recognizer.in_thread(
            self._gallery.subjects.list,
            conversions.collection_id(request.collection),
            only=gallery_conversions.subject_filter(request),
            page_size=request.page_size or _DEFAULT_PAGE,
            page_token=request.page_token,
        )
        return gallery_pb2.ListSubjectsResponse(
            subjects=map(gallery_conversions.subject_message, page.items),
            next_page_token=page.next_page_token,
        )

    async def UpdateSubject(
        self, request: gallery_pb2.UpdateSubjectRequest, context: Context
    ) -> gallery_pb2.UpdateSubjectResponse:
        """Change a subject's data, except its faces."""
        changed = await self._recognizer.in_writer(
            self._gallery.subjects.update,
            conversions.collection_id(request.collection),
            request.subject_id,
            revision=request.revision or None,
            caller=caller_name(),
            **gallery_conversions.subject_changes(request),
        )
        return gallery_pb2.UpdateSubjectResponse(
            subject=gallery_conversions.subject_message(changed)
        )

    async def DeleteSubject(
        self, request: gallery_pb2.DeleteSubjectRequest, context: Context
    ) -> gallery_pb2.DeleteSubjectResponse:
        """Delete a subject, then erase its bytes."""
        wait_s = gallery_conversions.erasure_wait_s(request)
        deletion = await self._recognizer.in_writer(
            self._gallery.subjects.delete,
            conversions.collection_id(request.collection),
            request.subject_id,
            caller=caller_name(),
        )
        return gallery_pb2.DeleteSubjectResponse(
            faces_deleted=deletion.faces_deleted,
            erased=await self._erased(deletion.erasure, wait_s),
            erasure=deletion.erasure,
        )

    async def MergeSubjects(
        self, request: gallery_pb2.MergeSubjectsRequest, context: Context
    ) -> gallery_pb2.MergeSubjectsResponse:
        """Merge a subject into another, then erase the bytes of the merged one."""
        wait_s = gallery_conversions.erasure_wait_s(request)
        merged = await self._recognizer.in_writer(
            self._gallery.merge,
            conversions.collection_id(request.collection),
            request.subject_id,
            request.merged_subject_id,
            caller=caller_name(),
            request_id=request.request_id,
        )
        return gallery_pb2.MergeSubjectsResponse(
            subject=gallery_conversions.subject_message(merged.subject),
            faces_moved=merged.faces_moved,
            repeated_request=merged.repeated,
            erased=not merged.repeated and await self._erased(merged.erasure, wait_s),
            erasure=merged.erasure,
        )

    async def GetFace(
        self, request: gallery_pb2.GetFaceRequest, context: Context
    ) -> gallery_pb2.GetFaceResponse:
        """Return one face."""
        face = await self._recognizer.in_thread(
            self._gallery.subjects.get_face,
            conversions.collection_id(request.collection),
            request.face_id,
        )
        answer = gallery_pb2.GetFaceResponse(face=gallery_conversions.face_message(face))
        if request.include_picture:
            kept = FaceMap(face.codec_id, face.png, face.quality, face.captured_at, field="face_id")
            await self._recognizer.note(
                Operation.RECONSTRUCT,
                conversions.collection_id(request.collection),
                subject_id=face.subject_id,
                caller=caller_name(),
            )
            answer.picture_png = encode_png(await self._recognizer.picture_of(kept))
        return answer

    async def ListFaces(
        self, request: gallery_pb2.ListFacesRequest, context: Context
    ) -> gallery_pb2.ListFacesResponse:
        """Return the faces of a subject."""
        faces = await self._recognizer.in_thread(
            self._gallery.subjects.list_faces,
            conversions.collection_id(request.collection),
            request.subject_id,
        )
        return gallery_pb2.ListFacesResponse(faces=map(gallery_conversions.face_message, faces))

    async def DeleteFace(
        self, request: gallery_pb2.DeleteFaceRequest, context: Context
    ) -> gallery_pb2.DeleteFaceResponse:
        """Delete one face, then erase its bytes."""
        wait_s = gallery_conversions.erasure_wait_s(request)
        deletion = await self._recognizer.in_writer(
            self._gallery.subjects.delete_face,
            conversions.collection_id(request.collection),
            request.face_id,
            caller=caller_name(),
        )
        return gallery_pb2.DeleteFaceResponse(
            erased=await self._erased(deletion.erasure, wait_s), erasure=deletion.erasure
        )

    async def GetErasure(
        self, request: gallery_pb2.GetErasureRequest, context: Context
    ) -> gallery_pb2.GetErasureResponse:
        """Return whether the bytes of a deletion are erased from disk."""
        wait_s = gallery_conversions.erasure_wait_s(request)
        erased = await self._recognizer.in_thread(self._gallery.database.erased, request.erasure)
        return gallery_pb2.GetErasureResponse(
            erased=erased or await self._erased(request.erasure, wait_s)
        )

    async def _erased(self, erasure: int, wait_s: float) -> bool:
        return await erased(self._recognizer, erasure, wait_s, self._stopping)

    async def ReviewSubject(
        self, request: gallery_pb2.ReviewSubjectRequest, context: Context
    ) -> gallery_pb2.ReviewSubjectResponse:
        """Return the doubtful faces of a subject."""
        doubts = await self._recognizer.review(
            conversions.collection_id(request.collection), request.subject_id
        )
        return gallery_pb2.ReviewSubjectResponse(
            doubts=map(gallery_conversions.doubt_message, doubts)
        )

    async def ListAuditEvents(
        self, request: gallery_pb2.ListAuditEventsRequest, context: Context
    ) -> gallery_pb2.ListAuditEventsResponse:
        """Return one page of audit events."""
        since = None
        if request.HasField("start_time"):
            since = moment(request.start_time, field="start_time")
        page = await self._recognizer.in_thread(
            self._gallery.audit.list,
            collection_id=request.collection_id,
            subject_id=request.subject_id,
            since=since,
            page_size=request.page_size or _DEFAULT_PAGE,
            page_token=request.page_token,
        )
        return gallery_pb2.ListAuditEventsResponse(
            events=map(gallery_conversions.audit_message, page.items),
            next_page_token=page.next_page_token,
        )


@contextmanager
def _errors_in_collection() -> Iterator[None]:
    """Rename the field in errors to the message's: seconds in the domain, Duration in protobuf."""
    try:
        yield
    except InvalidInput as error:
        if error.field == "update_mask":
            raise
        raise error.in_field(f"collection.{error.field.removesuffix('_s')}") from None
