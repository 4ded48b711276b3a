"""Output of results: tables for people, JSON for programs."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from shared.private_files import private_file

if TYPE_CHECKING:
    from google.protobuf.message import Message
    from google.protobuf.timestamp_pb2 import Timestamp
    from pydantic import JsonValue

    from compactface.v1.compact_map_pb2 import Box
    from compactface.v1.gallery_pb2 import Disagreement
    from compactface.v1.recognizer_pb2 import AppliedThreshold, Candidate


_FILE_WIDTH = 120


def open_console() -> Console:
    """A console on standard output, with a minimum width if it is not a terminal."""
    console = Console(highlight=False)
    return console if console.is_terminal else Console(highlight=False, width=_FILE_WIDTH)


def show_table(columns: Sequence[str], rows: Sequence[Sequence[str]], *, title: str = "") -> None:
    """Print a table without markup; columns whose name starts with ">" are right-aligned."""
    table = Table(title=Text(title) if title else None)
    for column in columns:
        right = column.startswith(">")
        # File names wrap rather than being cut.
        table.add_column(
            column.removeprefix(">"), justify="right" if right else "left", overflow="fold"
        )
    for row in rows:
        table.add_row(*map(Text, row))
    open_console().print(table)


def show_facts(title: str, facts: "JsonValue") -> None:
    """Print JSON as tables: one for scalars, and one per list or mapping of records.

    Other lists are omitted.
    """
    single: dict[str, str] = {}
    for name, value in (facts if isinstance(facts, dict) else {"": facts}).items():
        records = _records(value)
        if records:
            show_table(
                list(records[0]), [list(row.values()) for row in records], title=f"{title}: {name}"
            )
        elif not isinstance(value, list):
            single |= _flat(value, name)
    if single:
        show_table(["", ""], [[name, value] for name, value in single.items()], title=title)


def _records(value: "JsonValue") -> list[dict[str, str]]:
    """Rows of a table with equal columns; empty if the value is not a table."""
    if isinstance(value, list):
        rows = [_flat(item) for item in value if isinstance(item, dict)]
    elif isinstance(value, dict):
        named = [(name, item) for name, item in value.items() if isinstance(item, dict)]
        rows = [{"": name} | _flat(item) for name, item in named]
    else:
        return []
    complete = len(rows) == len(value) and all(row.keys() == rows[0].keys() for row in rows)
    return rows if complete else []


def _flat(value: "JsonValue", name: str = "") -> dict[str, str]:
    """Leaves of nested mappings by their path, e.g. "score accuracy"."""
    if isinstance(value, dict):
        return {
            way: leaf
            for key, item in value.items()
            for way, leaf in _flat(item, f"{name} {key}".strip()).items()
        }
    return {name: f"{value:.5g}" if isinstance(value, float) else str(value)}


def show_json(document: Any) -> None:
    """Print JSON."""
    typer.echo(json.dumps(document, indent=2))


def as_json(message: "Message") -> Mapping[str, Any]:
    """The protocol's JSON form of a message, with original field names and base64 bytes."""
    from google.protobuf.json_format import MessageToDict

    return MessageToDict(
        message, preserving_proto_field_name=True, always_print_fields_with_no_presence=True
    )


def box_text(box: "Box") -> str:
    """Position and size of a box, e.g. "91x120 at 204,61"."""
    return f"{box.width:.0f}x{box.height:.0f} at {box.x:.0f},{box.y:.0f}"


def threshold_text(threshold: "AppliedThreshold") -> str:
    """A threshold with its error rate, e.g. "0.412 (FMR 1e-03)".

    And its allowance for common flaws, e.g. "; raised by 0.11: both blur".
    """
    rate = f" (FMR {threshold.fmr:.0e})" if threshold.fmr else ""
    alike = ", ".join(threshold.alike).replace("_", " ")
    raised = f"; raised by {threshold.allowance:.2f}: both {alike}" if alike else ""
    return f"{threshold.similarity:.3f}{rate}{raised}"


def candidate_text(candidate: "Candidate") -> str:
    """A subject's id, with its display name if it has one."""
    name = candidate.display_name
    return f"{candidate.subject_id} ({name})" if name else candidate.subject_id


def time_text(timestamp: "Timestamp") -> str:
    """A time to the minute, e.g. "2026-11-23 08:15 UTC"."""
    return f"{timestamp.ToDatetime():%Y-%m-%d %H:%M UTC}"


def disagreement_text(found: "Disagreement") -> str:
    """Why a new face is doubtful, e.g. "unlike the subject's other faces (0.12, below 0.41)"."""
    return f"unlike the subject's other faces ({found.similarity:.2f}, below {found.threshold:.2f})"


def decision_text(name: str) -> str:
    """A decision in words, e.g. "no match" for IDENTIFY_DECISION_NO_MATCH."""
    return name.split("_DECISION_", 1)[1].replace("_", " ").lower()


def figure_text(value: float, spec: str, *, withheld: bool) -> str:
    """A figure of an answer; it is withheld from callers without the scope `admin`."""
    return "withheld" if withheld else format(value, spec)


def write_picture(path: Path, png: bytes) -> None:
    """Write a PNG with private permissions; an unwritable path is a usage error."""
    try:
        with private_file(path) as file:
            file.write(png)
    except OSError as error:
        raise typer.BadParameter(f"--out {path}: {error.strerror}") from None
