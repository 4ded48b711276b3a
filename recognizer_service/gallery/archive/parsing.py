"""Parses archive records and checks them against the gallery's limits."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, ParamSpec, TypeVar

import numpy as np

from recognizer_service.gallery.archive.contents import FORMAT, values_of
from recognizer_service.gallery.archive.format import Record
from recognizer_service.gallery.collection_settings import CollectionSettings, SubjectScore
from recognizer_service.gallery.limits import (
    MAX_REVISION,
    as_embedding,
    check_changes,
    check_collection_id,
    check_map,
    check_range,
    check_settings,
    check_text,
    checked_id,
)
from recognizer_service.gallery.storage.schema import (
    FORMER_EMBEDDING_SIZE,
    collections,
    faces,
    subjects,
)
from recognizer_service.gallery.texts import canonical
from recognizer_service.gallery.types import Embedding, SubjectChanges
from shared.errors import InvalidInput

P = ParamSpec("P")
T = TypeVar("T")

_MOST_NUMBERS = 1 << 16  # a larger embedding would not fit into a record


@dataclass(frozen=True, slots=True)
class Header:
    """The header of an archive.

    Attributes:
        collection_id: id of the exported collection.
        collection: the rest of its row.
        embedding_space: space of all embeddings in the archive.
        embedding_size: dimension of the embeddings.
        codecs: codecs of all maps in the archive.
    """

    collection_id: str
    collection: dict[str, Any]
    embedding_space: str
    embedding_size: int
    codecs: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ArchivedFace:
    """A face: its row without keys, and its embedding in the archive's space."""

    values: dict[str, Any]
    embedding: Embedding


@dataclass(frozen=True, slots=True)
class ArchivedSubject:
    """A subject: its row without keys, its labels, and its faces as they are read.

    Attributes:
        record: its record in the archive.
    """

    record: Record
    values: dict[str, Any]
    labels: tuple[str, ...]
    faces: list[ArchivedFace] = field(default_factory=list)


def parse_header(record: Record) -> Header:
    """Parse the header; raises as `parse_face`, or ARCHIVE_TOO_NEW."""
    document = record.document
    if document.get("format") not in [1, FORMAT]:  # it may be unhashable
        raise InvalidInput(
            "ARCHIVE_TOO_NEW",
            f"the archive has format {document.get('format')!r:.80}; this program knows formats "
            f"1 and {FORMAT}: run a newer one",
            field="chunk",
        )
    space = document.get("embedding_space")
    if not isinstance(space, str):
        raise record.damaged("the embedding space is missing")
    size = document.get("embedding_size") if document["format"] > 1 else FORMER_EMBEDDING_SIZE
    if not isinstance(size, int) or not 1 <= size <= _MOST_NUMBERS:
        raise record.damaged(f"the embedding size is {size!r:.80}")
    values = values_of(record, document.get("collection"), collections)
    _within(record, check_collection_id, values["id"])
    _within(record, check_settings, _settings(record, values))
    codecs = _texts(record, document.get("codecs"), "codecs")
    return Header(values.pop("id"), values, space, size, codecs)


def parse_subject(record: Record) -> ArchivedSubject:
    """Parse a subject, without the faces that follow; raises as `parse_face`."""
    given = _texts(record, record.document.get("labels"), "labels")
    labels = tuple(dict.fromkeys(map(canonical, given)))
    document = {name: value for name, value in record.document.items() if name != "labels"}
    values = values_of(record, document, subjects)
    values["id"] = _within(record, checked_id, values["id"], "id")
    _within(record, check_range, values["revision"], 1, MAX_REVISION, "revision")
    if not isinstance(values["metadata"], dict):
        raise record.damaged("metadata are no JSON object")
    _texts(record, list(values["metadata"].values()), "metadata", different=False)
    about: Any = {
        name: values[name] for name in SubjectChanges.__annotations__ if name in values
    } | {"labels": labels}
    _within(record, check_changes, about)
    return ArchivedSubject(record, values, labels)


def parse_face(record: Record, size: int) -> ArchivedFace:
    """Parse a face.

    Args:
        record: the record.
        size: dimension of its embedding.

    Raises:
        InvalidInput: ARCHIVE_DAMAGED; a field is missing, unknown, or breaks a limit.
    """
    png_bytes = record.document.get("png_bytes")
    is_whole = isinstance(png_bytes, int) and png_bytes > 0
    if not is_whole or png_bytes != len(record.blob) - 4 * size:
        raise record.damaged(
            f"map and embedding have {len(record.blob)} bytes, where {png_bytes!r:.80} and "
            f"{4 * size} are announced"
        )
    document = {name: value for name, value in record.document.items() if name != "png_bytes"}
    values = values_of(record, document, faces) | {"png": record.blob[:png_bytes]}
    _within(record, check_text, values["id"], "id")
    _within(
        record,
        check_map,
        values["codec_id"],
        values["png"],
        values["quality"],
        values["captured_at"],
    )
    vector = np.frombuffer(record.blob[png_bytes:], "<f4")
    return ArchivedFace(values, _within(record, as_embedding, vector, size))


def _within(record: Record, check: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Return the result of a check, turning its errors into damage to the record."""
    try:
        return check(*args, **kwargs)
    except InvalidInput as error:
        raise record.damaged(error.message) from None


def _settings(record: Record, values: dict[str, Any]) -> CollectionSettings:
    if values["subject_score"] not in list(SubjectScore):
        raise record.damaged(f"the field 'subject_score' is {values['subject_score']!r:.80}")
    return {
        "max_fpir": values["max_fpir"],
        "max_fmr": values["max_fmr"],
        "sighting_retention_s": values["sighting_retention_s"],
        "max_subjects": values["max_subjects"],
        "max_faces": values["max_faces"],
        "subject_retention_s": values["subject_retention_s"],
    }


def _texts(record: Record, texts: object, name: str, *, different: bool = True) -> tuple[str, ...]:
    if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
        raise record.damaged(f"{name} are no texts")
    if different and len(set(texts)) != len(texts):
        raise record.damaged(f"{name} hold something twice")
    return tuple(texts)
