"""Pages of a listing ordered by id or key.

A page token is the last id or key of the previous page, so that inserts and deletes between two
pages neither repeat nor hide other rows.
"""

import base64
import binascii
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from sqlalchemy import ColumnElement, Connection, Select

from recognizer_service.gallery.limits import MAX_PAGE_SIZE, check_range, shown
from recognizer_service.gallery.storage.schema import MAX_KEY
from shared.errors import InvalidInput

_VERSION = "1:"
RecordT = TypeVar("RecordT")
PlaceT = TypeVar("PlaceT")


@dataclass(frozen=True, slots=True)
class Page(Generic[RecordT]):
    """One page of a listing.

    Attributes:
        items: at most the requested number, in a stable order.
        next_page_token: token of the next page; "" if this is the last.
    """

    items: tuple[RecordT, ...]
    next_page_token: str


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
    """Return one page of a query whose first column is the id or key it is ordered by.

    Args:
        connection: to read on.
        query: selects all rows of the listing.
        by: its first column.
        record: converts a row.
        size: maximum number of rows, 1 to 1000.
        token: token of the previous page; "" for the first page.
        parse: parses a value of `by` from its text.

    Raises:
        InvalidInput: the size is outside 1 to 1000, or the token is invalid.
    """
    check_range(size, 1, MAX_PAGE_SIZE, "page_size")
    if token:
        query = query.where(by > parse_token(token, parse))
    rows: Sequence[Any] = connection.execute(query.order_by(by).limit(size + 1)).all()
    more = len(rows) > size
    rows = rows[:size]
    return Page(tuple(record(row) for row in rows), page_token(str(rows[-1][0])) if more else "")


def page_token(last: str) -> str:
    """Return the token of a page that ended at an id or key."""
    return base64.urlsafe_b64encode((_VERSION + last).encode()).decode()


def parse_token(token: str, parse: Callable[[str], PlaceT], *, field: str = "page_token") -> PlaceT:
    """Decode a page token.

    Args:
        token: made by `page_token`.
        parse: parses the text; raises ValueError.
        field: of the request, for the error.

    Raises:
        InvalidInput: INVALID_PAGE_TOKEN, or the equivalent for the field.
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


def parse_key(text: str) -> int:
    """Parse a key from a page token; raises ValueError."""
    key = int(text)
    if not 0 <= key <= MAX_KEY:
        raise ValueError(f"{key} is no key")
    return key
