"""A loss of power, as a process sees it: what it wrote to a folder and did not sync is gone.

`kill -9` cannot show a missing fsync, for the kernel keeps what was written. A library that is
loaded before all others copies each file at every fsync; the copies are what would be left.
"""

import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

_SOURCE = Path(__file__).with_name("power_loss.c")


@dataclass(frozen=True, slots=True)
class PowerLoss:
    """Watches over one folder.

    Attributes:
        folder: whose files are watched.
        environment: to be set for the process.
    """

    folder: Path
    environment: dict[str, str]
    _kept: Path

    def left(self, target: Path) -> Path:
        """What a loss of power at this moment would leave of the folder, as a new folder."""
        target.mkdir()
        names = self._kept / "names"
        for name in names.read_text().splitlines() if names.exists() else ():
            content = self._kept / "content" / name
            (target / name).write_bytes(content.read_bytes() if content.exists() else b"")
        return target


def watch(folder: Path, scratch: Path) -> PowerLoss:
    """Compile the library and prepare to watch a folder, which need not exist.

    Args:
        folder: whose files are watched.
        scratch: an empty folder for what it needs.
    """
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("no C compiler is installed")
    library = scratch / "power_loss.so"
    command = (compiler, "-shared", "-fPIC", "-O1", "-o", library, _SOURCE, "-ldl", "-pthread")
    subprocess.run(command, check=True)
    kept = scratch / "kept"
    (kept / "content").mkdir(parents=True)
    environment = {
        "LD_PRELOAD": str(library),
        "POWER_LOSS_OF": str(folder.resolve()),
        "POWER_LOSS_KEPT": str(kept),
    }
    return PowerLoss(folder, environment, kept)
