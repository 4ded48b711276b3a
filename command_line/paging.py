"""Read all pages of a listing."""

from collections.abc import Callable, Iterator
from typing import Any


def pages(fetch: Callable[..., Any], **arguments: Any) -> Iterator[Any]:
    """Yield every page of a listing."""
    token = ""
    while True:
        page = fetch(**arguments, page_token=token)
        yield page
        token = page.next_page_token
        if not token:
            return
