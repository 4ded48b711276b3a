"""Which kind of cache a gallery has."""

from functools import partial
from pathlib import Path

from recognizer_service.gallery.caches import Cache
from recognizer_service.gallery.caches.local import LocalCache
from recognizer_service.gallery.databases import Database
from recognizer_service.gallery.databases.location import Location
from recognizer_service.gallery.embeddings import read_embeddings
from recognizer_service.gallery.indexes import FaceIndex
from recognizer_service.gallery.indexes.growing import IndexForm, open_index
from shared.errors import FailedPrecondition


def open_cache(
    location: Location, database: Database, space: str, size: int, form: IndexForm, *, threads: int
) -> Cache:
    """In Milvus where the location names one, else in memory; not filled yet.

    Raises:
        FailedPrecondition: the client library of Milvus is missing (EXTRA_MISSING).
        Unavailable: Milvus does not answer (INDEX_UNAVAILABLE).
    """

    def opened(space: str, size: int) -> FaceIndex:
        read = partial(read_embeddings, database, space)
        return open_index(form, read, size=size, threads=threads)

    if isinstance(location, Path) or location.milvus is None:
        return LocalCache(database, space, size, opened)
    try:
        from recognizer_service.gallery.caches.shared import SharedCache  # noqa: PLC0415
    except ModuleNotFoundError as error:
        raise FailedPrecondition(
            "EXTRA_MISSING", "an index in Milvus needs pymilvus; install compactface[cluster]"
        ) from error
    return SharedCache(database, location.milvus, space, size)
