"""Verify and unpack the bundle in this folder, and train.

python3 train.py --help

It uses only the standard library; `shared.training.bundle_training` does the rest.
"""

import argparse
import hashlib
import io
import json
import os
import shutil
import sys
import tarfile
import time
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

HERE = Path(__file__).absolute().parent


def main() -> None:
    """Unpack into `--work` unless done before, and pass all arguments on."""
    parser = argparse.ArgumentParser(add_help=False)
    parser.add_argument("--work", type=Path, default=Path("work"))
    parser.add_argument("--rehearse", action="store_true")
    given, _ = parser.parse_known_args()
    unpacked = given.work / "bundle"
    while given.rehearse and not unpacked.exists():  # the training unpacks it
        time.sleep(1)
    if not unpacked.exists():
        partial = given.work / "bundle.partial"
        shutil.rmtree(partial, ignore_errors=True)
        unpack(checked_parts(HERE), partial)
        partial.replace(unpacked)
    paths = [unpacked.resolve() / "packages", unpacked.resolve() / "code"]
    paths += filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(map(str, paths)),
        # Shared by a rehearsal and the training, and by runs that continue one another.
        "TORCHINDUCTOR_CACHE_DIR": str(given.work.absolute() / "compiled"),
        # A compiler failure costs speed, but does not end the run.
        "TORCHDYNAMO_SUPPRESS_ERRORS": "1",
    }
    command = [sys.executable, "-m", "shared.training.bundle_training", *sys.argv[1:]]
    os.execve(sys.executable, command, environment)  # noqa: S606 - our own interpreter and module


def checked_parts(folder: Path) -> list[Path]:
    """The parts of the bundle in a folder; exits if a part is missing or damaged."""
    sums = json.loads((folder / "bundle.json").read_text())
    wrong = [name for name, digest in sums.items() if _sum(folder / name) != digest]
    if wrong:
        sys.exit(f"missing or damaged: {', '.join(wrong)}; bring these {len(wrong)} again")
    return [folder / name for name in sums]


def _sum(path: Path) -> str | None:
    if not path.is_file():
        return None
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def unpack(parts: Sequence[Path], folder: Path) -> None:
    """Unpack the archive that the parts form, and the packages in it."""
    with tarfile.open(fileobj=io.BufferedReader(_Chain(parts)), mode="r|") as tar:
        tar.extractall(folder, filter="data")
    for wheel in folder.glob("wheels/*.whl"):
        with zipfile.ZipFile(wheel) as archive:
            archive.extractall(folder / "packages")  # noqa: S202 - its sum was checked


class _Chain(io.RawIOBase):
    """Several files as one stream."""

    def __init__(self, paths: Sequence[Path]) -> None:
        self._chunks = self._read_all(paths)
        self._left = memoryview(b"")

    @staticmethod
    def _read_all(paths: Sequence[Path]) -> Iterator[bytes]:
        for path in paths:
            with path.open("rb") as file:
                while chunk := file.read(1 << 20):
                    yield chunk

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        if not self._left:
            self._left = memoryview(next(self._chunks, b""))
        count = min(len(buffer), len(self._left))
        buffer[:count] = self._left[:count]
        self._left = self._left[count:]
        return count


if __name__ == "__main__":
    main()
