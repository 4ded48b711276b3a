"""A programme of stages on the machine that a bundle was carried to.

`train.py` of the bundle starts it; see `shared.training.start_elsewhere`.
"""

import argparse
import io
import json
import logging
import shutil
import sys
import threading
import time
from collections.abc import Callable, Iterator
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
from shared.training.recipe import read_recipe
from shared.training.run_folder import CHECKPOINT_FILE
from shared.training.stages import STAGES, Ground
from shared.training.teacher_file import TeacherFile
from shared.training.views import VIEWS_FILE, load_views

log = logging.getLogger(__name__)
_WATCH_S = 0.5


def main() -> None:
    """Train stage after stage, each from its newest checkpoint."""
    parser = argparse.ArgumentParser(prog="train.py", description=main.__doc__)
    parser.add_argument(
        "stages",
        nargs="*",
        metavar="STAGE=MINUTES",
        help="which stages, and for how long at most; default: the bundle's, by their recipes",
    )
    parser.add_argument(
        "--work", type=Path, default=Path("work"), help="folder to unpack and train in"
    )
    parser.add_argument(
        "--pieces",
        type=Path,
        default=Path("pieces"),
        help="folder of pieces to bring home; those in it are gone on from",
    )
    parser.add_argument(
        "--every", type=float, default=5.0, metavar="MINUTES", help="between checkpoints in pieces"
    )
    parser.add_argument(
        "--optimizers",
        action="store_true",
        help="pieces of everything, six to eight times as large: to go on as if never moved",
    )
    given = parser.parse_args()
    given.pieces.mkdir(parents=True, exist_ok=True)
    _log_to(given.pieces / "train.log")
    torch.backends.cudnn.benchmark = True
    try:
        _train_all(given)
    except CompactfaceError as error:
        log.error("%s: %s", error.reason, error.message)  # noqa: TRY400 - a message, not a bug
        sys.exit(1)


def _train_all(given: argparse.Namespace) -> None:
    bundle, runs = given.work / "bundle", given.work / "runs"
    told = json.loads((bundle / "programme.json").read_text())
    programme = dict(map(_stage_and_minutes, given.stages)) or dict.fromkeys(told["stages"])
    for folder in (bundle / "pieces", given.pieces):
        for here in take_pieces(folder, runs)[0]:
            log.info("%s: step %d, %.1f minutes", here.run, here.step, here.minutes)
    recipes = {
        stage: read_recipe(
            STAGES[stage].recipe,
            bundle / "recipes" / f"{stage}.toml",
            schedule={
                "save_minutes": given.every,
                **({} if minutes is None else {"minutes": minutes}),
            },
        )
        for stage, minutes in programme.items()
    }
    cache = expanded_cache(bundle, given.work / "cache")
    teachers = [TeacherFile.parse(f"{bundle}/{teacher}") for teacher in told["teachers"]]
    ground = Ground(load_faces(cache), load_views(cache), runs, teachers)
    for stage, recipe in recipes.items():
        log.info("%s begins", stage)
        cut = partial(cut_into_pieces, runs / stage, given.pieces, optimizers=given.optimizers)
        with _cutting(runs / stage, cut, every_s=60 * given.every):
            STAGES[stage].train(ground, recipe)


def _stage_and_minutes(text: str) -> tuple[str, float | None]:
    stage, given, minutes = text.partition("=")
    if stage not in STAGES:
        sys.exit(f"no stage {stage!r}; known: {', '.join(STAGES)}")
    return stage, float(minutes) if given else None


def expanded_cache(bundle: Path, cache: Path) -> Path:
    """The bundle's faces and answers as a cache has them; done once.

    Args:
        bundle: unpacked.
        cache: folder to be made.
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
    """Have a run's checkpoints cut into pieces every so often, and at the end, come what may."""
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
    """When a file was written, in nanoseconds; 0 where there is none."""
    return path.stat().st_mtime_ns if path.exists() else 0


def _log_to(path: Path) -> None:
    logging.basicConfig(
        level=logging.INFO,
        format="%(asctime)s %(message)s",
        handlers=[logging.StreamHandler(), logging.FileHandler(path)],
    )


if __name__ == "__main__":
    main()
