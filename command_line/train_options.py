"""Options of `compactface train`."""

import os
from pathlib import Path
from typing import Annotated

import typer

Cache = Annotated[Path, typer.Option(help="Cache folder from `train cache`.")]
Out = Annotated[Path, typer.Option(help="Run folder: recipe, checkpoint, TensorBoard log.")]
Profile = Annotated[
    str,
    typer.Option(help="Built-in recipes: default, accelerator, paper, paper-cpu or smoke."),
]
RecipeFile = Annotated[
    Path | None, typer.Option("--recipe", help="Your own TOML recipe instead of the profile's.")
]
Samples = Annotated[int | None, typer.Option(min=1, help="Faces to see; default: the recipe's.")]
Smoke = Annotated[bool, typer.Option("--smoke", help="A run of seconds; same as --profile smoke.")]
Start = Annotated[
    Path | None, typer.Option(exists=True, help="Run folder with the initial weights.")
]
Extractor = Annotated[Path, typer.Option(help="Run folder of stage 0 or 2.")]
AnyExtractor = Annotated[
    str,
    typer.Option(
        metavar="RUN|onnx:FILE[@NORMALISATION]",
        help="Run folder of stage 0 or 2; or an imported face network, which stays frozen and "
        "must be the teacher of the cache.",
    ),
]
TrainingTeachers = Annotated[
    list[str],
    typer.Option(
        "--teacher",
        metavar="FILE[@NORMALISATION]",
        help="ONNX file of a teacher, for recipes with live views or teacher_weight; may be "
        "repeated.",
    ),
]
Teachers = Annotated[
    list[str],
    typer.Option(
        "--teacher",
        metavar="FILE[@NORMALISATION]",
        help="ONNX file of a teacher, 112x112 input; may be repeated to concatenate embeddings. "
        "Normalisation: imagenet (the default), symmetric or raw.",
    ),
]
NewVersion = Annotated[str, typer.Argument(help="Name of the new version, e.g. 2.1.")]
Of = Annotated[
    str | None, typer.Option(help="Version to take everything else from; default: the current.")
]
Models = Annotated[Path, typer.Option(help="Folder of model families.")]
Family = Annotated[str, typer.Option(help="Model family.")]
Threads = Annotated[int, typer.Option(min=1, help="Cores to use.")]

MODELS = Path("deploy/models")
RUNS = Path("build/training")
CACHE = RUNS / "cache"
CORES = os.cpu_count() or 1
