"""The gallery: enrolled subjects in a database, searched with FAISS or Milvus.

The database is authoritative and the index is a cache: changes are committed before the index is
updated, hits are confirmed in the database before they are returned, and opening the gallery
brings the index up to date. A crash never loses an acknowledged change.
"""

import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Self

from recognizer_service.gallery import consistency, enrolment, merging, purge, search
from recognizer_service.gallery.alerts.outbox import AlertOutbox
from recognizer_service.gallery.alerts.rules import AlertRules
from recognizer_service.gallery.archive.archives import Archives
from recognizer_service.gallery.archive.staging import sweep
from recognizer_service.gallery.audit import AuditLog, Consistency, Purge
from recognizer_service.gallery.clock import GalleryClock
from recognizer_service.gallery.codec_thresholds import CodecThresholds
from recognizer_service.gallery.collections import DEFAULT_COLLECTION, Collections, prune
from recognizer_service.gallery.context import Store
from recognizer_service.gallery.index.local_cache import IndexForm, open_cache
from recognizer_service.gallery.reembed import Spaces
from recognizer_service.gallery.sightings.sightings import Sightings
from recognizer_service.gallery.sightings.strangers import Strangers
from recognizer_service.gallery.storage.locations import Location, open_database
from recognizer_service.gallery.storage.spaces import keep_space, settled_size
from recognizer_service.gallery.subjects import Subjects
from recognizer_service.gallery.types import Embedding, Enrolled, Enrolment, FaceReview, SubjectHit
from shared.errors import AlreadyExists, NotFound

DEFAULT_AUDIT_RETENTION = timedelta(days=365)
_BY_SIMILARITY = CodecThresholds()


def _utc_now() -> datetime:
    return datetime.now(UTC)


class Gallery:
    """The collections of one database; thread-safe.

    Every method that names a collection raises NotFound if it does not exist.

    Attributes:
        collections: create, get, list, update, delete collections.
        subjects: get, list, update, delete subjects and their faces.
        audit: the audit log.
        sightings: store, list and delete streamed maps and their findings.
        strangers: list strangers, and find their sightings.
        alert_rules: the alert rules.
        alerts: alerts that the targets have not accepted yet.
        archives: export and import collections.
        spaces: re-embed the gallery and change over to another space.
        database: storage faults, and whether deleted bytes are erased.
        clock: the times of the gallery, and whether the system clock is trusted.
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
            size = settled_size(database, embedding_space, embedding_size)
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
        self.sightings = Sightings(self._store)
        self.strangers = Strangers(self._store)
        self.alert_rules = AlertRules(self._store)
        self.alerts = AlertOutbox(self._store)
        self.archives = Archives(self._store)
        self.spaces = Spaces(self._store)
        self.database, self.clock = database, clock
        try:
            self._get_ready()
        except BaseException:
            self.close()
            raise

    def _get_ready(self) -> None:
        sweep(self._store)  # left behind by a crash
        self._store.cache.open()
        with self.database.exclusive, self.database.writing(deleting=True) as connection:
            keep_space(connection, self._store.embedding_space, self._store.embedding_size)
        try:  # not to write: the disk may be full
            self.collections.get(DEFAULT_COLLECTION)
        except NotFound:
            with suppress(AlreadyExists):
                self.collections.create(DEFAULT_COLLECTION)
                self.is_new = True
        self.database.begin_erasing(prune)

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
        return search.review(self._store, collection_id, subject_id, space=space)

    def purge_expired(self) -> Purge:
        """Delete expired subjects, sightings, audit events and request ids."""
        return purge.purge_expired(self._store, audit_retention=self._audit_retention)

    def check(self) -> Consistency:
        """Check the database and compare the indexes with it. Slow."""
        return consistency.check(self._store)

    def close(self) -> None:
        """Close the gallery and release it to other processes."""
        self._store.cache.close()
        self.database.close()

    def __enter__(self) -> Self:
        """Use the gallery in a ``with`` block."""
        return self

    def __exit__(self, *_error: object) -> None:
        """Close the gallery."""
        self.close()
