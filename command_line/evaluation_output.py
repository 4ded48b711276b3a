"""Output of `compactface evaluate`."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from command_line.output import open_console, show_table

if TYPE_CHECKING:
    from shared.evaluation import pipeline
    from shared.evaluation.result import Result
    from shared.evaluation.rows import KodakRow


@contextmanager
def open_progress(title: str) -> "Iterator[pipeline.Progress]":
    """Show a progress bar on standard error during the block."""
    columns = TextColumn(title), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
    with Progress(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task(title, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


def show_result(result: "Result") -> None:
    """Print accuracies of every form of probe and enrollment, and sizes."""
    show_table(
        ("judge", "probe", "enrolled", ">accuracy, %", ">TAR at FAR 1e-3, %"),
        [
            (
                cell.judge,
                cell.probe,
                cell.enrolled,
                f"{100 * cell.score.accuracy:.2f} ± {100 * cell.score.std:.2f}",
                f"{100 * cell.score.tar_at_far_1e3:.2f}",
            )
            for cell in result.cells
        ],
        title=f"{result.dataset}: {result.model}",
    )
    console = open_console()
    for name, point in result.points.items():
        console.print(
            f"{name}: {point.bytes_mean:.1f} bytes per face on average, {point.bytes_max} at most; "
            f"codec {point.codec_id}, weights sha256 {point.weights_sha256}",
            soft_wrap=True,
        )
    console.print(
        f"{result.pairs:,} pairs in {result.folds} folds, over {result.images:,} images; "
        f"{result.seconds:.0f} s"
    )


def show_kodak(rows: "Sequence[KodakRow]") -> None:
    """Print bits per pixel and PSNR of each codec."""
    show_table(
        ("codec", "operating point", ">bits per pixel", ">PSNR, dB"),
        [
            (row.codec, row.operating_point, f"{row.bits_per_pixel:.4f}", f"{row.psnr:.2f}")
            for row in rows
        ],
        title=f"Kodak, {rows[0].images} pictures",
    )
