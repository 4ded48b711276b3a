"""Invented and damaged input gets typed errors; `tests.faults.fuzz` sends a million of it."""

from pathlib import Path

import pytest

from tests.faults.fuzz import METHODS, Outcome, fuzz, fuzz_files, fuzz_methods, maps

pytestmark = pytest.mark.asyncio(loop_scope="session")


def crashes(found: list[Outcome]) -> list[Outcome]:
    return [each for each in found if each.crash]


async def test_files(tmp_path: Path) -> None:
    found = fuzz_files(800, tmp_path)
    assert [each.target for each in found] == ["maps", "pictures", "archives"]
    assert not crashes(found)


@pytest.mark.timeout(300)
async def test_calls(tmp_path: Path) -> None:
    found = await fuzz_methods(6, tmp_path)
    assert len(found) == len(METHODS)
    assert not crashes(found)


async def test_a_crash_is_found_and_told() -> None:
    inputs, read = maps()

    def fails(data: bytes) -> None:
        read(data)
        if len(data) > 3:
            raise KeyError(len(data))

    found = fuzz("maps", inputs, fails, 100)
    assert "KeyError" in found.crash
    assert found.inputs < 100 + 1000
