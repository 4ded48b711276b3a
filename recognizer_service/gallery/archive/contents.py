"""Archive records as JSON: table rows as objects, without their keys.

A row is written with every column that is meaningful outside its gallery, by name. Adding a column
changes the format.
"""

import math
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Column, LargeBinary, Table

from recognizer_service.gallery.archive.format import Record
from recognizer_service.gallery.storage.schema import Instant

FORMAT = 2
"""Incremented when readers of the previous format could not read an archive.

Format 1 has only embeddings of `schema.FORMER_EMBEDDING_SIZE` numbers and does not state the size.
Archives with that size are still written in format 1.
"""

# Keys are local to a gallery, and counts follow from the content.
_LEFT_OUT = {"key", "collection_key", "subject_key", "subject_count", "face_count"}


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
    return {column.name: _to_json(values[column.name]) for column in archived_columns(table)}


def values_of(record: Record, document: object, table: Table) -> dict[str, Any]:
    """Return the values of a new row from the JSON object of a record.

    Raises:
        InvalidInput: ARCHIVE_DAMAGED; a field is missing, unknown or of the wrong type.
    """
    if not isinstance(document, Mapping):
        raise record.damaged(f"it holds no object that describes {table.name}")
    columns = {column.name: column for column in archived_columns(table)}
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
