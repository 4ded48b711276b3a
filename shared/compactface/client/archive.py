"""Client of GalleryService, third part: archives, and the change to another model."""

from collections.abc import Iterable, Iterator

import grpc

from compactface.client.errors import RequestFailed
from compactface.client.gallery import GalleryClient
from compactface.client.request_ids import call_metadata
from compactface.v1 import gallery_pb2

_CHUNK_BYTES = 1 << 19  # with the rest of the message below what every service accepts


class ArchiveClient(GalleryClient):
    """The part of `RecognizerClient` that moves galleries, between machines and models."""

    def export(self, collection: str = "") -> Iterator[bytes]:
        """The archive of a collection, piece by piece; without a deadline.

        It is complete only if the iteration ends without an error.
        """
        request = gallery_pb2.ExportRequest(collection=collection)
        for answer in self._stream(self._gallery.Export, request, gallery_pb2.ExportResponse):
            yield answer.chunk

    def restore(
        self, chunks: Iterable[bytes], *, collection: str = ""
    ) -> gallery_pb2.ImportResponse:
        """Restore an archive, all or nothing; without a deadline.

        Args:
            chunks: the archive in pieces of any size.
            collection: where to, new or empty; "": the name it had.
        """
        requests = (
            gallery_pb2.ImportRequest(collection="" if position else collection, chunk=chunk)
            for position, chunk in enumerate(_split(chunks))
        )
        try:
            answer = self._gallery.Import(requests, metadata=call_metadata())
        except grpc.RpcError as error:
            raise RequestFailed.from_call(error, self._peer) from None
        assert isinstance(answer, gallery_pb2.ImportResponse)  # the generated stubs have no types
        return answer

    def reembed(self) -> gallery_pb2.ReembedResponse:
        """Begin to change over to the current model, or say how far that is.

        Call it again until the answer says `done`; meanwhile the model before serves.
        """
        request = gallery_pb2.ReembedRequest()
        return self._call(self._gallery.Reembed, request, gallery_pb2.ReembedResponse)


def _split(chunks: Iterable[bytes]) -> Iterator[bytes]:
    for chunk in chunks:
        yield chunk[:_CHUNK_BYTES]
        for begin in range(_CHUNK_BYTES, len(chunk), _CHUNK_BYTES):
            yield chunk[begin : begin + _CHUNK_BYTES]
