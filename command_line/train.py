"""`compactface train`: from a folder of faces to a model directory, stage by stage.

Every stage writes a checkpoint into its run folder; started again, it goes on from there.
"""

import os
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(
    no_args_is_help=True, help="Train a model: cache, extractor, codec, joint, publish."
)

Cache = Annotated[Path, typer.Option(help="Folder that `train cache` has filled.")]
Out = Annotated[Path, typer.Option(help="Run folder: configuration and checkpoint.")]
Samples = Annotated[int | None, typer.Option(min=1, help="Faces to see; default: the recipe's.")]

_CORES = os.cpu_count() or 1


@app.command()
def cache(
    source: Annotated[Path, typer.Argument(help="Zip archives, or one folder per identity.")],
    teacher: Annotated[Path, typer.Option(help="ONNX file of the teacher, 112x112 input.")],
    cache: Cache = Path("build/training/cache"),
) -> None:
    """Decode aligned 112x112 faces once, and embed them with the teacher once."""
    from shared.training.faces import cache_faces
    from shared.training.teacher import cache_teacher

    cache_faces(source, cache)
    cache_teacher(teacher, cache, threads=_CORES)


@app.command()
def extractor(
    cache: Cache = Path("build/training/cache"),
    out: Out = Path("build/training/extractor"),
    samples: Samples = None,
) -> None:
    """Stage 0: sphere20, distilled from the teacher and pulled apart by LMCL."""
    from shared.training.extractor import ExtractorConfig, train_extractor
    from shared.training.faces import load_faces

    config = ExtractorConfig() if samples is None else ExtractorConfig(samples=samples)
    _log()
    train_extractor(load_faces(cache), config, out)


@app.command()
def codec(
    cache: Cache = Path("build/training/cache"),
    extractor: Annotated[Path, typer.Option(help="Run folder of stage 0.")] = Path(
        "build/training/extractor"
    ),
    out: Out = Path("build/training/codec"),
    samples: Samples = None,
) -> None:
    """Stage 1: CompNet and RecNet, before the frozen extractor."""
    from shared.training.codec import STAGE_1, load_student, train_codec
    from shared.training.faces import load_faces

    _log()
    config = STAGE_1 if samples is None else replace(STAGE_1, samples=samples)
    train_codec(load_faces(cache), load_student(extractor), config, out)


@app.command()
def joint(
    cache: Cache = Path("build/training/cache"),
    extractor: Annotated[Path, typer.Option(help="Run folder of stage 0.")] = Path(
        "build/training/extractor"
    ),
    codec: Annotated[Path, typer.Option(help="Run folder of stage 1.")] = Path(
        "build/training/codec"
    ),
    out: Out = Path("build/training/joint"),
    samples: Samples = None,
) -> None:
    """Stage 3: CompNet, RecNet and extractor together."""
    from shared.training.codec import STAGE_3, load_student, train_codec
    from shared.training.faces import load_faces

    _log()
    config = STAGE_3 if samples is None else replace(STAGE_3, samples=samples)
    train_codec(load_faces(cache), load_student(extractor), config, out, start=codec)


@app.command()
def publish(
    version: Annotated[str, typer.Argument(help="Name of the new version, e.g. 2.")],
    runs: Annotated[
        Path, typer.Option(help="Folder of the run folders extractor, codec and joint.")
    ] = Path("build/training"),
    cache: Cache = Path("build/training/cache"),
    models: Annotated[Path, typer.Option(help="Folder of model families.")] = Path("deploy/models"),
    family: Annotated[str, typer.Option(help="Model family.")] = "default",
    point: Annotated[str, typer.Option(help="Name of the operating point.")] = "standard",
) -> None:
    """Store the networks as a model directory, calibrated on held-out identities."""
    from shared.training.faces import load_faces
    from shared.training.publish import publish as write

    model = write(
        {stage: runs / stage for stage in ("extractor", "codec", "joint")},
        faces=load_faces(cache),
        models=models,
        family=family,
        version=version,
        point=point,
        threads=_CORES,
    )
    typer.echo(f"{model.path} written; `compactface model use {version}` makes it current")


def _log() -> None:
    from shared.service.logs import configure_logging

    configure_logging(log_format="console")
