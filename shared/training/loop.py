"""The training loop of all stages: resumable, seeded, on one or several processes."""

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
except ImportError:  # not installed where a bundle trains
    SummaryWriter = None  # type: ignore[assignment, misc]

from shared.errors import TrainingStopped
from shared.training.optimizers import (
    Group,
    learning_rate,
    make_optimizers,
    set_rates,
    share_done,
)
from shared.training.processes import Process, first_process_value, joined
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
    """Training data."""

    def batches(self, size: int, *, seed: int, start: int) -> Iterator[Any]:
        """Endless batches of `size`; batch number `start` is the same however often resumed."""

    def load(self, batch: Any, process: Process) -> Batch:
        """This process's part of a batch, augmented and on its device."""


class Stage(Protocol):
    """A training stage.

    Attributes:
        data: its training data.
        network: everything that is trained or saved. Called with a batch, it returns its losses;
            the one named `loss` is minimised, the others are logged.
    """

    @property
    def data(self) -> Data:
        """See the class docstring."""

    @property
    def network(self) -> nn.Module:
        """See the class docstring."""

    def groups(self) -> Sequence[Group]:
        """Parameter groups with their relative learning rates."""

    def compilable(self) -> Sequence[nn.Module]:
        """Modules that are worth compiling."""


def shuffled(rows: np.ndarray, *, size: int, seed: int, start: int) -> Iterator[np.ndarray]:
    """Endless batches of shuffled rows, epoch after epoch; see `Data.batches`."""
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
    """Train until `schedule.samples` faces are seen, resuming from the folder's checkpoint.

    A resumed training ends with the same result up to rounding, unless the schedule is limited in
    minutes; those are summed over all resumptions up to their last checkpoints.

    Raises:
        TrainingStopped: SIGTERM or Ctrl-C was received; a checkpoint was written.
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
            for part in stage.compilable():
                part.compile()
        called = DistributedDataParallel(network) if process.count > 1 else network
        batches = stage.data.batches(schedule.batch, seed=schedule.seed, start=step)
        with _Report(folder, schedule, process, start=step) as report:
            while share_done(step, minutes, schedule) < 1 and not stop.is_set():
                torch.manual_seed((schedule.seed * 1_000_003 + step) * 1_009 + process.rank)
                rate = learning_rate(step, minutes, schedule)
                set_rates(optimizers, rate)
                batch = stage.data.load(next(batches), process)
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
                minutes = first_process_value(before + (time.monotonic() - began) / 60, process)
                report.add(step, losses, rate=rate)
                waited = minutes - saved >= (schedule.save_minutes or math.inf)
                if process.rank == 0 and (waited or step % schedule.save_every == 0):
                    save_checkpoint(folder, step=step, minutes=minutes, **state)
                    saved = minutes
        if process.rank == 0:
            save_checkpoint(folder, step=step, minutes=minutes, **state)
    if share_done(step, minutes, schedule) < 1:
        # Otherwise the run could pass for finished and be published.
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
    """Progress bar, log lines and TensorBoard curves; in the first process only."""

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
        """Count a step and its losses; report at intervals."""
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
