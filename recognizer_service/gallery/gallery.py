"""The gallery: who is known, kept in a database and searched with FAISS or Milvus.

The database is the truth and the index a cache: every change is committed before the index
follows, every hit is confirmed in the database before it is returned, and opening brings the
index up to date. So a process that dies at any moment loses nothing it has acknowledged.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from types import TracebackType
from typing import Self

from recognizer_service.gallery import consistency, enrolment, purge, review, search, sightings
from recognizer_service.gallery.alert_outbox import AlertOutbox
from recognizer_service.gallery.alert_rules import AlertRules
from recognizer_service.gallery.archive.exporting import export
from recognizer_service.gallery.archive.importing import Importer
from recognizer_service.gallery.archive.staging import sweep
from recognizer_service.gallery.audit import AuditLog, Consistency, Operation, Purge
from recognizer_service.gallery.codec_thresholds import CodecThresholds
from recognizer_service.gallery.collections import DEFAULT_COLLECTION, Collections
from recognizer_service.gallery.context import Store
from recognizer_service.gallery.index.growing import IndexForm
from recognizer_service.gallery.index.local_cache import open_cache
from recognizer_service.gallery.reembed import MapEmbedder, Spaces
from recognizer_service.gallery.storage import Database
from recognizer_service.gallery.storage.condemned import prune
from recognizer_service.gallery.storage.faults import StorageFault
from recognizer_service.gallery.storage.opening import Location, open_database
from recognizer_service.gallery.storage.rows import check_size, keep_space, size_of_space
from recognizer_service.gallery.storage.schema import FORMER_EMBEDDING_SIZE
from recognizer_service.gallery.subjects import Subjects
from recognizer_service.gallery.types import (
    Embedding,
    Enrolled,
    Enrolment,
    FaceReview,
    SubjectHit,
)
from shared.errors import AlreadyExists

DEFAULT_AUDIT_RETENTION = timedelta(days=365)
_BY_SIMILARITY = CodecThresholds()


def _utc_now() -> datetime:
    return datetime.now(UTC)


def _settled_size(database: Database, space: str, size: int | None) -> int:
    """The size of a space: what the gallery knows of it, else what the caller says."""
    with database.reading() as connection:
        known = size_of_space(connection, space)
    if known is None:
        return FORMER_EMBEDDING_SIZE if size is None else size
    if size is not None:
        check_size(space, known, size)
    return known


class Gallery:
    """The collections of one database; safe to use from threads.

    Every method that names a collection raises NotFound if it does not exist.

    Attributes:
        collections: create, get, list, update, delete collections.
        subjects: get, list, update, delete subjects and their faces.
        audit: who did what to whom.
        sightings: store, list and delete streamed maps, and whom they show.
        alert_rules: whom to tell of whom.
        alerts: what they have rung for and their targets have not taken yet.
        spaces: embed everything anew and change over to it.
        is_new: whether it was made just now.
    """

    def __init__(
        self,
        location: Location,
        *,
        embedding_space: str,
        embedding_size: int | None = None,
        index: IndexForm = "auto",
        faiss_threads: int = 1,
        audit_retention: timedelta = DEFAULT_AUDIT_RETENTION,
        now: Callable[[], datetime] = _utc_now,
    ) -> None:
        """Open or create a gallery; a new one has the collection "default".

        Args:
            location: the database file, made if missing with its folder, its log and lock beside
                it; or servers. With the index in Milvus, several processes may open it.
            embedding_space: of the extractor in use, from the model's manifest.
            embedding_size: numbers in an embedding, likewise; None: as the gallery knows it of the
                space, or 512, as in all spaces before they had sizes.
            index: how faces are kept in memory, unless they are in Milvus; see `IndexForm`.
            faiss_threads: how many threads one search in memory may use.
            audit_retention: how long events stay in the audit log.
            now: the clock, UTC.

        Raises:
            FailedPrecondition: GALLERY_IN_USE, GALLERY_TOO_NEW, NOT_A_GALLERY,
                EMBEDDING_SPACE_MISMATCH, EMBEDDING_SIZE_MISMATCH or EMBEDDINGS_MISSING; or as
                `open_database`.
            Unavailable: GALLERY_UNAVAILABLE or INDEX_UNAVAILABLE.
        """
        self._audit_retention = audit_retention
        self.is_new = False
        database = open_database(location)

        try:
            size = _settled_size(database, embedding_space, embedding_size)
            cache = open_cache(
                location, database, embedding_space, size, index, threads=faiss_threads
            )
        except BaseException:
            database.close()
            raise
        self._store = Store(database, cache, now)
        self.collections = Collections(self._store)
        self.subjects = Subjects(self._store)
        self.audit = AuditLog(self._store)
        self.sightings = sightings.Sightings(self._store)
        self.alert_rules = AlertRules(self._store)
        self.alerts = AlertOutbox(self._store)
        self.spaces = Spaces(self._store)
        try:
            self._get_ready()
        except BaseException:
            self.close()
            raise

    def _get_ready(self) -> None:
        sweep(self._store)  # what a crash may have left
        self._store.cache.open()
        database = self._store.database
        with database.exclusive, database.writing() as connection:
            keep_space(connection, self._store.embedding_space, self._store.embedding_size)
        with suppress(AlreadyExists):
            self.collections.create(DEFAULT_COLLECTION)
            self.is_new = True
        self._store.database.begin_erasing(prune)

    def enroll(
        self,
        collection_id: str,
        enrolment_: Enrolment,
        *,
        caller: str = "",
        request_id: str = "",
        duplicates: Mapping[str, CodecThresholds] | None = None,
        space: str | None = None,
    ) -> Enrolled:
        """Add faces to a subject, new or known: all or none, on the disk and searchable on return.

        Args:
            collection_id: where to.
            enrolment_: whom.
            caller: who asks, for the audit log; request ids of different callers never meet.
            request_id: repeating a call with the same id and body within 7 days gives the first
                answer again; "": every call enrols.
            duplicates: by the codec of a new face, how similar another subject of the collection
                must be to be taken for the same person, which is refused; None: allow duplicates.
            space: of the faces' embeddings; None: of the space served.

        Raises:
            InvalidInput: a field breaks a limit.
            AlreadyExists: SUBJECT_EXISTS, DUPLICATE_FACE (metadata names the `subject_id`) or
                REQUEST_ID_REUSED.
            FailedPrecondition: the subject would have more than 32 faces (TOO_MANY_FACES), the
                collection more than its quota (QUOTA_EXCEEDED), or the faces of a repeated
                request were deleted since (ENROLMENT_DELETED); or nobody knows whether a
                subject is too similar (NOT_CALIBRATED).
            EmbeddingSpaceChanged: another space than `space` is served.
        """
        return enrolment.enroll(
            self._store,
            collection_id,
            enrolment_,
            caller=caller,
            request_id=request_id,
            duplicates=duplicates,
            space=space,
        )

    def search(
        self,
        collection_id: str,
        probe: Embedding,
        *,
        count: int,
        thresholds: CodecThresholds = _BY_SIMILARITY,
        space: str | None = None,
    ) -> list[SubjectHit]:
        """The `count` (1 to 100) subjects that a probe matches best; fewer if there are.

        The best are those furthest above the threshold of their codec, or least below it.

        Args:
            collection_id: where.
            probe: whom.
            count: how many.
            thresholds: how similar a match must be; none known: the most similar are the best.
            space: of the probe's embedding; None: of the space served.

        Raises:
            InvalidInput: the probe is not a finite vector of the space's size and of length 1, or
                `count` is out of range.
            EmbeddingSpaceChanged: another space than `space` is served.
        """
        return search.search(
            self._store, collection_id, probe, count, thresholds=thresholds, space=space
        )

    def similarity_to_subject(
        self,
        collection_id: str,
        subject_id: str,
        probe: Embedding,
        *,
        thresholds: CodecThresholds = _BY_SIMILARITY,
        space: str | None = None,
    ) -> SubjectHit:
        """How similar one subject is to a probe, as its collection scores subjects; see `search`.

        Of several faces the one that matches best counts.

        Raises:
            NotFound: no such subject.
            FailedPrecondition: all its faces were deleted (SUBJECT_HAS_NO_FACES).
            InvalidInput: as `search`.
        """
        return search.similarity_to_subject(
            self._store, collection_id, subject_id, probe, thresholds=thresholds, space=space
        )

    def review(
        self, collection_id: str, subject_id: str, *, space: str | None = None
    ) -> tuple[FaceReview, ...]:
        """How each face of a subject goes with the others, and with the ten nearest subjects.

        Args:
            collection_id: where.
            subject_id: whose faces, oldest first.
            space: in which to compare; None: the space served.

        Raises:
            NotFound: no such collection or subject.
            EmbeddingSpaceChanged: another space than `space` is served.
        """
        return review.review(self._store, collection_id, subject_id, space=space)

    def erased(self, erasure: int, *, wait_s: float = 0) -> bool:
        """Whether the bytes of a deletion are gone from the database's file and its log.

        They leave the disk in the background, a deletion's within a fraction of a second. After
        many enrolments at once, and after a crash, the whole file is gone through first.

        Args:
            erasure: which, see `Deletion`.
            wait_s: how long to wait for it, in seconds.

        Raises:
            InvalidInput: no such number (OUT_OF_RANGE).
            NotFound: no deletion was given that number (ERASURE_NOT_FOUND).
        """
        return self._store.database.erased(erasure, wait_s=wait_s)

    def erasures_pending(self) -> int:
        """How many deletions have bytes on the disk yet."""
        return self._store.database.erasures_pending()

    def purge_expired(self) -> Purge:
        """Delete subjects, sightings and audit events past their time, and request ids too."""
        return purge.purge_expired(self._store, audit_retention=self._audit_retention)

    def export(self, collection_id: str, *, caller: str = "") -> Iterator[bytes]:
        """The archive of a collection, a record at a time; see docs/gallery-archive.md.

        Each subject is archived as it was at one moment. Who is enrolled or deleted meanwhile may
        be in the archive or not.

        Args:
            collection_id: what to export.
            caller: who asks, for the audit log.

        Raises:
            EmbeddingSpaceChanged: another space is served since it began; export again.
        """
        self.collections.get(collection_id)
        self.audit.note(Operation.EXPORT, collection_id, caller=caller)
        return export(self._store, collection_id)

    def importing(
        self, *, collection_id: str = "", embedder: MapEmbedder | None = None, caller: str = ""
    ) -> Importer:
        """Restore an archive: enter the result, `feed` it the bytes, and `finish`.

        Args:
            collection_id: where to: a new or empty collection; "": the name it had.
            embedder: of the space served, for archives of another space; None refuses those.
            caller: who asks, for the audit log.
        """
        return Importer(self._store, collection_id=collection_id, embedder=embedder, caller=caller)

    @property
    def fault(self) -> StorageFault | None:
        """What keeps changes from being stored; None: nothing that is known."""
        return self._store.database.fault

    def try_writing(self) -> None:
        """See whether changes can be stored (again).

        Raises:
            Overloaded, Unavailable: why not; see `Database.try_writing`.
        """
        self._store.database.try_writing()

    def check(self) -> Consistency:
        """Compare the indexes with the database and the database with itself. Slow."""
        return consistency.check(self._store)

    def close(self) -> None:
        """Close the gallery and let another process open it."""
        self._store.cache.close()
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
