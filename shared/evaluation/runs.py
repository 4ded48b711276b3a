"""A log of all evaluations on a test set, so that overuse is visible."""

import json
import subprocess
from dataclasses import asdict
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

from shared.evaluation.result import Result


def append_run(path: Path, result: Result, *, command: str) -> None:
    """Append a JSON line: date (UTC), command, software version, and result.

    Args:
        path: a JSON Lines file, created with its folder if missing, append-only.
        result: the result.
        command: the command line.
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
    """The commit of this software, with "-dirty" if files were changed; or "unknown"."""
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
