"""Reads, changes and deletes the subjects of a gallery and their faces."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Unpack

from sqlalchemy import Connection, Select, bindparam, delete, func, insert, select, update

from recognizer_service.gallery import audit
from recognizer_service.gallery.audit import AuditEvent, Deletion, Operation
from recognizer_service.gallery.context import Store
from recognizer_service.gallery.index.concurrency import Combining
from recognizer_service.gallery.limits import (
    MAX_NAME_CHARACTERS,
    canonical,
    check_changes,
    check_labels,
    check_text,
    shown,
)
from recognizer_service.gallery.paging import Page, read_page
from recognizer_service.gallery.storage.rows import (
    FACE,
    HIDDEN_PREFIX,
    SUBJECT,
    asked_for,
    collection_key,
    face_key,
    face_of,
    name_contains,
    subject_key,
    subject_of,
)
from recognizer_service.gallery.storage.schema import collections, faces, labels, subjects
from recognizer_service.gallery.types import Face, Subject, SubjectChanges, SubjectFilter
from shared.errors import FailedPrecondition, NotFound

_EVERYBODY = SubjectFilter()

# Built once: SQLAlchemy takes longer to build a statement than SQLite to execute it.
_SUBJECT_KEYS = (
    select(subjects.c.key, subjects.c.collection_key)
    .join(collections)
    .where(collections.c.id == bindparam("collection"), subjects.c.id == bindparam("subject"))
)
_FACES_OF = select(faces.c.key).where(faces.c.subject_key == bindparam("subject"))
_DELETE = delete(subjects).where(subjects.c.key == bindparam("subject"))
# Built once: SQLAlchemy takes longer to build a statement than SQLite to execute it.
_READ = SUBJECT.where(subjects.c.key == bindparam("key"))
_COUNT = (
    update(collections)
    .where(collections.c.key == bindparam("owner"))
    .values(
        subject_count=collections.c.subject_count + bindparam("new_subjects"),
        face_count=collections.c.face_count + bindparam("new_faces"),
    )
)


@dataclass(frozen=True, slots=True)
class _Doomed:
    """A subject to delete, and the caller."""

    collection_id: str
    subject_id: str
    caller: str


class Subjects:
    """Gets, lists, updates and deletes subjects and faces.

    Methods that change something take a `caller` for the audit log. Every method raises NotFound
    for a collection, subject or face that does not exist.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._deletions: Combining[_Doomed, Deletion | NotFound] = Combining(
            partial(_delete_together, store)
        )

    def get(self, collection_id: str, subject_id: str) -> tuple[Subject, tuple[Face, ...]]:
        """Return one subject with its faces, oldest first."""
        with self._store.database.reading() as connection:
            key = subject_key(connection, collection_id, subject_id)
            return read_subject(connection, key), _read_faces(connection, key)

    def list(
        self,
        collection_id: str,
        *,
        only: SubjectFilter = _EVERYBODY,
        page_size: int = 100,
        page_token: str = "",
    ) -> Page[Subject]:
        """Return one page of the subjects that match a filter, by id."""
        _check_filter(only)
        with self._store.database.reading() as connection:
            key = collection_key(connection, collection_id)
            return read_page(
                connection,
                _filtered(SUBJECT.where(subjects.c.collection_key == key), only),
                by=subjects.c.id,
                record=subject_of,
                size=page_size,
                token=page_token,
            )

    def update(
        self,
        collection_id: str,
        subject_id: str,
        *,
        revision: int | None = None,
        caller: str = "",
        **changes: Unpack[SubjectChanges],
    ) -> Subject:
        """Change a subject's data, except its faces.

        Args:
            collection_id: the collection.
            subject_id: the subject.
            revision: expected revision; None skips the check.
            caller: the caller.
            changes: new values; omitted fields stay unchanged.

        Raises:
            InvalidInput: a value breaks a limit.
            FailedPrecondition: the subject has another revision (REVISION_CHANGED).
        """
        check_changes(changes)
        subject_id = canonical(subject_id)
        event = AuditEvent(
            self._store.now(), caller, Operation.UPDATE_SUBJECT, collection_id, subject_id
        )
        with self._store.changing(), self._store.database.writing() as connection:
            key = subject_key(connection, collection_id, subject_id)
            present = read_subject(connection, key)
            if revision is not None and revision != present.revision:
                raise _revision_changed(present, revision)
            change_subject(connection, key, changes)
            audit.record(connection, event)
            return read_subject(connection, key)

    def delete(self, collection_id: str, subject_id: str, *, caller: str = "") -> Deletion:
        """Delete a subject with its faces, maps and embeddings."""
        audit.check_caller(caller)
        answer = self._deletions.ask(_Doomed(collection_id, canonical(subject_id), caller))
        if isinstance(answer, NotFound):
            raise answer
        return answer

    def get_face(self, collection_id: str, face_id: str) -> Face:
        """Return one face."""
        with self._store.database.reading() as connection:
            key = face_key(connection, collection_id, face_id)
            return face_of(connection.execute(FACE.where(faces.c.key == key)).one())

    def list_faces(self, collection_id: str, subject_id: str) -> tuple[Face, ...]:
        """Return the faces of a subject, oldest first."""
        with self._store.database.reading() as connection:
            return _read_faces(connection, subject_key(connection, collection_id, subject_id))

    def delete_face(self, collection_id: str, face_id: str, *, caller: str = "") -> Deletion:
        """Delete one face; its subject remains, even without faces."""
        store = self._store
        with store.changing():
            with store.database.writing(deleting=True) as connection:
                key = face_key(connection, collection_id, face_id)
                owner = collection_key(connection, collection_id)
                whose = face_of(connection.execute(FACE.where(faces.c.key == key)).one())
                connection.execute(delete(faces).where(faces.c.key == key))
                count(connection, owner, new_faces=-1)
                event = AuditEvent(
                    store.now(), caller, Operation.DELETE_FACE, collection_id, whose.subject_id
                )
                audit.record(connection, event)
                erasure = store.database.mark_erasure(connection)
            store.index_of(owner).remove([key])
        return Deletion(1, erasure)


def _delete_together(store: Store, doomed: Sequence[_Doomed]) -> list[Deletion | NotFound]:
    """Execute concurrent deletions in one transaction with one write to disk."""
    found: list[Sequence[int] | NotFound] = []
    gone: defaultdict[int, list[int]] = defaultdict(list)
    with store.changing():
        with store.database.writing(deleting=True) as connection:
            for one in doomed:
                try:
                    key, owner = _keys_of(connection, one)
                except NotFound as error:
                    found.append(error)
                    continue
                found.append(face_keys := remove_subject(connection, owner, key))
                gone[owner] += face_keys
                event = AuditEvent(
                    store.now(),
                    one.caller,
                    Operation.DELETE_SUBJECT,
                    one.collection_id,
                    one.subject_id,
                )
                audit.record(connection, event)
            erasure = store.database.mark_erasure(connection) if gone else 0
        for owner, keys in gone.items():
            store.index_of(owner).remove(keys)
    return [
        answer if isinstance(answer, NotFound) else Deletion(len(answer), erasure)
        for answer in found
    ]


def _keys_of(connection: Connection, doomed: _Doomed) -> tuple[int, int]:
    """Return the keys of a subject and its collection, or raise NotFound."""
    named = {
        "collection": asked_for(doomed.collection_id),
        "subject": asked_for(doomed.subject_id),
    }
    row = connection.execute(_SUBJECT_KEYS, named).one_or_none()
    if row is None or named["collection"].startswith(HIDDEN_PREFIX):
        subject_key(connection, doomed.collection_id, doomed.subject_id)  # raises NotFound
        raise AssertionError
    return row.key, row.collection_key


def remove_subject(connection: Connection, owner: int, key: int) -> Sequence[int]:
    """Delete a subject in the caller's transaction; return the keys of its faces, for the index."""
    face_keys = connection.scalars(_FACES_OF, {"subject": key}).all()
    connection.execute(_DELETE, {"subject": key})
    count(connection, owner, new_subjects=-1, new_faces=-len(face_keys))
    return face_keys


def count(connection: Connection, owner: int, *, new_subjects: int = 0, new_faces: int = 0) -> None:
    """Update a collection's counts, in the transaction that changes its content."""
    connection.execute(
        _COUNT, {"owner": owner, "new_subjects": new_subjects, "new_faces": new_faces}
    )


def read_subject(connection: Connection, key: int) -> Subject:
    """Return the subject of an existing key."""
    return subject_of(connection.execute(_READ, {"key": key}).one())


def _read_faces(connection: Connection, key: int) -> tuple[Face, ...]:
    return tuple(face_of(row) for row in connection.execute(FACE.where(faces.c.subject_key == key)))


def _check_filter(only: SubjectFilter) -> None:
    check_text(only.id_prefix, "subject_id_prefix", least=0)
    check_text(only.name_contains, "display_name_contains", least=0, most=MAX_NAME_CHARACTERS)
    check_labels(only.labels)


def _filtered(query: Select[Any], only: SubjectFilter) -> Select[Any]:
    if only.id_prefix:
        # The range of ids narrows the search; unlike LIKE, the comparison is case-sensitive.
        prefix = canonical(only.id_prefix)
        begins = func.substr(subjects.c.id, 1, len(prefix)) == prefix
        query = query.where(subjects.c.id >= prefix, begins)
    if only.name_contains:
        query = query.where(name_contains(subjects.c.display_name, only.name_contains))
    for label in map(canonical, only.labels):
        has_label = (labels.c.subject_key == subjects.c.key) & (labels.c.label == label)
        query = query.where(select(labels.c.label).where(has_label).exists())
    return query


def _revision_changed(subject: Subject, expected: int) -> FailedPrecondition:
    return FailedPrecondition(
        "REVISION_CHANGED",
        f"subject {shown(subject.subject_id)} is of revision {subject.revision}, not {expected}; "
        "read it again",
        field="revision",
        metadata={"revision": str(subject.revision)},
    )


def change_subject(connection: Connection, key: int, changes: SubjectChanges) -> None:
    """Apply validated changes and increment the revision once."""
    columns: dict[str, Any] = dict(changes)
    if "labels" in changes:
        connection.execute(delete(labels).where(labels.c.subject_key == key))
        insert_labels(connection, key, changes["labels"])
        del columns["labels"]
    connection.execute(
        update(subjects)
        .where(subjects.c.key == key)
        .values(revision=subjects.c.revision + 1, **columns)
    )


def insert_labels(connection: Connection, key: int, names: Iterable[str]) -> None:
    """Insert labels for a subject that has none; duplicates count once."""
    rows = [{"subject_key": key, "label": name} for name in sorted(set(map(canonical, names)))]
    if rows:
        connection.execute(insert(labels), rows)
