"""The page on troubleshooting: every reason in the code, and what to do about it."""

import re
import tomllib
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path

from manual.reasons import Raised, raised
from web_gateway.problems import status_of

CATALOGUE = Path(__file__).with_name("reasons.toml")
_FEWEST_WORDS = 3
_INTRODUCTION = """# Troubleshooting by error reason

Every error has a *reason*: gRPC's `ErrorInfo.reason`, `reason` in the web gateway's JSON, the word
before the colon in what `compactface` prints, and `error.reason` in Python. Reasons do not change
between versions; messages may. This page lists all reasons in the code, with the messages ("…"
stands for a value), the status, and what to do.

An error without a reason of its own has its status code instead, such as UNAVAILABLE or
DEADLINE_EXCEEDED: the call did not reach the service, or no answer came in time. Then check the
address, that the service runs (`compactface health --target HOST:PORT`), and that both sides use
TLS or neither does.

Each call has a request id. It is in the log lines of all services concerned, and in Python in
`error.request_id`.
"""


def catalogue() -> dict[str, dict[str, str]]:
    """What to do about each reason, by section."""
    with CATALOGUE.open("rb") as file:
        return tomllib.load(file)


def page() -> str:
    """The page as Markdown."""
    found = {reason: list(places) for reason, places in groupby(raised(), lambda each: each.reason)}
    return "\n".join([_INTRODUCTION, *_sections(found)])


def _sections(found: dict[str, list[Raised]]) -> Iterator[str]:
    for section, reasons in catalogue().items():
        yield f"## {section}\n"
        for reason, advice in sorted(reasons.items()):
            places = found[reason]
            yield f"### {reason}\n"
            yield f"{_statuses(reason, places)}\n"
            yield from (f"> {message}\n" for message in _messages(places))
            yield f"{advice}\n"


def _statuses(reason: str, places: list[Raised]) -> str:
    """Status codes, HTTP's and who raises it, on one line."""
    codes = sorted({each.code for each in places if each.code})
    served = {status_of(code, reason) for code in codes} | {
        each.status for each in places if each.status
    }
    parts = sorted({each.part for each in places if each.part})
    words = [*(f"`{code}`" for code in codes), *(f"HTTP {int(each)}" for each in sorted(served))]
    return " · ".join([*words, *parts])


def _messages(places: list[Raised]) -> list[str]:
    """The messages with words of their own, as Markdown."""
    texts = dict.fromkeys(each.message for each in places)
    return [
        re.sub(r"([\\*_<>\[\]])", r"\\\1", text)
        for text in texts
        if len(re.findall(r"\w+", text)) >= _FEWEST_WORDS and not text.endswith("… …")
    ]
