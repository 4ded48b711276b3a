"""`compactface model import-extractor`: use an imported face network as a family's extractor."""

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
            help="Photographs for calibration: one folder per person, or a training cache.",
        ),
    ],
    mean: Annotated[
        str, typer.Option(metavar="M[,M,M]", help="Mean of R, G, B, for pixels in [0, 255].")
    ],
    std: Annotated[
        str, typer.Option(metavar="S[,S,S]", help="Standard deviation of R, G, B, likewise.")
    ],
    licence: Annotated[str, typer.Option(help="Licence of the network, kept in the manifest.")],
    size: Annotated[
        str, typer.Option("--input", metavar="HxW", help="Height and width of its input.")
    ] = "112x112",
    colour: Annotated[
        Literal["RGB", "BGR"], typer.Option(help="Channel order of its input.")
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
        int, typer.Option(min=10, help="Approximate number of photographs for calibration.")
    ] = 4000,
    threads: Annotated[int, typer.Option(min=1, help="Number of cores.")] = _CORES,
) -> None:
    """Make a version with the same codecs and another extractor, calibrated on your faces.

    Existing maps remain valid: after `compactface model use`, `compactface gallery reembed` or a
    restart of the service embeds them with the new extractor. Needs compactface[train].
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
        f"{family}/{version}: {file.name}, embedding size {manifest.extractor.embedding_size}, "
        f"space {manifest.embedding_space}; the codecs are those of {family}/"
        f"{kept.manifest.version}"
    )
    typer.echo(f"calibrated down to FMR {rarest:g}; lower rates are extrapolated")


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
        raise typer.BadParameter(f"{text!r} must be one number, or three separated by commas")
    red, green, blue = values
    return red, green, blue


def _next_version(family: Path) -> str:
    numbers = [int(path.name) for path in family.iterdir() if path.name.isdigit()]
    return str(max(numbers, default=0) + 1)
