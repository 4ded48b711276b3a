"""Everything that training needs, in files small enough to be carried to a machine without network.

The files are parts of one tar archive, whose members are the training faces as WebP with what the
teachers said of them, recipes, this code and, if asked for, the packages that it needs. Beside
them lie `bundle.json`, their sums, and `train.py`, which checks, unpacks and trains.

compactface train bundle
"""

import hashlib
import importlib.metadata
import io
import json
import shutil
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

import shared
from shared.errors import InvalidTraining
from shared.training import start_elsewhere
from shared.training.faces import NAMES_FILE, TEACHER_FILE, YAW_FILE, Faces
from shared.training.pieces import cut_into_pieces
from shared.training.recipe import read_recipe, recipe_path
from shared.training.split import split_faces
from shared.training.stages import STAGES
from shared.training.teacher_file import TeacherFile
from shared.training.views import NO_VIEWS, VIEWS_FILE, Views

PART_BYTES = 60_000_000
# Measured on 300 faces: 2.9 kB a face, where lossless WebP takes 11.9 and JPEG of the same fidelity
# 3.3; teachers see them at a cosine of 0.9975 to the originals (0.994 at 90 and 2.2 kB).
_QUALITY, _EFFORT = 95, 4
_FACES_A_MEMBER = 1000
# numpy comes with torch, which the machine there has.
_PACKAGES = ("pydantic", "rich", "safetensors", "onnx", "pillow")
_PLATFORMS = [f"manylinux{name}_x86_64" for name in ("_2_28", "_2_27", "_2_17", "2014")]


@dataclass(frozen=True, slots=True)
class Bundle:
    """What was written.

    Attributes:
        files: all of them.
        faces: training faces in it; held-out ones stay at home.
        views: mixtures in it.
        sizes: bytes in the archive by the first folder of its members.
    """

    files: list[Path]
    faces: int
    views: int
    sizes: dict[str, int]


def make_bundle(
    out: Path,
    *,
    faces: Faces,
    views: Views = NO_VIEWS,
    recipes: dict[str, Path],
    teachers: Sequence[TeacherFile] = (),
    runs: Sequence[Path] = (),
    python: str | None = None,
    part_bytes: int = PART_BYTES,
) -> Bundle:
    """Write a bundle.

    Args:
        out: folder of the files; must be empty or missing.
        faces: training faces with the teachers' embeddings.
        views: mixtures of them.
        recipes: of the stages to train, in their order, by name of the stage.
        teachers: for recipes that ask them about reconstructions.
        runs: run folders that stages go on from or build upon; averaged weights are taken along.
        python: version for which packages are taken along, on Linux and x86-64, e.g. "3.12"; None
            where the machine has them.
        part_bytes: largest file.

    Raises:
        InvalidTraining: `out` holds something, a recipe is wrong or asks a teacher that is not
            named, a run folder holds no run, or a package cannot be fetched.
    """
    if out.exists() and any(out.iterdir()):
        raise InvalidTraining("OUT_NOT_EMPTY", f"{out} is not empty; choose another folder")
    for stage, path in recipes.items():
        recipe = read_recipe(STAGES[stage].recipe, path)
        if STAGES[stage].asks_teacher(recipe) and not teachers:
            raise InvalidTraining(
                "NO_TEACHER", f"{path} asks about reconstructions; name the file by --teacher"
            )
    out.mkdir(parents=True, exist_ok=True)
    parts = _Parts(out, part_bytes)
    with tempfile.TemporaryDirectory() as scratch, tarfile.open(fileobj=parts, mode="w|") as tar:
        archive = _Archive(tar)
        names = [f"teachers/{number}.onnx" for number in range(len(teachers))]
        told = [f"{n}@{t.normalisation}" for n, t in zip(names, teachers, strict=True)]
        programme = {"stages": [*recipes], "teachers": told}
        archive.add("programme.json", json.dumps(programme).encode())
        for stage, path in recipes.items():
            archive.add(f"recipes/{stage}.toml", path.read_bytes())
        _add_code(archive)
        if python is not None:
            _add_packages(archive, python, Path(scratch) / "packages")
        for name, teacher in zip(names, teachers, strict=True):
            archive.add(name, teacher.path.read_bytes())
        for run in runs:
            cut_into_pieces(run, Path(scratch) / "pieces")
        for piece in sorted((Path(scratch) / "pieces").glob("*")):
            archive.add(f"pieces/{piece.name}", piece.read_bytes())
        rows = split_faces(faces).train
        _add_faces(archive, faces, rows)
        kept = _views_of(views, rows, count=len(faces.names))
        archive.add(f"cache/{VIEWS_FILE}", _npz(asdict(kept)))
    sums = parts.close_last()
    (out / "bundle.json").write_text(json.dumps(sums, indent=2))
    shutil.copy(start_elsewhere.__file__, out / "train.py")
    return Bundle(sorted(out.iterdir()), len(rows), len(kept), archive.sizes)


def stage_recipes(profile: str, stages: Sequence[str]) -> dict[str, Path]:
    """The recipes of a built-in profile, by stage.

    Raises:
        InvalidTraining: it has no such stage, or none that can be bundled.
    """
    for stage in stages:
        if stage not in STAGES:
            known = ", ".join(STAGES)
            raise InvalidTraining("NO_STAGE", f"no stage {stage!r} for a bundle; known: {known}")
    return {stage: recipe_path(profile, stage) for stage in stages}


class _Parts(io.RawIOBase):
    """A file that is written as several, none larger than a limit."""

    def __init__(self, folder: Path, limit: int) -> None:
        self._folder, self._limit = folder, limit
        self._sums: dict[str, str] = {}
        self._content = bytearray()

    def write(self, data: Any) -> int:
        self._content += data
        while len(self._content) >= self._limit:
            self._put(self._content[: self._limit])
            del self._content[: self._limit]
        return len(data)

    def close_last(self) -> dict[str, str]:
        """Write what is left; returns the sums of all files by name."""
        if self._content:
            self._put(self._content)
        return self._sums

    def _put(self, content: bytearray) -> None:
        name = f"bundle.{len(self._sums):03d}"
        (self._folder / name).write_bytes(content)
        self._sums[name] = hashlib.sha256(content).hexdigest()


class _Archive:
    """A tar archive, and what takes how much room in it."""

    def __init__(self, tar: tarfile.TarFile) -> None:
        self._tar = tar
        self.sizes: dict[str, int] = {}

    def add(self, name: str, content: bytes) -> None:
        """Add a file."""
        entry = tarfile.TarInfo(name)
        entry.size = len(content)
        self._tar.addfile(entry, io.BytesIO(content))
        top = name.split("/", maxsplit=1)[0]
        self.sizes[top] = self.sizes.get(top, 0) + len(content)


def _add_code(archive: _Archive) -> None:
    root = Path(shared.__file__).parent
    for path in sorted(root.rglob("*")):
        if path.suffix in {".py", ".toml"}:
            archive.add(f"code/shared/{path.relative_to(root).as_posix()}", path.read_bytes())


def _add_packages(archive: _Archive, python: str, scratch: Path) -> None:
    """Fetch wheels, of the versions that are installed here, and add what they would install."""
    wanted = [f"{name}=={importlib.metadata.version(name)}" for name in _PACKAGES]
    command = [
        sys.executable, "-m", "pip", "download", "--quiet", "--only-binary=:all:", "--dest",
        str(scratch), "--python-version", python, "--implementation", "cp",
        *(f"--platform={name}" for name in _PLATFORMS), *wanted,
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 - our own words
    if done.returncode:
        said = done.stderr.strip().rsplit("\n", 1)[-1]
        raise InvalidTraining("NO_PACKAGES", f"no packages for Python {python}: {said}")
    for wheel in sorted(scratch.glob("*.whl")):
        if not wheel.name.startswith("numpy-"):
            archive.add(f"wheels/{wheel.name}", wheel.read_bytes())


def _add_faces(archive: _Archive, faces: Faces, rows: npt.NDArray[np.int64]) -> None:
    # One answer for a face and its mirror image, which is all that training uses.
    both = faces.teacher[rows].sum(1, keepdims=True)
    unit = both / np.linalg.norm(both, axis=2, keepdims=True)
    archive.add(f"cache/{NAMES_FILE}", json.dumps([faces.names[row] for row in rows]).encode())
    archive.add(f"cache/{TEACHER_FILE}", _npy(unit.astype(np.float16)))
    archive.add(f"cache/{YAW_FILE}", _npy(faces.yaw[rows]))
    for number, start in enumerate(range(0, len(rows), _FACES_A_MEMBER)):
        pictures = [*_compressed(faces.pixels[rows[start : start + _FACES_A_MEMBER]])]
        sizes = np.array([len(picture) for picture in pictures], np.int32)
        data = np.frombuffer(b"".join(pictures), np.uint8)
        archive.add(f"faces/{number:04d}.npz", _npz({"sizes": sizes, "data": data}))


def _compressed(pixels: npt.NDArray[np.uint8]) -> Iterator[bytes]:
    with ThreadPoolExecutor() as pool:
        yield from pool.map(_webp, pixels)


def _webp(pixels: npt.NDArray[np.uint8]) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "WEBP", quality=_QUALITY, method=_EFFORT)
    return file.getvalue()


def _views_of(views: Views, rows: npt.NDArray[np.int64], *, count: int) -> Views:
    """The views of some faces, which are numbered anew, with answers in half precision."""
    number = np.full(count, -1, np.int32)
    number[rows] = np.arange(len(rows), dtype=np.int32)
    first, second = number[views.first], number[views.second]
    kept = (first >= 0) & (second >= 0)
    columns = {name: column[kept] for name, column in asdict(views).items()}
    halved = columns["teacher"].astype(np.float16)
    return replace(Views(**columns), first=first[kept], second=second[kept], teacher=halved)


def _npy(array: npt.NDArray[Any]) -> bytes:
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


def _npz(arrays: dict[str, Any]) -> bytes:
    file = io.BytesIO()
    np.savez(file, **arrays)
    return file.getvalue()
