"""Restores a collection from an archive: all of it, or nothing if the archive is damaged."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Self

from recognizer_service.gallery.archive.contents import (
    ArchivedFace,
    ArchivedSubject,
    Header,
    parse_face,
    parse_header,
    parse_subject,
)
from recognizer_service.gallery.archive.format import Kind, Record, RecordReader
from recognizer_service.gallery.archive.staging import Staging, check_free
from recognizer_service.gallery.collections import check_collection_id
from recognizer_service.gallery.context import Store
from recognizer_service.gallery.limits import MAX_FACES_PER_SUBJECT, shown
from recognizer_service.gallery.reembed import MapEmbedder
from shared.errors import FailedPrecondition, InvalidInput

_RECORDS_PER_COMMIT = 512


@dataclass(frozen=True, slots=True)
class Imported:
    """The result of an import.

    Attributes:
        collection_id: the collection.
        subjects: number of subjects.
        faces: number of faces.
        reembedded: whether the embeddings were recomputed from the maps.
    """

    collection_id: str
    subjects: int
    faces: int
    reembedded: bool


class Importer:
    """Imports an archive in chunks of any size; an unfinished ``with`` block undoes the import.

    Content is stored as it arrives, in a hidden collection, so memory does not grow with the
    archive and no lock is held while waiting for bytes.
    """

    def __init__(
        self, store: Store, *, collection_id: str, embedder: MapEmbedder | None, caller: str
    ) -> None:
        """Create an importer; see `Archives.importing`."""
        if collection_id:
            check_collection_id(collection_id)
        self._store = store
        self._collection_id = collection_id
        self._embedder = embedder
        self._caller = caller
        self._reader = RecordReader()
        self._staging: Staging | None = None
        self._reembeds = False
        self._size = 0
        self._batch: list[ArchivedSubject] = []
        self._subjects = self._faces = 0
        self._published = False

    def feed(self, chunk: bytes) -> None:
        """Read the next bytes.

        Raises:
            InvalidInput: NOT_AN_ARCHIVE, ARCHIVE_TOO_NEW, or ARCHIVE_DAMAGED with the record and
                byte.
            AlreadyExists: the collection exists and is not empty (COLLECTION_EXISTS).
            UnknownCodec: the archive has another embedding space, and one of its maps cannot be
                decoded here.
            FailedPrecondition: the archive has another space and there is no embedder
                (EMBEDDING_SPACE_MISMATCH), or the space changed meanwhile
                (EMBEDDING_SPACE_CHANGED).
        """
        for record in self._reader.feed(chunk):
            self._take(record)

    def finish(self) -> Imported:
        """Publish the collection, after the last byte.

        Raises:
            InvalidInput: as `feed`, and ARCHIVE_INCOMPLETE.
            AlreadyExists: as `feed`.
            FailedPrecondition: as `feed`.
        """
        self._reader.finish()
        if self._staging is None:
            raise InvalidInput("ARCHIVE_DAMAGED", "the archive has no header", field="chunk")
        self._store_batch(self._staging)
        self._staging.publish(self._collection_id, caller=self._caller)
        self._published = True
        return Imported(self._collection_id, self._subjects, self._faces, self._reembeds)

    def close(self) -> None:
        """Undo an unfinished import."""
        if self._staging and not self._published:
            self._staging.discard()

    def __enter__(self) -> Self:
        """Open the importer for a ``with`` block."""
        return self

    def __exit__(self, *_error: object) -> None:
        """Undo an unfinished import."""
        self.close()

    def _take(self, record: Record) -> None:
        if self._staging is None:
            if record.kind is not Kind.HEADER:
                raise record.damaged("a header must come first")
            self._staging = self._begin(parse_header(record), record)
        elif record.kind is Kind.SUBJECT:
            if sum(1 + len(subject.faces) for subject in self._batch) >= _RECORDS_PER_COMMIT:
                self._store_batch(self._staging)
            self._batch.append(parse_subject(record))
        elif record.kind is Kind.FACE and self._batch:
            siblings = self._batch[-1].faces
            if len(siblings) == MAX_FACES_PER_SUBJECT:
                raise record.damaged(f"its subject has more than {MAX_FACES_PER_SUBJECT} faces")
            face = parse_face(record, self._size)
            self._check_map(record, face)
            siblings.append(face)
        else:
            raise record.damaged("it does not belong here")

    def _check_map(self, record: Record, face: ArchivedFace) -> None:
        """Check that later models can embed the map."""
        if self._embedder is None:
            return
        try:
            self._embedder.check(face.values["codec_id"], face.values["png"])
        except InvalidInput as error:
            raise record.damaged(f"its map cannot be decoded: {error.message}") from None

    def _begin(self, header: Header, record: Record) -> Staging:
        self._size = header.embedding_size
        self._collection_id = self._collection_id or header.collection_id
        with self._store.database.reading() as connection:
            check_free(connection, self._collection_id)
        served = self._store.embedding_space
        self._reembeds = header.embedding_space != served
        if self._reembeds:
            if self._embedder is None or self._embedder.embedding_space != served:
                raise FailedPrecondition(
                    "EMBEDDING_SPACE_MISMATCH",
                    f"the archive is of embedding space {shown(header.embedding_space)} and the "
                    f"gallery of {served}, and there is no model at hand to embed it anew",
                )
            self._embedder.require(header.codecs)
        elif header.embedding_size != self._store.embedding_size:
            raise record.damaged(
                f"embeddings of space {shown(served)} have {self._store.embedding_size} numbers, "
                f"not {header.embedding_size}"
            )
        return Staging(self._store, header.collection)

    def _store_batch(self, staging: Staging) -> None:
        batch, self._batch = self._batch, []
        if not batch:
            return
        known = staging.known([subject.values["id"] for subject in batch])
        for subject in batch:
            if subject.values["id"] in known:
                raise subject.record.damaged("its subject is in the archive already")
            known.add(subject.values["id"])
        if self._reembeds:
            batch = self._embedded_anew(batch)
        staging.add(batch)
        self._subjects += len(batch)
        self._faces += sum(len(subject.faces) for subject in batch)

    def _embedded_anew(self, batch: Sequence[ArchivedSubject]) -> list[ArchivedSubject]:
        assert self._embedder is not None  # checked with the header
        maps = [(f.values["codec_id"], f.values["png"]) for s in batch for f in s.faces]
        if not maps:
            return list(batch)
        try:
            vectors = iter(self._embedder.embed(maps))
        except InvalidInput as error:
            raise batch[0].record.damaged(
                f"it, or one of the {len(batch)} subjects from there on, has a map that cannot "
                f"be decoded: {error.message}"
            ) from None
        return [
            replace(subject, faces=[ArchivedFace(f.values, next(vectors)) for f in subject.faces])
            for subject in batch
        ]
