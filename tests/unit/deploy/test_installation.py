"""What each extra of the distribution is enough for: modules of others are hidden."""

import re
import subprocess
import sys
import tomllib
from importlib import metadata
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
EXTRAS = PROJECT["optional-dependencies"]

HIDING = """
import importlib.abc, sys

class Hiding(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {hidden!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)

sys.meta_path.insert(0, Hiding())
sys.argv[0] = "compactface"
{program}
"""
CLIENT = "import compactface.client, compactface.client.aio"
PROGRAM = "from command_line.__main__ import main; main()"


def name_of(requirement: str) -> str:
    return re.match(r"[\w.-]+", requirement).group().lower().replace("_", "-")


def installed_with(requirements: list[str]) -> set[str]:
    """The distributions that pip brings for these requirements, extras of theirs not counted."""
    found: set[str] = set()
    waiting = list(requirements)
    while waiting:
        requirement = waiting.pop()
        if requirement.startswith("compactface["):
            waiting += EXTRAS[requirement[len("compactface[") : -1]]
            continue
        name = name_of(requirement)
        if name in found or "extra ==" in requirement:
            continue
        try:
            waiting += metadata.requires(name) or []
        except metadata.PackageNotFoundError:
            continue  # for another platform
        found.add(name)
    return found


def run(program: str, extras: list[str], *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run `program` as if only the distribution with these extras had been installed."""
    allowed = installed_with(
        [*PROJECT["dependencies"], *(f"compactface[{extra}]" for extra in extras)]
    )
    hidden = {
        module
        for module, distributions in metadata.packages_distributions().items()
        if not allowed.intersection(each.lower().replace("_", "-") for each in distributions)
        and "compactface" not in distributions
    }
    assert "pytest" in hidden
    return subprocess.run(
        [sys.executable, "-c", HIDING.format(hidden=hidden, program=program), *arguments],
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
    )


def test_the_client_alone_brings_grpc_and_protobuf_and_nothing_else() -> None:
    assert {name_of(each) for each in PROJECT["dependencies"]} == {
        *("grpcio", "protobuf", "googleapis-common-protos"),
    }
    done = run(CLIENT, [])
    assert done.returncode == 0, done.stderr


def test_the_client_loads_nothing_that_is_installed_beside_it() -> None:
    loaded = f"import sys; {CLIENT}; print(*{{name.split('.')[0] for name in sys.modules}})"
    done = subprocess.run(
        [sys.executable, "-c", loaded], capture_output=True, text=True, check=True, cwd=ROOT
    )
    heavy = {"torch", "numpy", "PIL", "pydantic", "structlog", "typer", "sqlalchemy", "shared"}
    assert heavy.isdisjoint(done.stdout.split())


def test_the_program_without_its_extra_says_what_to_install() -> None:
    done = run(PROGRAM, [], "--version")
    assert done.returncode == 1
    assert re.fullmatch(
        r"the program compactface needs \w+; install it: pip install 'compactface\[cli\]'\n",
        done.stderr,
    )


@pytest.mark.parametrize(
    ("extra", "command"),
    [
        ("cli", ["--help"]),
        ("cli", ["identify", "--help"]),
        ("cli", ["gallery", "import", "--help"]),
        ("encoder", ["serve", "encoder", "--help"]),
        ("recognizer", ["serve", "recognizer", "--help"]),
    ],
)
def test_a_command_runs_with_its_extra(extra: str, command: list[str]) -> None:
    done = run(PROGRAM, [extra], *command)
    assert done.returncode == 0, done.stderr
    assert "Usage: compactface" in done.stdout


@pytest.mark.parametrize(
    ("extra", "server"),
    [("encoder", "encoder_service.server"), ("recognizer", "recognizer_service.server")],
)
def test_a_service_loads_with_its_extra(extra: str, server: str) -> None:
    done = run(f"import {server}", [extra])
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("service", ["encoder", "recognizer", "web"])
def test_a_service_without_its_extra_says_what_to_install(service: str) -> None:
    done = run(PROGRAM, ["cli"], "serve", service)
    assert done.returncode == 1
    assert f"pip install 'compactface[{service}]'" in done.stderr
