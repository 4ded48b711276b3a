"""The loop that every training stage runs in: resumable, seeded, on one process or many."""

import logging
import math
import signal
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol, Self

import numpy as np
import torch
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

try:
    from torch.utils.tensorboard import SummaryWriter
except ImportError:  # where a bundle trains, the log has to do
    SummaryWriter = None  # type: ignore[assignment, misc]

from shared.errors import TrainingStopped
from shared.training.optimizers import (
    Group,
    learning_rate,
    make_optimizers,
    set_rates,
    share_done,
)
from shared.training.processes import Process, joined, of_the_first
from shared.training.recipe import Schedule
from shared.training.run_folder import (
    LOG_FOLDER,
    Average,
    restore_checkpoint,
    save_checkpoint,
)

log = logging.getLogger(__name__)

Batch = Mapping[str, Tensor]
Losses = Mapping[str, Tensor]
_LOG_EVERY = 50


class Data(Protocol):
    """What is trained on."""

    def batches(self, size: int, *, seed: int, start: int) -> Iterator[Any]:
        """Endless batches of `size`; batch `start` is the same however training was resumed."""

    def load(self, batch: Any, process: Process) -> Batch:
        """This process's part of a batch, augmented, on its device."""


class Stage(Protocol):
    """What is trained.

    Attributes:
        lessons: what on.
        network: all that is trained or kept; called with a batch, it answers with its losses.
            The one named `loss` is minimised, the others are logged.
    """

    @property
    def lessons(self) -> Data:
        """See above."""

    @property
    def network(self) -> nn.Module:
        """See above."""

    def groups(self) -> Sequence[Group]:
        """What trains, and at which pace."""

    def heavy(self) -> Sequence[nn.Module]:
        """Parts of the network that are worth compiling."""


def shuffled(rows: np.ndarray, *, size: int, seed: int, start: int) -> Iterator[np.ndarray]:
    """Endless shuffled batches of rows, epoch after epoch; see `Data.batches`."""
    size = min(size, len(rows))
    while size == 0:
        yield rows[:0]
    per_epoch = len(rows) // size
    epoch, offset = divmod(start, per_epoch)
    while True:
        order = np.random.default_rng((seed, epoch)).permutation(len(rows))
        for batch in range(offset, per_epoch):
            yield rows[order[batch * size : (batch + 1) * size]]
        epoch, offset = epoch + 1, 0


def train(stage: Stage, schedule: Schedule, folder: Path) -> None:
    """Train until `schedule.samples` faces are seen, going on from the folder's checkpoint.

    Started again after it was stopped, it ends where it would have ended, to rounding; but for a
    schedule of minutes, which counts those of all sittings, up to their last checkpoints.

    Raises:
        TrainingStopped: SIGTERM or Ctrl-C came; a checkpoint was written.
    """
    with joined() as process, _asked_to_stop() as stop:
        network = stage.network.to(process.device, memory_format=torch.channels_last)  # type: ignore[call-overload] # torch's stub lacks it
        optimizers = make_optimizers(stage.groups(), schedule)
        average = Average(network, decay=schedule.average)
        state = {"network": network, "average": average, "optimizers": optimizers}
        began = time.monotonic()
        step, before = restore_checkpoint(folder, **state)
        minutes = saved = before
        if schedule.compile:
            for part in stage.heavy():
                part.compile()
        called = DistributedDataParallel(network) if process.count > 1 else network
        batches = stage.lessons.batches(schedule.batch, seed=schedule.seed, start=step)
        with _Report(folder, schedule, process, start=step) as report:
            while share_done(step, minutes, schedule) < 1 and not stop.is_set():
                torch.manual_seed((schedule.seed * 1_000_003 + step) * 1_009 + process.rank)
                rate = learning_rate(step, minutes, schedule)
                set_rates(optimizers, rate)
                batch = stage.lessons.load(next(batches), process)
                with torch.autocast(process.device.type, torch.bfloat16, enabled=schedule.bf16):
                    losses: Losses = called(batch)
                for optimizer in optimizers:
                    optimizer.zero_grad(set_to_none=True)
                torch.autograd.backward(losses["loss"])
                nn.utils.clip_grad_norm_(network.parameters(), schedule.clip)
                for optimizer in optimizers:
                    optimizer.step()
                average.update(network, step)
                step += 1
                minutes = of_the_first(before + (time.monotonic() - began) / 60, process)
                report.add(step, losses, rate=rate)
                waited = minutes - saved >= (schedule.save_minutes or math.inf)
                if process.rank == 0 and (waited or step % schedule.save_every == 0):
                    save_checkpoint(folder, step=step, minutes=minutes, **state)
                    saved = minutes
        if process.rank == 0:
            save_checkpoint(folder, step=step, minutes=minutes, **state)
    if share_done(step, minutes, schedule) < 1:
        # Nobody should take this for a finished run and publish or judge it.
        raise TrainingStopped(step, schedule.steps)


@contextmanager
def _asked_to_stop() -> Iterator[threading.Event]:
    """An event that SIGTERM and Ctrl-C set."""
    asked = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield asked
        return
    kinds = (signal.SIGTERM, signal.SIGINT)
    before = [signal.signal(kind, lambda *_: asked.set()) for kind in kinds]
    try:
        yield asked
    finally:
        for kind, handler in zip(kinds, before, strict=True):
            signal.signal(kind, handler)


class _Report:
    """A progress bar, lines in the log, and curves in TensorBoard; of the first process only."""

    def __init__(self, folder: Path, schedule: Schedule, process: Process, *, start: int) -> None:
        self._schedule = schedule
        self._first = process.rank == 0
        self._sums: dict[str, Tensor] = {}
        self._since, self._began = start, time.monotonic()
        self._bar = Progress(
            TextColumn(folder.name),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[losses]}"),
            disable=not self._first,
        )
        self._task = self._bar.add_task("", total=schedule.steps, completed=start, losses="")
        self._writer = (
            SummaryWriter(str(folder / LOG_FOLDER), purge_step=start)
            if self._first and SummaryWriter is not None
            else None
        )

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()
        if self._writer is not None:
            self._writer.close()

    def add(self, step: int, losses: Losses, *, rate: float) -> None:
        """Count a step, taken at a learning rate; every so often say how it goes."""
        for name, value in losses.items():
            self._sums[name] = self._sums.get(name, torch.zeros((), device=value.device)) + (
                value.detach()
            )
        self._bar.update(self._task, completed=step)
        if step % _LOG_EVERY == 0 or step == self._schedule.steps:
            self._say(step, rate)

    def _say(self, step: int, rate: float) -> None:
        steps, now = step - self._since, time.monotonic()
        speed = steps * self._schedule.batch / (now - self._began)
        means = {name: float(total) / steps for name, total in self._sums.items()}
        self._sums, self._since, self._began = {}, step, now
        if not self._first:
            return
        text = " ".join(f"{name} {mean:.4f}" for name, mean in means.items())
        self._bar.update(self._task, losses=f"{text}, {speed:.0f}/s")
        log.info("step %d/%d %s, %.0f faces/s", step, self._schedule.steps, text, speed)
        if self._writer is None:
            return
        for name, mean in means.items():
            self._writer.add_scalar(f"loss/{name}", mean, step)
        self._writer.add_scalar("faces_per_second", speed, step)
        self._writer.add_scalar("learning_rate", rate, step)
