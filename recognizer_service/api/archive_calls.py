"""Export and Import: archives as streams of chunks.

The gallery's side blocks and may take long, so each call has its own thread. The thread also
keeps the steps in order: undoing an import waits for the step that a cancelled caller left behind.
"""

from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

from compactface.v1 import gallery_pb2
from recognizer_service.core.changeover import CrossCodecEmbedder
from recognizer_service.core.recognizer import Recognizer
from recognizer_service.gallery.archive.importing import Imported, Importer
from recognizer_service.gallery.gallery import Gallery
from shared.threads import InThread, in_thread_of

_CHUNK_BYTES = 1 << 16


async def export(
    gallery: Gallery, collection_id: str, *, caller: str
) -> AsyncGenerator[bytes, None]:
    """Yield the archive of a collection in chunks of about 64 KiB; see `Archives.export`."""
    with _own_thread() as in_thread:
        records = await in_thread(gallery.archives.export, collection_id, caller=caller)
        while chunk := await in_thread(_next_chunk, records):
            yield chunk


async def restore(
    recognizer: Recognizer, requests: AsyncIterator[gallery_pb2.ImportRequest], *, caller: str
) -> Imported:
    """Restore an archive; see `Archives.importing`, and `Importer` for the errors."""
    embedder = CrossCodecEmbedder(recognizer.decoder)
    importer: Importer | None = None
    with _own_thread() as in_thread:
        try:
            async for request in requests:
                if importer is None:
                    importer = recognizer.gallery.archives.importing(
                        collection_id=request.collection, embedder=embedder, caller=caller
                    )
                await in_thread(importer.feed, request.chunk)
            importer = importer or recognizer.gallery.archives.importing(caller=caller)
            return await in_thread(importer.finish)
        finally:
            if importer is not None:
                await in_thread(importer.close)


@contextmanager
def _own_thread() -> Iterator[InThread]:
    executor = ThreadPoolExecutor(1, thread_name_prefix="archive")

    try:
        yield in_thread_of(executor)
    finally:
        executor.shutdown(wait=False)


def _next_chunk(records: Iterator[bytes]) -> bytes:
    chunk = bytearray()
    for record in records:
        chunk += record
        if len(chunk) >= _CHUNK_BYTES:
            break
    return bytes(chunk)
