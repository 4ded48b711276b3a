"""Invented and damaged input gets typed errors; `tests.faults.fuzz` sends a million of it."""

import re
from pathlib import Path
from random import Random

import pytest

from tests.faults.fuzz import METHODS, fuzz_files, fuzz_methods, maps
from tests.faults.fuzzing import Outcome, by_hypothesis, fuzz, fuzz_made

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


def fails(data: bytes) -> None:
    if len(data) > 3:
        raise KeyError(len(data))


async def test_a_crash_is_found_and_told() -> None:
    make, _ = maps()
    found = fuzz("maps", by_hypothesis(make), fails, 100)
    assert "KeyError" in found.crash
    assert found.inputs < 100 + 1000


async def test_a_crash_of_a_made_file_can_be_repeated() -> None:
    make, _ = maps()
    found = fuzz_made("maps", make, fails, 100)
    (seed,) = re.findall(r"from Random\((\d+)\)", found.crash)
    with pytest.raises(KeyError) as again:
        fails(make(Random(int(seed))))  # noqa: S311 - not secret
    assert found.crash.startswith(f"KeyError: {again.value} from")
