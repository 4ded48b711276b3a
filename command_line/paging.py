"""Reading a listing of the recognizer to its end."""

from collections.abc import Callable, Iterator
from typing import Any


def pages(fetch: Callable[..., Any], **arguments: Any) -> Iterator[Any]:
    """Every page of a listing, as long as an answer names another."""
    token = ""
    while True:
        page = fetch(**arguments, page_token=token)
        yield page
        token = page.next_page_token
        if not token:
            return
