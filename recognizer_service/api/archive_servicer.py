# ruff: noqa: N802, ARG002 - names and signatures are the protocol's
"""GalleryService: export, import and re-embedding."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing

from compactface.v1 import gallery_pb2, gallery_pb2_grpc
from recognizer_service.api import archive_calls, conversions
from recognizer_service.api.identity import caller_name
from recognizer_service.core.changeover import Changeover
from recognizer_service.core.recognizer import Recognizer
from shared.serving.interceptor import Context
from shared.serving.stopping import until_stopping


class ArchiveServicer(gallery_pb2_grpc.GalleryServiceServicer):
    """Archives and the changeover to another model.

    Args:
        recognizer: the domain object.
        changeover: switches the recognizer to the current model.
        stopping: ends streams when set.
    """

    def __init__(
        self, recognizer: Recognizer, changeover: Changeover, stopping: asyncio.Event
    ) -> None:
        self._recognizer = recognizer
        self._changeover = changeover
        self._stopping = stopping

    async def Export(
        self, request: gallery_pb2.ExportRequest, context: Context
    ) -> AsyncIterator[gallery_pb2.ExportResponse]:
        """Stream a collection as an archive."""
        archive = archive_calls.export(
            self._recognizer.gallery,
            conversions.collection_id(request.collection),
            caller=caller_name(),
        )
        async with aclosing(archive) as chunks:
            async for chunk in chunks:
                yield gallery_pb2.ExportResponse(chunk=chunk)

    async def Import(
        self, request_iterator: AsyncIterator[gallery_pb2.ImportRequest], context: Context
    ) -> gallery_pb2.ImportResponse:
        """Restore an archive."""
        imported = await archive_calls.restore(
            self._recognizer,
            until_stopping(request_iterator, self._stopping),
            caller=caller_name(),
        )
        return gallery_pb2.ImportResponse(
            subjects=imported.subjects, faces=imported.faces, collection=imported.collection_id
        )

    async def Reembed(
        self, request: gallery_pb2.ReembedRequest, context: Context
    ) -> gallery_pb2.ReembedResponse:
        """Switch to the current model."""
        status = await self._changeover.ask()
        return gallery_pb2.ReembedResponse(
            faces_done=status.progress.faces_done,
            faces_total=status.progress.faces_total,
            done=status.done,
        )
