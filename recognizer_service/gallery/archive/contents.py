"""The content of archive records: table rows as JSON objects without their keys, and checks of it.

A row is written with every column that is meaningful outside its gallery, by name. Adding a column
changes the format.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, ParamSpec, TypeVar

import numpy as np
from sqlalchemy import Column, LargeBinary, Table

from recognizer_service.gallery.archive.format import Record
from recognizer_service.gallery.collections import check_collection_id, check_settings
from recognizer_service.gallery.limits import (
    MAX_REVISION,
    as_embedding,
    canonical,
    check_changes,
    check_map,
    check_range,
    check_text,
    checked_id,
)
from recognizer_service.gallery.storage.schema import (
    FORMER_EMBEDDING_SIZE,
    Instant,
    collections,
    faces,
    subjects,
)
from recognizer_service.gallery.types import (
    CollectionSettings,
    Embedding,
    SubjectChanges,
    SubjectScore,
)
from shared.errors import InvalidInput

FORMAT = 2
"""Incremented when readers of the previous format could not read an archive.

Format 1 has only embeddings of `schema.FORMER_EMBEDDING_SIZE` numbers and does not state the size.
Archives with that size are still written in format 1.
"""

P = ParamSpec("P")
T = TypeVar("T")

_MOST_NUMBERS = 1 << 16  # a larger embedding would not fit into a record

# Keys are local to a gallery, and counts follow from the content. Archives hold no sightings, and
# whether those are grouped is decided anew.
_LEFT_OUT = {
    "key",
    "collection_key",
    "subject_key",
    "subject_count",
    "face_count",
    "max_stranger_fpir",
    "last_stranger",
}

# Fields that earlier versions do not know, with the value that is left out.
_LATER = {"min_liveness": 0.0}


def archived_columns(table: Table) -> list[Column[Any]]:
    """Return the columns that records of a table hold as JSON."""
    return [
        column
        for column in table.columns
        if column.name not in _LEFT_OUT and not isinstance(column.type, LargeBinary)
    ]


def document_of(row: Any, table: Table) -> dict[str, Any]:
    """Return a row, selected with `archived_columns`, as a JSON object."""
    values = row._mapping  # noqa: SLF001 - SQLAlchemy's public name for it
    document = {column.name: _to_json(values[column.name]) for column in archived_columns(table)}
    return {
        name: value
        for name, value in document.items()
        if name not in _LATER or value != _LATER[name]
    }


def values_of(record: Record, document: object, table: Table) -> dict[str, Any]:
    """Return the values of a new row from the JSON object of a record.

    Raises:
        InvalidInput: ARCHIVE_DAMAGED; a field is missing, unknown or of the wrong type.
    """
    if not isinstance(document, Mapping):
        raise record.damaged(f"it holds no object that describes {table.name}")
    columns = {column.name: column for column in archived_columns(table)}
    document = {**{name: _LATER[name] for name in _LATER if name in columns}, **document}
    if odd := document.keys() ^ columns.keys():
        raise record.damaged(f"the field {min(odd)!r:.80} is missing, or not one of {table.name}")
    return {name: _from_json(record, column, document[name]) for name, column in columns.items()}


def _to_json(value: Any) -> Any:
    return value.isoformat() if isinstance(value, datetime) else value


def _from_json(record: Record, column: Column[Any], value: object) -> Any:
    if value is None and column.nullable:
        return None
    if isinstance(column.type, Instant):
        if (moment := _moment(value)) is not None:
            return moment
    elif column.type.python_type is float:
        if (number := _number(value)) is not None:
            return number
    elif isinstance(value, column.type.python_type) and not isinstance(value, bool):
        return value
    raise record.damaged(f"the field {column.name!r} is {value!r:.80}")


def _number(value: object) -> float | None:
    """Return a finite number, integer or float."""
    try:
        number = float(value) if isinstance(value, int | float) else math.nan
    except OverflowError:  # from a large integer
        return None
    return number if math.isfinite(number) and not isinstance(value, bool) else None


def _moment(value: object) -> datetime | None:
    """Return a UTC time between the years 1 and 9999."""
    try:
        moment = datetime.fromisoformat(value) if isinstance(value, str) else None
        return moment.astimezone(UTC) if moment and moment.tzinfo else None
    except (ValueError, OverflowError):
        return None


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
        "min_liveness": values["min_liveness"],
        "subject_retention_s": values["subject_retention_s"],
    }


def _texts(record: Record, texts: object, name: str, *, different: bool = True) -> tuple[str, ...]:
    if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
        raise record.damaged(f"{name} are no texts")
    if different and len(set(texts)) != len(texts):
        raise record.damaged(f"{name} hold something twice")
    return tuple(texts)
