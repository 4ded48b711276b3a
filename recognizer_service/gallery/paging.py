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
PlaceT = TypeVar("PlaceT")


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
        query = query.where(by > parse_token(token, parse))
    rows: Sequence[Any] = connection.execute(query.order_by(by).limit(size + 1)).all()
    more = len(rows) > size
    rows = rows[:size]
    return Page(tuple(record(row) for row in rows), page_token(str(rows[-1][0])) if more else "")


def page_token(last: str) -> str:
    """The token of a page that ended at a place."""
    return base64.urlsafe_b64encode((_VERSION + last).encode()).decode()


def parse_token(token: str, parse: Callable[[str], PlaceT], *, field: str = "page_token") -> PlaceT:
    """The place that a token stands for.

    Args:
        token: made by `page_token`.
        parse: makes the place of its text; ValueError if it cannot.
        field: of the request, for the error.

    Raises:
        InvalidInput: INVALID_PAGE_TOKEN, or as the field is called.
    """
    try:
        text = base64.b64decode(token, altchars=b"-_", validate=True).decode()
        if text.startswith(_VERSION) and "\0" not in text:
            return parse(text.removeprefix(_VERSION))
    except (ValueError, binascii.Error):
        pass
    raise InvalidInput(
        f"INVALID_{field.upper()}",
        f"{field.replace('_', ' ')} {shown(token)} was not made by this service",
        field=field,
    )
