"""Options and helpers that the commands of `compactface evaluate` share."""

import os
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from shared.evaluation.panel import Panel

Data = Annotated[
    Path,
    typer.Option(envvar="COMPACTFACE_DATA", help="Folder of lfw112/lfw.zip and lfw112/pairs.txt."),
]
Family = Annotated[str, typer.Option(help="Model family.")]
Version = Annotated[
    str | None, typer.Option("--model-version", help="Model version; default: the current one.")
]
Points = Annotated[
    list[str] | None, typer.Option("--point", help="Operating point; repeatable; default: all.")
]
Point = Annotated[str | None, typer.Option(help="Operating point; default: the model's.")]
MinQuality = Annotated[
    float, typer.Option(min=0, max=1, help="Below: LOW_QUALITY, as the recognizer is set.")
]
Threads = Annotated[int, typer.Option(min=1, help="Number of cores.")]
Report = Annotated[Path, typer.Option(help="Folder of the report.")]
Unseen = Annotated[
    Path | None,
    typer.Option(
        help="ONNX file of a judge not used in training; "
        "default: teachers/fr_feature_512.onnx below the data, if present.",
    ),
]
Reference = Annotated[
    Path | None,
    typer.Option(
        "--reference-extractor",
        help="Weights of the extractor before tuning on reconstructions, which measures A.",
    ),
]
RivalsAt = Annotated[
    list[str] | None,
    typer.Option(
        help="Operating point at whose size to measure conventional codecs; default: all."
    ),
]
Rivals = Annotated[
    list[str] | None,
    typer.Option("--rival", help="Conventional codec, as the report names it; default: all."),
]
Kept = Annotated[
    Path,
    typer.Option("--cache", help="Cache of slow results; delete it after code changes."),
]

CORES = os.cpu_count() or 1
REPORT = Path("report")
KEPT = Path("build/evaluation")


def open_judges(data: Path, unseen: Path | None, reference: Path | None, threads: int) -> "Panel":
    """The judges in these files; `unseen` by default is the one among the data."""
    from shared.evaluation.panel import open_panel

    usual = data / "teachers/fr_feature_512.onnx"
    if unseen is None and usual.is_file():
        unseen = usual
    return open_panel(reference=reference, unseen=unseen, threads=threads)


def use_threads(threads: int) -> None:
    """Let torch use so many cores."""
    import torch

    torch.set_num_threads(threads)


def command_text() -> str:
    """The command line, as reports state it."""
    return shlex.join(["compactface", *sys.argv[1:]])
