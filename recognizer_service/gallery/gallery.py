"""The gallery: who is known, kept in SQLite and searched with FAISS.

SQLite is the truth and FAISS a cache: every change is committed before the index follows, every
hit is confirmed in the database before it is returned, and opening rebuilds the index. So a
process that dies at any moment loses nothing it has acknowledged.
"""

from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Self

from recognizer_service.gallery import consistency, enrolment, request_log, search, sighting
from recognizer_service.gallery.collection import DEFAULT_COLLECTION, Collections
from recognizer_service.gallery.database import Database, mark_erasure
from recognizer_service.gallery.rebuild import rebuild
from recognizer_service.gallery.records import (
    Consistency,
    Embedding,
    Enrolled,
    Enrolment,
    Purge,
    SubjectHit,
)
from recognizer_service.gallery.reembed import Spaces
from recognizer_service.gallery.store import Cache, Store
from recognizer_service.gallery.subject import Subjects
from shared.errors import AlreadyExists


def _utc_now() -> datetime:
    return datetime.now(UTC)


class Gallery:
    """The collections of one database file, open in this process alone; safe to use from threads.

    Every method that names a collection raises NotFound if it does not exist.

    Attributes:
        collections: create, get, list, delete collections.
        subjects: get, list, delete subjects and their faces.
        sightings: store and get streamed maps.
        spaces: embed everything anew and change over to it.
    """

    def __init__(
        self,
        path: Path,
        *,
        embedding_space: str,
        faiss_threads: int = 1,
        now: Callable[[], datetime] = _utc_now,
    ) -> None:
        """Open or create a gallery; a new one has the collection "default".

        Args:
            path: the database file, made if missing with its folder; its log and lock lie beside.
            embedding_space: of the extractor in use, from the model's manifest.
            faiss_threads: how many threads one search may use.
            now: the clock, UTC.

        Raises:
            FailedPrecondition: GALLERY_IN_USE, GALLERY_TOO_NEW, NOT_A_GALLERY or
                EMBEDDING_SPACE_MISMATCH.
        """
        self._store = Store(Database(path), Cache(embedding_space, faiss_threads), now)
        self.collections = Collections(self._store)
        self.subjects = Subjects(self._store)
        self.sightings = sighting.Sightings(self._store)
        self.spaces = Spaces(self._store)
        try:
            self._get_ready()
        except BaseException:
            self.close()
            raise

    def _get_ready(self) -> None:
        self._store.database.erase()  # what a crash may have left
        with suppress(AlreadyExists):
            self.collections.create(DEFAULT_COLLECTION)
        rebuild(self._store)

    def enroll(
        self,
        collection_id: str,
        enrolment_: Enrolment,
        *,
        caller: str = "",
        request_id: str = "",
        duplicate_similarity: float | None = None,
        space: str | None = None,
    ) -> Enrolled:
        """Add faces to a subject, new or known: all or none, on the disk and searchable on return.

        Args:
            collection_id: where to.
            enrolment_: whom.
            caller: who asks; request ids of different callers never meet.
            request_id: repeating a call with the same id and body within 7 days gives the first
                answer again; "": every call enrols.
            duplicate_similarity: refuse faces that resemble another subject of the collection
                by this cosine or more; None: allow duplicates.
            space: of the faces' embeddings; None: of the space served.

        Raises:
            InvalidInput: a field breaks a limit.
            AlreadyExists: SUBJECT_EXISTS, DUPLICATE_FACE (metadata names the `subject_id`) or
                REQUEST_ID_REUSED.
            FailedPrecondition: the subject would have more than 32 faces (TOO_MANY_FACES), or
                the faces of a repeated request were deleted since (ENROLMENT_DELETED).
            EmbeddingSpaceChanged: another space than `space` is served.
        """
        return enrolment.enroll(
            self._store,
            collection_id,
            enrolment_,
            caller=caller,
            request_id=request_id,
            duplicate_similarity=duplicate_similarity,
            space=space,
        )

    def search(
        self, collection_id: str, probe: Embedding, *, count: int, space: str | None = None
    ) -> list[SubjectHit]:
        """The `count` (1 to 100) subjects most similar to a probe, best first; fewer if there are.

        Args:
            collection_id: where.
            probe: whom.
            count: how many.
            space: of the probe's embedding; None: of the space served.

        Raises:
            InvalidInput: the probe is not a finite (512,) vector of length 1, or `count` is out
                of range.
            EmbeddingSpaceChanged: another space than `space` is served.
        """
        return search.search(self._store, collection_id, probe, count, space=space)

    def similarity_to_subject(
        self, collection_id: str, subject_id: str, probe: Embedding, *, space: str | None = None
    ) -> SubjectHit:
        """How similar one subject is to a probe, by the most similar of its faces; see `search`.

        Raises:
            NotFound: no such subject.
            FailedPrecondition: all its faces were deleted (SUBJECT_HAS_NO_FACES).
            InvalidInput: as `search`.
        """
        return search.similarity_to_subject(
            self._store, collection_id, subject_id, probe, space=space
        )

    def purge_expired(self) -> Purge:
        """Delete sightings past their retention and request ids past their seven days."""
        database, now = self._store.database, self._store.now()
        with database.exclusive, database.writing() as connection:
            sightings = sighting.delete_expired(connection, now)
            request_ids = connection.execute(request_log.expired(now)).rowcount
            if sightings:
                mark_erasure(connection)
        return Purge(sightings, request_ids, database.erase())

    def check(self) -> Consistency:
        """Compare the indexes with the database and the database with itself. Slow."""
        return consistency.check(self._store)

    def close(self) -> None:
        """Close the gallery and let another process open it."""
        self._store.database.close()

    def __enter__(self) -> Self:
        """Use the gallery in a ``with`` block."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Close it."""
        self.close()
