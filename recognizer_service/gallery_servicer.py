# ruff: noqa: N802, ARG002 - names and signatures are the protocol's
"""GalleryService: receive, convert, call, convert, send."""

from compactface.v1 import gallery_pb2, gallery_pb2_grpc
from recognizer_service import conversions
from recognizer_service.gallery.collection import DEFAULT_MAX_FMR, DEFAULT_MAX_FPIR
from recognizer_service.peer import certified_name
from recognizer_service.recognizer import Recognizer
from shared.errors import InvalidInput
from shared.service.interceptor import Context

_DEFAULT_PAGE = 100


class GalleryServicer(gallery_pb2_grpc.GalleryServiceServicer):
    """Collections, subjects and faces. What is not here yet answers UNIMPLEMENTED."""

    def __init__(self, recognizer: Recognizer) -> None:
        self._recognizer = recognizer
        self._gallery = recognizer.gallery

    async def CreateCollection(
        self, request: gallery_pb2.CreateCollectionRequest, context: Context
    ) -> gallery_pb2.CreateCollectionResponse:
        """Create an isolated gallery."""
        asked = request.collection
        try:
            created = await self._recognizer.in_thread(
                self._gallery.collections.create,
                asked.collection_id,
                max_fpir=asked.max_fpir or DEFAULT_MAX_FPIR,
                max_fmr=asked.max_fmr or DEFAULT_MAX_FMR,
                sighting_retention_s=conversions.whole_seconds(asked.sighting_retention),
            )
        except InvalidInput as error:  # seconds there, a Duration here
            raise error.in_field(f"collection.{error.field.removesuffix('_s')}") from None
        return gallery_pb2.CreateCollectionResponse(
            collection=conversions.collection_message(created)
        )

    async def GetCollection(
        self, request: gallery_pb2.GetCollectionRequest, context: Context
    ) -> gallery_pb2.GetCollectionResponse:
        """One collection."""
        found = await self._recognizer.in_thread(
            self._gallery.collections.get, conversions.collection_id(request.collection)
        )
        return gallery_pb2.GetCollectionResponse(collection=conversions.collection_message(found))

    async def ListCollections(
        self, request: gallery_pb2.ListCollectionsRequest, context: Context
    ) -> gallery_pb2.ListCollectionsResponse:
        """One page of collections."""
        page = await self._recognizer.in_thread(
            self._gallery.collections.list,
            page_size=request.page_size or _DEFAULT_PAGE,
            page_token=request.page_token,
        )
        return gallery_pb2.ListCollectionsResponse(
            collections=map(conversions.collection_message, page.items),
            next_page_token=page.next_page_token,
        )

    async def DeleteCollection(
        self, request: gallery_pb2.DeleteCollectionRequest, context: Context
    ) -> gallery_pb2.DeleteCollectionResponse:
        """Delete a collection with all it holds."""
        deletion = await self._recognizer.in_thread(
            self._gallery.collections.delete, request.collection, force=request.force
        )
        return gallery_pb2.DeleteCollectionResponse(
            faces_deleted=deletion.faces_deleted, erased=deletion.erased
        )

    async def Enroll(
        self, request: gallery_pb2.EnrollRequest, context: Context
    ) -> gallery_pb2.EnrollResponse:
        """Add faces to a subject."""
        enrolled = await self._recognizer.enroll(
            conversions.collection_id(request.collection),
            conversions.enrol_request(request, caller=certified_name(context) or ""),
        )
        return gallery_pb2.EnrollResponse(
            subject=conversions.subject_message(enrolled.subject),
            faces=map(conversions.face_message, enrolled.faces),
            repeated_request=enrolled.repeated,
        )

    async def GetSubject(
        self, request: gallery_pb2.GetSubjectRequest, context: Context
    ) -> gallery_pb2.GetSubjectResponse:
        """One subject with its faces."""
        subject, faces = await self._recognizer.in_thread(
            self._gallery.subjects.get,
            conversions.collection_id(request.collection),
            request.subject_id,
        )
        return gallery_pb2.GetSubjectResponse(
            subject=conversions.subject_message(subject),
            faces=map(conversions.face_message, faces),
        )

    async def ListSubjects(
        self, request: gallery_pb2.ListSubjectsRequest, context: Context
    ) -> gallery_pb2.ListSubjectsResponse:
        """One page of subjects."""
        page = await self._recognizer.in_thread(
            self._gallery.subjects.list,
            conversions.collection_id(request.collection),
            page_size=request.page_size or _DEFAULT_PAGE,
            page_token=request.page_token,
        )
        return gallery_pb2.ListSubjectsResponse(
            subjects=map(conversions.subject_message, page.items),
            next_page_token=page.next_page_token,
        )

    async def DeleteSubject(
        self, request: gallery_pb2.DeleteSubjectRequest, context: Context
    ) -> gallery_pb2.DeleteSubjectResponse:
        """Delete a subject and the bytes it took."""
        deletion = await self._recognizer.in_thread(
            self._gallery.subjects.delete,
            conversions.collection_id(request.collection),
            request.subject_id,
        )
        return gallery_pb2.DeleteSubjectResponse(
            faces_deleted=deletion.faces_deleted, erased=deletion.erased
        )

    async def GetFace(
        self, request: gallery_pb2.GetFaceRequest, context: Context
    ) -> gallery_pb2.GetFaceResponse:
        """One face."""
        face = await self._recognizer.in_thread(
            self._gallery.subjects.get_face,
            conversions.collection_id(request.collection),
            request.face_id,
        )
        return gallery_pb2.GetFaceResponse(face=conversions.face_message(face))

    async def ListFaces(
        self, request: gallery_pb2.ListFacesRequest, context: Context
    ) -> gallery_pb2.ListFacesResponse:
        """The faces of a subject."""
        faces = await self._recognizer.in_thread(
            self._gallery.subjects.list_faces,
            conversions.collection_id(request.collection),
            request.subject_id,
        )
        return gallery_pb2.ListFacesResponse(faces=map(conversions.face_message, faces))

    async def DeleteFace(
        self, request: gallery_pb2.DeleteFaceRequest, context: Context
    ) -> gallery_pb2.DeleteFaceResponse:
        """Delete one face and the bytes it took."""
        deletion = await self._recognizer.in_thread(
            self._gallery.subjects.delete_face,
            conversions.collection_id(request.collection),
            request.face_id,
        )
        return gallery_pb2.DeleteFaceResponse(erased=deletion.erased)
