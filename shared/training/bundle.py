"""Pack all that training needs into files that can be carried to a machine without network.

The files are parts of one tar archive. It holds the training faces as WebP with the teachers'
embeddings, the recipes, this code and, on request, the packages it needs. `bundle.json` holds the
checksums of the parts; `train.py` verifies, unpacks and trains.

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
from shared.model_directory import ModelDirectory
from shared.training import bundle_start
from shared.training.faces import NAMES_FILE, TEACHER_FILE, YAW_FILE, Faces
from shared.training.pieces import cut_into_pieces
from shared.training.recipe import read_recipe, recipe_path
from shared.training.split import split_faces
from shared.training.stages import STAGES
from shared.training.teacher_file import TeacherFile
from shared.training.views import NO_VIEWS, VIEWS_FILE, Views

PART_BYTES = 60_000_000
# Measured on 300 faces: 2.9 kB per face (lossless WebP 11.9, JPEG of equal fidelity 3.3). The
# teachers' cosine to the original is 0.9975 (at quality 90: 0.994 with 2.2 kB).
_QUALITY, _EFFORT = 95, 4
_FACES_A_MEMBER = 1000
# numpy comes with torch, which the target machine must have.
_PACKAGES = ("pydantic", "rich", "safetensors", "onnx", "pillow")
_PLATFORMS = [f"manylinux{name}_x86_64" for name in ("_2_28", "_2_27", "_2_17", "2014")]


@dataclass(frozen=True, slots=True)
class Bundle:
    """A written bundle.

    Attributes:
        files: names of all files.
        faces: number of training faces; held-out faces are not included.
        views: number of mixtures.
        sizes: bytes in the archive by top-level folder.
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
    model: ModelDirectory | None = None,
    python: str | None = None,
    part_bytes: int = PART_BYTES,
) -> Bundle:
    """Write a bundle.

    Args:
        out: folder for the files; must be empty or missing.
        faces: training faces with the teachers' embeddings, which recipes with live views need not
            and which are then left out, as mixtures are.
        views: mixtures of training faces.
        recipes: recipes of the stages to train, by stage name, in order.
        teachers: for recipes that need them.
        runs: run folders that stages continue or build on; only averaged weights are included.
        model: a published model to go on from; not beside a run of stage 0 that is resumed.
        python: Python version, e.g. "3.12", for which to include packages (Linux, x86-64); None
            if the target machine has them.
        part_bytes: size limit of a file.

    Raises:
        InvalidTraining: `out` is not empty, a recipe is invalid or needs a teacher that is not
            given, a run folder holds no run, or a package cannot be downloaded.
    """
    if out.exists() and any(out.iterdir()):
        raise InvalidTraining("OUT_NOT_EMPTY", f"{out} is not empty; choose another folder")
    live = True
    for stage, path in recipes.items():
        recipe = read_recipe(STAGES[stage].recipe, path)
        live = live and recipe.views == "live"
        if recipe.needs_teacher and not teachers:
            raise InvalidTraining("NO_TEACHER", f"{path} needs a teacher; use --teacher")
    out.mkdir(parents=True, exist_ok=True)
    parts = _Parts(out, part_bytes)
    with tempfile.TemporaryDirectory() as scratch, tarfile.open(fileobj=parts, mode="w|") as tar:
        archive = _Archive(tar)
        names = [f"teachers/{number}.onnx" for number in range(len(teachers))]
        named = [f"{n}@{t.normalisation}" for n, t in zip(names, teachers, strict=True)]
        programme: dict[str, Any] = {"stages": [*recipes], "teachers": named}
        if model is not None:
            programme["model"] = _add_model(archive, model)
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
        _add_faces(archive, faces, rows, embeddings=not live)
        kept = _views_of(NO_VIEWS if live else views, rows, count=len(faces.names))
        archive.add(f"cache/{VIEWS_FILE}", _npz(asdict(kept)))
    sums = parts.close_last()
    (out / "bundle.json").write_text(json.dumps(sums, indent=2))
    shutil.copy(bundle_start.__file__, out / "train.py")
    return Bundle(sorted(out.iterdir()), len(rows), len(kept), archive.sizes)


def stage_recipes(profile: str, stages: Sequence[str]) -> dict[str, Path]:
    """The recipes of a built-in profile, by stage.

    Raises:
        InvalidTraining: the profile has no such stage, or the stage cannot be bundled.
    """
    for stage in stages:
        if stage not in STAGES:
            known = ", ".join(STAGES)
            raise InvalidTraining("NO_STAGE", f"stage {stage!r} cannot be bundled; known: {known}")
    return {stage: recipe_path(profile, stage) for stage in stages}


class _Parts(io.RawIOBase):
    """A writable stream split into files of limited size."""

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
        """Write the last part; returns the checksums of all files by name."""
        if self._content:
            self._put(self._content)
        return self._sums

    def _put(self, content: bytearray) -> None:
        name = f"bundle.{len(self._sums):03d}"
        (self._folder / name).write_bytes(content)
        self._sums[name] = hashlib.sha256(content).hexdigest()


class _Archive:
    """A tar archive that counts bytes per top-level folder."""

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


def _add_model(archive: _Archive, model: ModelDirectory) -> str:
    """Add a model's files; returns its folder in the archive."""
    folder = f"models/{model.manifest.family}/{model.manifest.version}"
    for path in sorted(path for path in model.path.rglob("*") if path.is_file()):
        archive.add(f"{folder}/{path.relative_to(model.path).as_posix()}", path.read_bytes())
    return folder


def _add_packages(archive: _Archive, python: str, scratch: Path) -> None:
    """Download wheels of the versions installed here and add their contents."""
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


def _add_faces(
    archive: _Archive, faces: Faces, rows: npt.NDArray[np.int64], *, embeddings: bool
) -> None:
    # Training uses only the sum of the embeddings of a face and its mirror image.
    both = faces.teacher[rows].sum(1, keepdims=True)
    unit = both / np.linalg.norm(both, axis=2, keepdims=True)
    if not embeddings:
        unit = np.zeros((len(rows), 1, 1))
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
    """The views of a subset of faces, with renumbered rows and half-precision embeddings."""
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
