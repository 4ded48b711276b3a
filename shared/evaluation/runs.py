"""The record of every look at a test set, so that peeking shows."""

import json
import subprocess
from dataclasses import asdict
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

from shared.evaluation.result import Result


def append_run(path: Path, result: Result, *, command: str) -> None:
    """Add one line of JSON: date (UTC), command, version of the software, and the result.

    Args:
        path: a file of JSON lines; made with its folder if missing, never rewritten.
        result: what was found.
        command: what was typed.
    """
    run = {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": command,
        "version": version("compactface"),
        **asdict(result),
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps(run) + "\n")


def software_commit() -> str:
    """The commit that this software is at, with "-dirty" if files differ; or "unknown"."""
    try:
        said = subprocess.run(
            ["git", "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"],  # noqa: S607
            cwd=Path(__file__).parent,
            capture_output=True,
            check=True,
            text=True,
        )
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return said.stdout.strip()
