"""One spelling in what users read: enroll and enrollment, as in the protocol."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
OTHER_SPELLING = re.compile(r"\b[Ee]nrol(s|ments?)?\b")  # reasons, in capitals, are for programs
PROSE = [
    *ROOT.glob("*.md"),
    *ROOT.glob("docs/*.md"),
    *ROOT.glob("examples/**/*.md"),
    *ROOT.glob("report/*.md"),
    *ROOT.glob("protos/compactface/v1/*.proto"),
]
PACKAGES = (
    *("camera_gateway", "command_line", "encoder_service", "recognizer_service", "shared"),
    "web_gateway",
)


def messages(source: Path) -> Iterator[str]:
    """The strings of a module that are no docstrings: messages, help, what is printed."""
    tree = ast.parse(source.read_text(encoding="utf-8"))
    alone = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in alone:
            yield node.value


def docstrings(source: Path) -> Iterator[str]:
    """Of functions and classes; of commands they are the help."""
    tree = ast.parse(source.read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.ClassDef | ast.Module):
            yield ast.get_docstring(node) or ""


@pytest.mark.parametrize("path", PROSE, ids=lambda path: path.name)
def test_documents_spell_it_as_the_protocol_does(path: Path) -> None:
    assert not OTHER_SPELLING.findall(path.read_text(encoding="utf-8"))


@pytest.mark.parametrize("package", PACKAGES)
def test_so_do_messages(package: str) -> None:
    found = [
        (str(source), text)
        for source in (ROOT / package).rglob("*.py")
        for text in messages(source)
        if OTHER_SPELLING.search(text)
    ]
    assert not found


@pytest.mark.parametrize("package", ["command_line", "shared/compactface/client"])
def test_so_do_help_and_the_clients(package: str) -> None:
    found = [
        (str(source), text)
        for source in (ROOT / package).rglob("*.py")
        for text in docstrings(source)
        if OTHER_SPELLING.search(text)
    ]
    assert not found
