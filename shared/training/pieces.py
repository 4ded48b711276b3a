"""Split a run's checkpoint into small files for transfer, and restore it into a run folder.

A checkpoint of run R at step S consists of the pieces `R-S.000`, `R-S.001`, ..., and `R-S.json`.
The latter is written last and holds the run's recipe and the checksums of the pieces. An
interrupted write or transfer leaves earlier checkpoints intact.
"""

import hashlib
import io
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from shared.errors import InvalidTraining
from shared.training.run_folder import CHECKPOINT_FILE, put_checkpoint, read_run, record_settings

PIECE_BYTES = 15_000_000


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """The state of a run.

    Attributes:
        run: name of the run.
        step: steps done.
        minutes: training time.
        missing: names of missing or damaged pieces.
    """

    run: str
    step: int
    minutes: float
    missing: tuple[str, ...] = ()


def cut_into_pieces(
    run: Path, pieces: Path, *, optimizers: bool = False, size: int = PIECE_BYTES
) -> Checkpoint:
    """Write a run's checkpoint as pieces, unless they exist.

    Args:
        run: run folder.
        pieces: folder of pieces, created if missing.
        optimizers: include the complete state, so that the run resumes exactly; otherwise only
            averaged weights in half precision, six to eight times smaller.
        size: bytes per piece.

    Raises:
        InvalidTraining: the folder holds no run with a checkpoint.
    """
    settings = read_run(run)
    saved = _read_checkpoint(run)
    stem = f"{run.name}-{saved['step']:09d}"
    checkpoint = Checkpoint(run.name, saved["step"], saved["minutes"])
    if (pieces / f"{stem}.json").exists():
        return checkpoint
    if not optimizers:
        saved = {"step": saved["step"], "minutes": saved["minutes"], "average": _halved(saved)}
    content = io.BytesIO()
    torch.save(saved, content)
    pieces.mkdir(parents=True, exist_ok=True)
    sums = {}
    for number, piece in enumerate(_parts(content.getbuffer(), size)):
        name = f"{stem}.{number:03d}"
        sums[name] = hashlib.sha256(piece).hexdigest()
        _put(pieces / name, piece)
    head = {"run": run.name, "step": checkpoint.step, "minutes": checkpoint.minutes}
    _put(pieces / f"{stem}.json", json.dumps({**head, "told": settings, "pieces": sums}).encode())
    return checkpoint


def _read_checkpoint(run: Path) -> dict[str, Any]:
    path = run / CHECKPOINT_FILE
    if not path.exists():
        raise InvalidTraining("NO_CHECKPOINT", f"{run} has no checkpoint yet")
    saved: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    # Averaged runs and older checkpoints lack step and minutes.
    return {"step": 0, "minutes": 0.0, **saved}


def _halved(saved: dict[str, Any]) -> dict[str, torch.Tensor]:
    weights: dict[str, torch.Tensor] = saved["average"]
    return {name: w.half() if w.is_floating_point() else w for name, w in weights.items()}


def _parts(content: memoryview, size: int) -> Iterator[memoryview]:
    for start in range(0, len(content), size):
        yield content[start : start + size]


def _put(path: Path, content: bytes | memoryview) -> None:
    """Write a file durably and atomically."""
    partial = path.with_name(f"{path.name}.partial")
    with partial.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    partial.replace(path)


def take_pieces(pieces: Path, runs: Path) -> tuple[list[Checkpoint], list[Checkpoint]]:
    """Restore the newest complete checkpoint of every run, unless its folder is further on.

    Args:
        pieces: folder of pieces that `cut_into_pieces` has written.
        runs: folder of run folders, created if missing.

    Returns:
        The checkpoints that the folders now hold, and incomplete checkpoints.

    Raises:
        InvalidTraining: a folder holds a different run of that name.
    """
    taken: dict[str, Checkpoint] = {}
    incomplete = []
    heads = [json.loads(path.read_text()) for path in sorted(pieces.glob("*.json"))]
    for head in sorted(heads, key=lambda head: head["step"], reverse=True):
        checkpoint = _checked(head, pieces)
        if checkpoint.missing:
            incomplete.append(checkpoint)
        elif checkpoint.run not in taken:
            taken[checkpoint.run] = _taken(checkpoint, head, pieces, runs / checkpoint.run)
    return list(taken.values()), incomplete


def _checked(head: dict[str, Any], pieces: Path) -> Checkpoint:
    missing = tuple(n for n, digest in head["pieces"].items() if _sum(pieces / n) != digest)
    return Checkpoint(head["run"], head["step"], head["minutes"], missing)


def _sum(path: Path) -> str | None:
    return hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else None


def _taken(checkpoint: Checkpoint, head: dict[str, Any], pieces: Path, run: Path) -> Checkpoint:
    record_settings(run, head["told"])
    if (run / CHECKPOINT_FILE).exists():
        here = _read_checkpoint(run)
        if here["step"] >= checkpoint.step:
            return Checkpoint(checkpoint.run, here["step"], here["minutes"])
    content = io.BytesIO(b"".join((pieces / name).read_bytes() for name in head["pieces"]))
    saved = torch.load(content, map_location="cpu", weights_only=True)
    for name, weight in saved["average"].items():
        saved["average"][name] = weight.float() if weight.is_floating_point() else weight
    put_checkpoint(run, saved)
    return checkpoint
