"""Train the stages of a bundle on another machine.

The bundle's `train.py` starts it; see `shared.training.bundle_start`.
"""

import argparse
import io
import json
import logging
import shutil
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image

from shared.errors import CompactfaceError
from shared.training.faces import (
    NAMES_FILE,
    PIXELS_FILE,
    SIZE,
    TEACHER_FILE,
    YAW_FILE,
    load_faces,
)
from shared.training.pieces import Checkpoint, cut_into_pieces, take_pieces
from shared.training.recipe import StageRecipe, read_recipe
from shared.training.run_folder import CHECKPOINT_FILE
from shared.training.stages import STAGES, StageInputs
from shared.training.teacher_file import TeacherFile
from shared.training.views import VIEWS_FILE, load_views

log = logging.getLogger(__name__)
_WATCH_S = 0.5
_ONE_STEP = 1e-6  # minutes


def main() -> None:
    """Train each stage in order, resuming from its newest checkpoint."""
    parser = argparse.ArgumentParser(prog="train.py", description=main.__doc__)
    parser.add_argument(
        "stages",
        nargs="*",
        metavar="STAGE=MINUTES",
        help="stages to train, each with an optional time limit; default: those of the bundle",
    )
    parser.add_argument(
        "--work", type=Path, default=Path("work"), help="folder to unpack into and train in"
    )
    parser.add_argument(
        "--pieces",
        type=Path,
        default=Path("pieces"),
        help="folder for checkpoints in pieces; training resumes from those in it",
    )
    parser.add_argument(
        "--every", type=float, default=5.0, metavar="MINUTES", help="interval of checkpoint pieces"
    )
    parser.add_argument(
        "--optimizers",
        action="store_true",
        help="include optimizer state (six to eight times larger), to resume exactly",
    )
    parser.add_argument(
        "--rehearse",
        action="store_true",
        help="train every stage for one step in a folder of its own: started beside the training, "
        "it compiles the networks of the later stages in the meantime",
    )
    given = parser.parse_args()
    given.pieces.mkdir(parents=True, exist_ok=True)
    _log_to(given.work / "rehearsal.log" if given.rehearse else given.pieces / "train.log")
    torch.backends.cudnn.benchmark = True
    torch.set_float32_matmul_precision("high")
    try:
        _train_all(given)
    except CompactfaceError as error:
        log.error("%s: %s", error.reason, error.message)  # noqa: TRY400 - a message, not a bug
        sys.exit(1)


def _train_all(given: argparse.Namespace) -> None:
    bundle, runs = given.work / "bundle", given.work / "runs"
    settings = json.loads((bundle / "programme.json").read_text())
    programme = dict(map(_stage_and_minutes, given.stages)) or dict.fromkeys(settings["stages"])
    if given.rehearse:
        _rehearse(given.work, programme)
        return
    for folder in (bundle / "pieces", given.pieces):
        for here in take_pieces(folder, runs)[0]:
            log.info("%s: step %d, %.1f minutes", here.run, here.step, here.minutes)
    recipes = {
        stage: _recipe(bundle, stage, save_minutes=given.every, minutes=minutes)
        for stage, minutes in programme.items()
    }
    inputs = _inputs(bundle, expanded_cache(bundle, given.work / "cache"), runs)
    for stage, recipe in recipes.items():
        log.info("%s begins", stage)
        cut = partial(cut_into_pieces, runs / stage, given.pieces, optimizers=given.optimizers)
        with _cutting(runs / stage, cut, every_s=60 * given.every):
            STAGES[stage].train(inputs, recipe)


def _rehearse(work: Path, stages: Iterable[str]) -> None:
    cache, runs = work / "cache", work / "rehearsal"
    while not cache.exists():  # the training expands it
        time.sleep(_WATCH_S)
    shutil.rmtree(runs, ignore_errors=True)
    spent = {here.run: here.minutes for here in take_pieces(work / "bundle" / "pieces", runs)[0]}
    inputs = _inputs(work / "bundle", cache, runs)
    for stage in stages:
        minutes = spent.get(stage, 0) + _ONE_STEP
        STAGES[stage].train(inputs, _recipe(work / "bundle", stage, minutes=minutes))
        log.info("%s rehearsed", stage)


def _inputs(bundle: Path, cache: Path, runs: Path) -> StageInputs:
    settings = json.loads((bundle / "programme.json").read_text())
    teachers = [TeacherFile.parse(f"{bundle}/{teacher}") for teacher in settings["teachers"]]
    model = bundle / settings["model"] if "model" in settings else None
    return StageInputs(load_faces(cache), load_views(cache), runs, teachers, model)


def _recipe(bundle: Path, stage: str, **schedule: float | None) -> StageRecipe:
    given = {name: value for name, value in schedule.items() if value is not None}
    path = bundle / "recipes" / f"{stage}.toml"
    return read_recipe(STAGES[stage].recipe, path, schedule=given)


def _stage_and_minutes(text: str) -> tuple[str, float | None]:
    stage, given, minutes = text.partition("=")
    if stage not in STAGES:
        sys.exit(f"no stage {stage!r}; known: {', '.join(STAGES)}")
    return stage, float(minutes) if given else None


def expanded_cache(bundle: Path, cache: Path) -> Path:
    """Expand the bundle's faces and embeddings into a cache folder, once.

    Args:
        bundle: folder of the unpacked bundle.
        cache: folder to create.
    """
    if cache.exists():
        return cache
    began = time.monotonic()
    folder = cache.with_name(f"{cache.name}.partial")
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    names = json.loads((bundle / "cache" / NAMES_FILE).read_text())
    pixels = np.lib.format.open_memmap(
        folder / PIXELS_FILE, "w+", np.uint8, (len(names), SIZE, SIZE, 3)
    )
    first = 0
    with ProcessPoolExecutor() as pool:
        for some in pool.map(_pictures, sorted((bundle / "faces").iterdir())):
            pixels[first : first + len(some)] = some
            first += len(some)
    pixels.flush()
    for name in (NAMES_FILE, YAW_FILE):
        shutil.copy(bundle / "cache" / name, folder / name)
    np.save(folder / TEACHER_FILE, np.load(bundle / "cache" / TEACHER_FILE).astype(np.float32))
    with np.load(bundle / "cache" / VIEWS_FILE) as views:
        columns = {name: views[name] for name in views.files}
    columns["teacher"] = columns["teacher"].astype(np.float32)
    np.savez(folder / VIEWS_FILE, **columns)
    folder.replace(cache)
    log.info("%d faces unpacked in %.0f s", len(names), time.monotonic() - began)
    return cache


def _pictures(path: Path) -> npt.NDArray[np.uint8]:
    with np.load(path) as member:
        ends, data = np.cumsum(member["sizes"]), member["data"]
    files = np.split(data, ends[:-1])
    return np.stack([np.asarray(Image.open(io.BytesIO(file.tobytes()))) for file in files])


@contextmanager
def _cutting(run: Path, cut: Callable[[], Checkpoint], *, every_s: float) -> Iterator[None]:
    """Cut a run's checkpoints into pieces at intervals and at the end, even after an error."""
    over = threading.Event()
    checkpoint = run / CHECKPOINT_FILE

    def keep() -> None:
        done = cut()
        log.info("%s in pieces: step %d, %.1f minutes", done.run, done.step, done.minutes)

    def watch() -> None:
        last, seen = time.monotonic(), _written(checkpoint)
        while not over.wait(_WATCH_S):
            now, written = time.monotonic(), _written(checkpoint)
            if written != seen and now - last >= every_s - _WATCH_S:
                keep()
                last, seen = now, written

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        yield
    finally:
        over.set()
        watcher.join()
        if checkpoint.exists():
            keep()


def _written(path: Path) -> int:
    """Modification time of a file in nanoseconds; 0 if it is missing."""
    return path.stat().st_mtime_ns if path.exists() else 0


def _log_to(path: Path) -> None:
    logging.basicConfig(
        level=logging.INFO,
        format="%(asctime)s %(message)s",
        handlers=[logging.StreamHandler(), logging.FileHandler(path)],
    )


if __name__ == "__main__":
    main()
