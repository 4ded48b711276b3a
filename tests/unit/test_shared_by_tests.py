"""What tests share stands in modules that say what it is, not in files of tests."""

import ast
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]


def imported(source: Path) -> Iterator[str]:
    """The modules that a file imports, and the names that it takes out of them."""
    for node in ast.walk(ast.parse(source.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def test_nothing_is_imported_from_a_file_of_tests() -> None:
    found = [
        (str(source.relative_to(ROOT)), name)
        for source in (ROOT / "tests").rglob("*.py")
        for name in imported(source)
        if name.startswith("tests.") and ".test_" in name
    ]
    assert not found
