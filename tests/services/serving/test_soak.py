"""A few seconds of `tests.faults.soak`, and how it judges."""

from pathlib import Path

import pytest

from tests.faults.soak import Findings, Kept, Sample, soak


@pytest.mark.asyncio
@pytest.mark.timeout(300)
async def test_mixed_load_fails_nowhere(tmp_path: Path) -> None:
    found = await soak(tmp_path, 0.1)
    assert set(found.calls) == {"forward", "identify", "verify", "come_and_go", "list"}
    assert set(found.kept) == {"encoder", "recognizer"}
    assert found.clean, found


def test_growth_is_told() -> None:
    samples = [Sample(36.0 * n, 100 + n / 10, 20 + n, 10) for n in range(101)]
    kept = Kept.of(samples)
    assert kept.rss_slope_mb_per_hour == pytest.approx(10)
    assert kept.handles == (60, 120)
    assert kept.grew
    assert not Findings(1, kept={"encoder": kept}).clean
    assert not Kept(100, 10, (20, 28), (10, 12)).grew
