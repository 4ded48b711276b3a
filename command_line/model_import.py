"""`compactface model import-extractor`: a face network of others as the extractor of a family."""

import os
import tempfile
from pathlib import Path
from typing import Annotated, Literal

import typer

_CORES = os.cpu_count() or 1


def import_extractor(
    file: Annotated[
        Path, typer.Argument(exists=True, dir_okay=False, help="ONNX file of a face network.")
    ],
    *,
    faces: Annotated[
        Path,
        typer.Option(
            exists=True,
            file_okay=False,
            help="Whom to calibrate on: one folder per person, or a cache of training faces.",
        ),
    ],
    mean: Annotated[
        str, typer.Option(metavar="M[,M,M]", help="Taken off pixels in [0, 255]; of R, G, B.")
    ],
    std: Annotated[
        str, typer.Option(metavar="S[,S,S]", help="What the result is divided by; of R, G, B.")
    ],
    licence: Annotated[str, typer.Option(help="Of the network; it is kept in the manifest.")],
    size: Annotated[
        str, typer.Option("--input", metavar="HxW", help="Height and width of its input.")
    ] = "112x112",
    colour: Annotated[
        Literal["RGB", "BGR"], typer.Option(help="Order of its input's channels.")
    ] = "RGB",
    mirror: Annotated[
        bool, typer.Option("--mirror", help="Embed the mirror image too, at twice the cost.")
    ] = False,
    base: Annotated[
        str | None, typer.Option(help="Version whose codecs to keep; default: the current one.")
    ] = None,
    new_version: Annotated[
        str | None, typer.Option("--as", help="Name of the new version; default: the next number.")
    ] = None,
    models: Annotated[Path, typer.Option(help="Folder of model families.")] = Path("deploy/models"),
    family: Annotated[str, typer.Option(help="Model family.")] = "default",
    most: Annotated[
        int, typer.Option(min=10, help="Photographs to calibrate on, at most about.")
    ] = 4000,
    threads: Annotated[int, typer.Option(min=1, help="Cores to use.")] = _CORES,
) -> None:
    """Make a version with the same codecs and another extractor, calibrated on your faces.

    Cameras and galleries keep their maps: `compactface model use`, then `compactface gallery
    reembed`, or a restart of the service, embeds them anew. Needs compactface[train].
    """
    import torch

    from command_line.evaluation_output import open_progress
    from shared.model_directory import ModelDirectory
    from shared.training.extractor_import import import_extractor as imported
    from shared.training.extractor_import import read_people
    from shared.training.network_input import NetworkInput

    height, width = _size(size)
    fed = NetworkInput(height, width, _colours(mean), _colours(std), colour, mirrored=mirror)
    kept = ModelDirectory.load(models, family, base)
    version = new_version or _next_version(models / family)
    torch.set_num_threads(threads)
    with tempfile.TemporaryDirectory() as scratch, open_progress("calibration") as progress:
        model = imported(
            file,
            fed,
            base=kept,
            models=models,
            version=version,
            licence=licence,
            people=read_people(faces, Path(scratch), most=most),
            threads=threads,
            progress=progress,
        )
    manifest = model.manifest
    rarest = manifest.calibration[0].rows[-1].fmr
    typer.echo(
        f"{family}/{version}: {file.name} embeds in {manifest.extractor.embedding_size} numbers, "
        f"space {manifest.embedding_space}; the codecs are those of {family}/"
        f"{kept.manifest.version}"
    )
    typer.echo(f"calibrated down to FMR {rarest:g}; beyond, thresholds are extrapolated")


def _size(text: str) -> tuple[int, int]:
    height, _, width = text.partition("x")
    if not (height.isdigit() and width.isdigit()):
        raise typer.BadParameter(f"--input is {text!r}; expected e.g. 112x112")
    return int(height), int(width)


def _colours(text: str) -> tuple[float, float, float]:
    try:
        values = [float(part) for part in text.split(",")]
    except ValueError:
        values = []
    if len(values) == 1:
        values *= 3
    if len(values) != 3:  # noqa: PLR2004 - red, green, blue
        raise typer.BadParameter(f"{text!r} is neither one number nor three with commas")
    red, green, blue = values
    return red, green, blue


def _next_version(family: Path) -> str:
    numbers = [int(path.name) for path in family.iterdir() if path.name.isdigit()]
    return str(max(numbers, default=0) + 1)
