"""report/reliability.json and reliability.md: what attacks, faults, overload and time do.

Each figure comes from a command of the Makefile, which this runs with the given bounds. It ends
with 1 if a fact was lost, something crashed, or a call got through that should not::

    python -m tests.faults.reliability --report report

Some parts take hours at full length. A part that is not named keeps what the report has of it, if
it has anything::

    python -m tests.faults.reliability --report report --part soak --soak-minutes 30
"""

import argparse
import json
import shlex
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

from tests.benchmarks.gallery_report import Origin

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True, slots=True)
class Part:
    """One command and what it found.

    Attributes:
        command: for a shell in the project's root.
        seconds: that it took.
        found: the JSON that it printed or wrote.
        clean: whether it ended with 0.
        origin: commit, time, machine and its load at the end.
    """

    command: str
    seconds: int
    found: dict[str, Any]
    clean: bool
    origin: Origin


def run(*arguments: str, file: Path | None = None) -> Part:
    """Run a module of the tests.

    Args:
        arguments: the module and its arguments.
        file: holds its JSON at the end; None: its output does.
    """
    given = ["-m", *arguments]
    began = time.monotonic()
    done = subprocess.run(
        [sys.executable, *given], cwd=ROOT, stdout=subprocess.PIPE, text=True, check=False
    )
    text = file.read_text() if file else done.stdout
    seconds = round(time.monotonic() - began)
    command = shlex.join(["python", *given])
    return Part(command, seconds, _last_json(text), not done.returncode, Origin.here())


def _last_json(text: str) -> dict[str, Any]:
    """Parse the object at the end of a text; services may have logged before it."""
    lines = text.splitlines(keepends=True)
    starts = [number for number, line in enumerate(lines) if line.startswith("{")]
    for start in starts:
        try:
            found: dict[str, Any] = json.loads("".join(lines[start:]))
        except json.JSONDecodeError:
            continue
        return found
    return {}


def denials() -> Part:
    """Every method against every kind of caller."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "results.xml"
        tests = "tests/services/serving/test_authorization.py"
        part = run("pytest", "-q", tests, f"--junitxml={file}", file=file)
        (suite,) = ET.parse(file).getroot()  # noqa: S314 - our own
    total = int(suite.attrib["tests"])
    wrong = int(suite.attrib["failures"]) + int(suite.attrib["errors"])
    found = {"denied_as_expected": total - wrong, "denied_total": total}
    return replace(part, command=f"python -m pytest {tests}", found=found)


def overload(seconds: float) -> Part:
    """Goodput at two and four times capacity."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "overload.json"
        module = "tests.benchmarks.bench_overload"
        part = run(module, "--seconds", str(seconds), "--json", str(file), file=file)
    return replace(part, command=f"python -m {module} --seconds {seconds:g}")


def figures(parts: Mapping[str, Part]) -> dict[str, Any]:
    """The figures of the report, by name."""
    gallery, both, line = (parts[name].found for name in ("gallery", "both", "line"))
    soak = parts["soak"].found
    return {
        "kills": gallery["kills"] + both["encoder_kills"] + both["recognizer_kills"],
        "power_losses": both["power_losses"],
        "facts_acknowledged": gallery["facts"]
        + both["accepted"]
        + both["enrolled"]
        + both["deleted"]
        + line["accepted"]
        + line["enrolled"],
        "facts_lost": len(gallery["facts_lost"])
        + len(gallery["deleted_returned"])
        + both["lost"]
        + both["doubled"]
        + both["returned"]
        + line["lost"]
        + line["doubled"],
        "packets_lost": line["packets_lost"],
        "calls_late": line["late"],
        "fuzz_inputs": parts["fuzz"].found["fuzz_inputs"],
        "crashes": parts["fuzz"].found["crashes"],
        "goodput_at_2x": parts["overload"].found["goodput_at_2x"],
        "goodput_at_4x": parts["overload"].found["goodput_at_4x"],
        **parts["throughput"].found,
        "goodput_beside_a_flood": parts["overload"].found["beside_a_flood"],
        "rss_slope_mb_per_hour": {
            name: kept["rss_slope_mb_per_hour"] for name, kept in soak["kept"].items()
        },
        "soak_minutes": soak["minutes"],
        "handles": {name: kept["handles"] for name, kept in soak["kept"].items()},
        "threads": {name: kept["threads"] for name, kept in soak["kept"].items()},
        "wal_mb": soak["wal_mb"],
        **parts["denials"].found,
        "climb_calls": parts["climb"].found["calls"],
        "climb_reached": parts["climb"].found["reached"],
    }


_INTRODUCTION = """# Reliability

Measured by `python -m tests.faults.reliability --report report`, each part at its own time. In a
soak of minutes the slope of memory includes what caches take at first. Ratios and goodput are low
where other work ran beside: see the load."""


def markdown(report: Mapping[str, Any]) -> str:
    """The report for people."""
    lines = [
        *_INTRODUCTION.splitlines(),
        "",
        "| figure | value |",
        "|---|---|",
        *(f"| {name} | {_shown(value)} |" for name, value in report["figures"].items()),
        "",
        "| part | command | seconds | clean | commit | time | machine, load |",
        "|---|---|---|---|---|---|---|",
        *(
            f"| {name} | `{part['command']}` | {part['seconds']} | "
            f"{'yes' if part['clean'] else '**no**'} | {part['origin']['commit'][:12]} | "
            f"{part['origin']['time']} | {part['origin']['machine']}, {part['origin']['load']} |"
            for name, part in report["parts"].items()
        ),
        "",
    ]
    return "\n".join(lines)


def _shown(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name} {_shown(each)}" for name, each in value.items())
    if isinstance(value, list):
        return " → ".join(map(str, value))
    return {True: "yes", False: "no"}[value] if isinstance(value, bool) else f"{value:,}"


def main() -> int:
    """Run everything, or some parts, and write the report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--report", type=Path, default=Path("report"))
    parser.add_argument("--part", action="append", help="repeatable; default: all")
    parser.add_argument("--kills", type=int, default=20, help="of the gallery, and again of both")
    parser.add_argument("--line-seconds", type=int, default=30)
    parser.add_argument("--inputs", type=int, default=15_000)
    parser.add_argument("--climb", type=int, default=1_000)
    parser.add_argument("--soak-minutes", type=float, default=1.5)
    parser.add_argument("--overload-seconds", type=float, default=3)
    options = parser.parse_args()
    kills = str(options.kills)
    commands: dict[str, Callable[[], Part]] = {
        "gallery": lambda: run("tests.faults.gallery_faults", "--kills", kills),
        "both": lambda: run("tests.faults.uplink_faults", "--kills", kills),
        "line": lambda: run("tests.faults.line_faults", "--seconds", str(options.line_seconds)),
        "fuzz": lambda: run("tests.faults.fuzz", "--inputs", str(options.inputs)),
        "denials": denials,
        "climb": lambda: run("tests.faults.climb", "--calls", str(options.climb)),
        "soak": lambda: run("tests.faults.soak", "--minutes", str(options.soak_minutes)),
        "throughput": lambda: run("tests.benchmarks.bench_throughput"),
        "overload": lambda: overload(options.overload_seconds),
    }
    wanted = options.part or list(commands)
    if unknown := set(wanted) - set(commands):
        parser.error(f"unknown part {', '.join(sorted(unknown))}; known: {', '.join(commands)}")
    path = options.report / "reliability.json"
    kept = json.loads(path.read_text(encoding="utf-8"))["parts"] if options.part else {}
    parts = {
        name: command() if name in wanted or name not in kept else _kept_part(kept[name])
        for name, command in commands.items()
    }
    report = {
        "figures": figures(parts),
        "parts": {
            name: asdict(part) | {"origin": part.origin.model_dump()}
            for name, part in parts.items()
        },
    }
    path.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    (options.report / "reliability.md").write_text(markdown(report), encoding="utf-8")
    return int(not all(part.clean for part in parts.values()))


def _kept_part(kept: dict[str, Any]) -> Part:
    return Part(**kept | {"origin": Origin.model_validate(kept["origin"])})


if __name__ == "__main__":
    sys.exit(main())
