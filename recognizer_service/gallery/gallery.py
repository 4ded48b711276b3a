"""The gallery: enrolled subjects in a database, searched with FAISS or Milvus.

The database is authoritative and the index is a cache: changes are committed before the index is
updated, hits are confirmed in the database before they are returned, and opening the gallery
brings the index up to date. A crash never loses an acknowledged change.
"""

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from types import TracebackType
from typing import Self

from recognizer_service.gallery import (
    consistency,
    enrolment,
    merging,
    purge,
    review,
    search,
    sightings,
)
from recognizer_service.gallery.alert_outbox import AlertOutbox
from recognizer_service.gallery.alert_rules import AlertRules
from recognizer_service.gallery.archive.exporting import export
from recognizer_service.gallery.archive.importing import Importer
from recognizer_service.gallery.archive.staging import sweep
from recognizer_service.gallery.audit import AuditLog, Consistency, Operation, Purge
from recognizer_service.gallery.clock import GalleryClock
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
from shared.errors import AlreadyExists, NotFound

DEFAULT_AUDIT_RETENTION = timedelta(days=365)
_BY_SIMILARITY = CodecThresholds()


def _utc_now() -> datetime:
    return datetime.now(UTC)


def _settled_size(database: Database, space: str, size: int | None) -> int:
    """Return the size of a space: as the gallery records it, else as given."""
    with database.reading() as connection:
        known = size_of_space(connection, space)
    if known is None:
        return FORMER_EMBEDDING_SIZE if size is None else size
    if size is not None:
        check_size(space, known, size)
    return known


class Gallery:
    """The collections of one database; thread-safe.

    Every method that names a collection raises NotFound if it does not exist.

    Attributes:
        collections: create, get, list, update, delete collections.
        subjects: get, list, update, delete subjects and their faces.
        audit: the audit log.
        sightings: store, list and delete streamed maps and their findings.
        alert_rules: the alert rules.
        alerts: alerts that the targets have not accepted yet.
        spaces: re-embed the gallery and change over to another space.
        is_new: whether the gallery was just created.
    """

    def __init__(
        self,
        location: Location,
        *,
        embedding_space: str,
        embedding_size: int | None = None,
        index: IndexForm = "auto",
        faiss_threads: int = 1,
        reserve: bool = False,
        audit_retention: timedelta = DEFAULT_AUDIT_RETENTION,
        now: Callable[[], datetime] = _utc_now,
        elapsed_s: Callable[[], float] = time.monotonic,
        clock_confirmed: datetime | None = None,
    ) -> None:
        """Open or create a gallery; a new one has the collection "default".

        Args:
            location: the database file, created if missing together with its folder, log and lock;
                or servers. With the index in Milvus, several processes may open it.
            embedding_space: space of the extractor in use, from the model's manifest.
            embedding_size: dimension of the embeddings, likewise; None: as recorded in the gallery,
                or 512 for a space without a recorded size.
            index: form of the in-memory index, unless it is in Milvus; see `IndexForm`.
            faiss_threads: maximum number of threads per in-memory search.
            reserve: whether to keep 16 MiB beside the file that only deletions may use.
            audit_retention: how long audit events are kept.
            now: the system clock, UTC.
            elapsed_s: the monotonic clock, in seconds.
            clock_confirmed: see `GalleryClock`.

        Raises:
            FailedPrecondition: GALLERY_IN_USE, GALLERY_TOO_NEW, NOT_A_GALLERY,
                EMBEDDING_SPACE_MISMATCH, EMBEDDING_SIZE_MISMATCH or EMBEDDINGS_MISSING; or as
                `open_database`.
            Unavailable: GALLERY_UNAVAILABLE or INDEX_UNAVAILABLE.
        """
        self._audit_retention = audit_retention
        self.is_new = False
        database = open_database(location, reserve=reserve)

        try:
            clock = GalleryClock(
                database, system=now, elapsed_s=elapsed_s, confirmed=clock_confirmed
            )
            size = _settled_size(database, embedding_space, embedding_size)
            cache = open_cache(
                location, database, embedding_space, size, index, threads=faiss_threads
            )
        except BaseException:
            database.close()
            raise
        self._store = Store(database, cache, clock)
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
        sweep(self._store)  # left behind by a crash
        self._store.cache.open()
        database = self._store.database
        with database.exclusive, database.writing(deleting=True) as connection:
            keep_space(connection, self._store.embedding_space, self._store.embedding_size)
        try:  # not to write: the disk may be full
            self.collections.get(DEFAULT_COLLECTION)
        except NotFound:
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
        """Add faces to a new or existing subject: all or none, durable and searchable on return.

        Args:
            collection_id: the collection.
            enrolment_: the subject and its faces.
            caller: the caller, for the audit log; request ids are separate for each caller.
            request_id: a repeated call with the same id and body within 7 days returns the first
                answer; with "" every call enrolls.
            duplicates: by the codec of a new face, the similarity from which another subject of the
                collection counts as the same person and is refused; None allows duplicates.
            space: space of the faces' embeddings; None means the space served.

        Raises:
            InvalidInput: a field breaks a limit.
            AlreadyExists: SUBJECT_EXISTS, DUPLICATE_FACE (metadata names the `subject_id`) or
                REQUEST_ID_REUSED.
            FailedPrecondition: the subject would have more than 32 faces (TOO_MANY_FACES), the
                collection would exceed its quota (QUOTA_EXCEEDED), the faces of a repeated request
                were deleted (ENROLMENT_DELETED), or duplicates cannot be judged (NOT_CALIBRATED).
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

    def merge(
        self,
        collection_id: str,
        subject_id: str,
        merged_id: str,
        *,
        caller: str = "",
        request_id: str = "",
    ) -> merging.Merged:
        """Merge a subject into another: its faces, labels, sightings and alert rules, all or none.

        Args:
            collection_id: the collection of both.
            subject_id: the subject that remains, with its metadata and expiry.
            merged_id: the subject that is deleted.
            caller: the caller, for the audit log.
            request_id: as in `enroll`.

        Raises:
            InvalidInput: both are one subject (SAME_SUBJECT).
            NotFound: no such subject.
            AlreadyExists: REQUEST_ID_REUSED.
            FailedPrecondition: together they have too many faces (TOO_MANY_FACES) or labels
                (TOO_MANY_LABELS).
        """
        return merging.merge(
            self._store, collection_id, subject_id, merged_id, caller=caller, request_id=request_id
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
        """Return the `count` (1 to 100) best matches of a probe; fewer if the collection has fewer.

        Matches are ranked by how far they exceed the threshold of their codec.

        Args:
            collection_id: the collection.
            probe: the probe's embedding.
            count: maximum number of subjects.
            thresholds: thresholds of a match; without any, subjects are ranked by similarity.
            space: space of the probe's embedding; None means the space served.

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
        """Score one subject against a probe by the collection's `SubjectScore`; see `search`.

        With several faces, the best match counts.

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
        """Compare each face of a subject with its other faces and with the ten nearest subjects.

        Args:
            collection_id: the collection.
            subject_id: the subject, whose faces are returned oldest first.
            space: space of the comparison; None means the space served.

        Raises:
            NotFound: no such collection or subject.
            EmbeddingSpaceChanged: another space than `space` is served.
        """
        return review.review(self._store, collection_id, subject_id, space=space)

    def erased(self, erasure: int, *, wait_s: float = 0) -> bool:
        """Return whether the bytes of a deletion are erased from the database file and its log.

        Bytes are erased in the background, usually within a fraction of a second. After a bulk
        enrollment or a crash, the whole file is scanned first.

        Args:
            erasure: the number from `Deletion`.
            wait_s: how long to wait, in seconds.

        Raises:
            InvalidInput: an invalid number (OUT_OF_RANGE).
            NotFound: no deletion has that number (ERASURE_NOT_FOUND).
        """
        return self._store.database.erased(erasure, wait_s=wait_s)

    def erasures_pending(self) -> int:
        """Return the number of deletions whose bytes are not erased yet."""
        return self._store.database.erasures_pending()

    @property
    def clock_is_doubted(self) -> bool:
        """Whether expiry ignores the system clock, since it jumped; see `GalleryClock`."""
        return self._store.clock.is_doubted

    def purge_expired(self) -> Purge:
        """Delete expired subjects, sightings, audit events and request ids."""
        return purge.purge_expired(self._store, audit_retention=self._audit_retention)

    def export(self, collection_id: str, *, caller: str = "") -> Iterator[bytes]:
        """Yield the archive of a collection, one record at a time; see docs/gallery-archive.md.

        Each subject is a consistent snapshot. Subjects enrolled or deleted during the export may or
        may not be included.

        Args:
            collection_id: the collection to export.
            caller: the caller, for the audit log.

        Raises:
            EmbeddingSpaceChanged: the space changed during the export; export again.
        """
        self.collections.get(collection_id)
        self.audit.note(Operation.EXPORT, collection_id, caller=caller)
        return export(self._store, collection_id)

    def importing(
        self, *, collection_id: str = "", embedder: MapEmbedder | None = None, caller: str = ""
    ) -> Importer:
        """Restore an archive: enter the result, `feed` it the bytes, and `finish`.

        Args:
            collection_id: a new or empty collection; "" for its original id.
            embedder: of the space served, for archives of another space; None refuses those.
            caller: the caller, for the audit log.
        """
        return Importer(self._store, collection_id=collection_id, embedder=embedder, caller=caller)

    @property
    def fault(self) -> StorageFault | None:
        """The fault that prevents writes; None if none is known."""
        return self._store.database.fault

    def try_writing(self) -> None:
        """Check whether writes are possible (again).

        Raises:
            Overloaded, Unavailable: writes fail; see `Database.try_writing`.
        """
        self._store.database.try_writing()

    def check(self) -> Consistency:
        """Check the database and compare the indexes with it. Slow."""
        return consistency.check(self._store)

    def close(self) -> None:
        """Close the gallery and release it to other processes."""
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
        """Close the gallery."""
        self.close()
