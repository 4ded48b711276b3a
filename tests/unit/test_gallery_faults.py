"""What was acknowledged is there after a SIGKILL in the middle of any change of a gallery."""

import os
import random
from pathlib import Path

import pytest

from tests.faults.gallery_faults import Trial
from tests.faults.gallery_worker import DEEDS

KILLS = 4


@pytest.mark.parametrize("deed", DEEDS)
@pytest.mark.timeout(300)
def test_nothing_is_lost_and_nothing_returns(deed: str, tmp_path: Path) -> None:
    """`tests.faults.gallery_faults` does the same hundreds of times."""
    chance = random.Random(os.getpid())  # noqa: S311 - any moment will do
    trial = Trial(tmp_path)
    longest_s = 0.6
    while trial.findings.kills < KILLS or not trial.findings.facts:
        trial.kill_while(deed, delay_s=chance.uniform(0, longest_s))
        longest_s *= 1.5  # on a machine that is slow, so that something comes to be lost
    assert trial.findings.clean, trial.findings
