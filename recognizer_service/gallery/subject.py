"""The subjects of a gallery and their faces: reading and deleting them."""

from sqlalchemy import Connection, delete, select, update

from recognizer_service.gallery.database import mark_erasure
from recognizer_service.gallery.paging import read_page
from recognizer_service.gallery.records import Deletion, Face, Page, Subject
from recognizer_service.gallery.rows import (
    FACE,
    SUBJECT,
    collection_key,
    face_key,
    face_of,
    subject_key,
    subject_of,
)
from recognizer_service.gallery.schema import collections, faces, subjects
from recognizer_service.gallery.store import Store


class Subjects:
    """Get, list and delete subjects and faces.

    Every method raises NotFound for a collection, subject or face that does not exist.
    """

    def __init__(self, store: Store) -> None:
        self._store = store

    def get(self, collection_id: str, subject_id: str) -> tuple[Subject, tuple[Face, ...]]:
        """One subject with its faces, oldest first."""
        with self._store.database.reading() as connection:
            key = subject_key(connection, collection_id, subject_id)
            return read_subject(connection, key), _read_faces(connection, key)

    def list(
        self, collection_id: str, *, page_size: int = 100, page_token: str = ""
    ) -> Page[Subject]:
        """One page of the subjects of a collection, by id."""
        with self._store.database.reading() as connection:
            key = collection_key(connection, collection_id)
            return read_page(
                connection,
                SUBJECT.where(subjects.c.collection_key == key),
                by=subjects.c.id,
                record=subject_of,
                size=page_size,
                token=page_token,
            )

    def delete(self, collection_id: str, subject_id: str) -> Deletion:
        """Delete a subject with its faces, maps and embeddings."""
        store = self._store
        with store.database.exclusive:
            with store.database.writing() as connection:
                key = subject_key(connection, collection_id, subject_id)
                of_subject = select(faces.c.key).where(faces.c.subject_key == key)
                face_keys = connection.scalars(of_subject).all()
                owner = collection_key(connection, collection_id)
                connection.execute(delete(subjects).where(subjects.c.key == key))
                count(connection, owner, new_subjects=-1, new_faces=-len(face_keys))
                mark_erasure(connection)
            store.index_of(owner).remove(face_keys)
        return Deletion(len(face_keys), store.database.erase())

    def get_face(self, collection_id: str, face_id: str) -> Face:
        """One face."""
        with self._store.database.reading() as connection:
            key = face_key(connection, collection_id, face_id)
            return face_of(connection.execute(FACE.where(faces.c.key == key)).one())

    def list_faces(self, collection_id: str, subject_id: str) -> tuple[Face, ...]:
        """The faces of a subject, oldest first."""
        with self._store.database.reading() as connection:
            return _read_faces(connection, subject_key(connection, collection_id, subject_id))

    def delete_face(self, collection_id: str, face_id: str) -> Deletion:
        """Delete one face; its subject stays, even without any."""
        store = self._store
        with store.database.exclusive:
            with store.database.writing() as connection:
                key = face_key(connection, collection_id, face_id)
                owner = collection_key(connection, collection_id)
                connection.execute(delete(faces).where(faces.c.key == key))
                count(connection, owner, new_faces=-1)
                mark_erasure(connection)
            store.index_of(owner).remove([key])
        return Deletion(1, store.database.erase())


def count(connection: Connection, owner: int, *, new_subjects: int = 0, new_faces: int = 0) -> None:
    """Keep a collection's counts true to its content, in the transaction that changes it."""
    connection.execute(
        update(collections)
        .where(collections.c.key == owner)
        .values(
            subject_count=collections.c.subject_count + new_subjects,
            face_count=collections.c.face_count + new_faces,
        )
    )


def read_subject(connection: Connection, key: int) -> Subject:
    """The subject of a key that is known to exist."""
    return subject_of(connection.execute(SUBJECT.where(subjects.c.key == key)).one())


def _read_faces(connection: Connection, key: int) -> tuple[Face, ...]:
    return tuple(face_of(row) for row in connection.execute(FACE.where(faces.c.subject_key == key)))
