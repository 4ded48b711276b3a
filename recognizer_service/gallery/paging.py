"""Pages of a listing that is ordered by id or key.

A page token is the last of them of the page before, so rows that come or go between two pages
neither repeat nor hide others.
"""

import base64
import binascii
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from sqlalchemy import ColumnElement, Connection, Select

from recognizer_service.gallery.limits import MAX_PAGE_SIZE, check_range, shown
from recognizer_service.gallery.types import Page
from shared.errors import InvalidInput

_VERSION = "1:"
RecordT = TypeVar("RecordT")


def read_page(
    connection: Connection,
    query: Select[Any],
    *,
    by: ColumnElement[Any],
    record: Callable[[Any], RecordT],
    size: int,
    token: str,
    parse: Callable[[str], object] = str,
) -> Page[RecordT]:
    """One page of a query whose first column is the id or key it is ordered by.

    Args:
        connection: to read on.
        query: everything that is listed.
        by: its first column.
        record: what a row is answered as.
        size: rows, 1 to 1000.
        token: of the page before; "": the first.
        parse: makes a value of `by` from its text.

    Raises:
        InvalidInput: the size is outside 1 to 1000, or the token is not ours.
    """
    check_range(size, 1, MAX_PAGE_SIZE, "page_size")
    if token:
        query = query.where(by > _last(token, parse))
    rows: Sequence[Any] = connection.execute(query.order_by(by).limit(size + 1)).all()
    more = len(rows) > size
    rows = rows[:size]
    return Page(tuple(record(row) for row in rows), _token(str(rows[-1][0])) if more else "")


def _token(last_id: str) -> str:
    return base64.urlsafe_b64encode((_VERSION + last_id).encode()).decode()


def _last(token: str, parse: Callable[[str], object]) -> object:
    try:
        text = base64.b64decode(token, altchars=b"-_", validate=True).decode()
        if text.startswith(_VERSION) and "\0" not in text:
            return parse(text.removeprefix(_VERSION))
    except (ValueError, binascii.Error):
        pass
    raise InvalidInput(
        "INVALID_PAGE_TOKEN",
        f"page token {shown(token)} was not made by this service",
        field="page_token",
    )
