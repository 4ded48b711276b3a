"""`compactface train`: train a model from a folder of faces, stage by stage.

Every stage writes checkpoints into its run folder and resumes from them when started again.
Several processes train together under `torchrun -m command_line train ...`.
"""

import os
from pathlib import Path
from typing import Annotated, Any

import typer

from shared.errors import InvalidTraining

app = typer.Typer(
    no_args_is_help=True,
    help="Train a model: cache, views, extractor, codec, classifier, joint, average, publish. "
    "On another machine: bundle, unbundle.",
)

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

_RUNS = Path("build/training")
_IMPORTED = "onnx:"
_CACHE = _RUNS / "cache"
_CORES = os.cpu_count() or 1


@app.command()
def cache(
    source: Annotated[Path, typer.Argument(help="Zip archives, or one folder per identity.")],
    teacher: Teachers,
    cache: Cache = _CACHE,
) -> None:
    """Decode and align the faces, and embed them with the teacher, once."""
    from shared.training.face_cache import cache_faces
    from shared.training.teacher import Teacher, cache_teacher
    from shared.training.teacher_file import TeacherFile

    network = Teacher(*map(TeacherFile.parse, teacher), threads=_CORES)
    left_out = cache_faces(source, cache)
    for name in left_out:
        typer.echo(f"skipped, no face or unreadable: {name}", err=True)
    cache_teacher(network, cache)


@app.command()
def views(
    teacher: Teachers,
    cache: Cache = _CACHE,
    count: Annotated[int, typer.Option(min=1, help="Mixtures to draw.")] = 240_000,
    seed: Annotated[int, typer.Option(help="Random seed.")] = 11,
) -> None:
    """Mix training faces in pairs and embed every mixture with the teacher."""
    from shared.training.teacher import Teacher
    from shared.training.teacher_file import TeacherFile
    from shared.training.views import cache_views

    network = Teacher(*map(TeacherFile.parse, teacher), threads=_CORES)
    cache_views(network, cache, count=count, seed=seed)


@app.command()
def extractor(
    cache: Cache = _CACHE,
    out: Out = _RUNS / "extractor",
    teacher: TrainingTeachers = [],  # noqa: B006 - required by Typer
    start: Annotated[
        Path | None,
        typer.Option(
            exists=True, help="Initial weights: a run folder, or a model's extractor.safetensors."
        ),
    ] = None,
    profile: Profile = "default",
    recipe: RecipeFile = None,
    samples: Samples = None,
    smoke: Smoke = False,
) -> None:
    """Stage 0: train sphere20 by distillation and LMCL."""
    from shared.training.extractor import ExtractorRecipe, train_extractor
    from shared.training.faces import load_faces
    from shared.training.recipe import read_recipe
    from shared.training.teacher_file import TeacherFile
    from shared.training.views import NO_VIEWS, load_views

    path = _recipe_path("extractor", profile, recipe, smoke=smoke)
    chosen = read_recipe(ExtractorRecipe, path, **_changes(samples))
    _log()
    teachers = [TeacherFile.parse(each) for each in teacher]
    views = NO_VIEWS if chosen.views == "live" else load_views(cache)
    train_extractor(load_faces(cache), views, chosen, out, teachers=teachers, start=start)


@app.command()
def codec(
    cache: Cache = _CACHE,
    extractor: AnyExtractor = str(_RUNS / "extractor"),
    out: Out = _RUNS / "codec",
    teacher: TrainingTeachers = [],  # noqa: B006 - required by Typer
    start: Start = None,
    photographs: Annotated[
        Path | None, typer.Option(help="Photographs to cut patches from, for profiles that do.")
    ] = None,
    profile: Profile = "default",
    recipe: RecipeFile = None,
    samples: Samples = None,
    smoke: Smoke = False,
) -> None:
    """Stage 1: train CompNet and RecNet on the frozen extractor, or alone on --photographs."""
    from shared.training.patches import PatchRecipe, train_on_patches
    from shared.training.recipe import read_recipe

    path = _recipe_path("codec", profile, recipe, smoke=smoke)
    if photographs is None:
        _train_codec(
            path, cache, out, extractor=extractor, teacher=teacher, start=start, samples=samples
        )
        return
    _log()
    train_on_patches(photographs, read_recipe(PatchRecipe, path, **_changes(samples)), out)


@app.command()
def classifier(
    cache: Cache = _CACHE,
    extractor: Extractor = _RUNS / "extractor",
    out: Out = _RUNS / "classifier",
    profile: Profile = "default",
    recipe: RecipeFile = None,
    samples: Samples = None,
    smoke: Smoke = False,
) -> None:
    """Stage 2: train LMCL's weights on the frozen extractor."""
    from shared.training.classifier import ClassifierRecipe, train_classifier
    from shared.training.faces import load_faces
    from shared.training.recipe import read_recipe

    path = _recipe_path("classifier", profile, recipe, smoke=smoke)
    chosen = read_recipe(ClassifierRecipe, path, **_changes(samples))
    _log()
    train_classifier(load_faces(cache), chosen, out, extractor=extractor)


@app.command()
def joint(
    cache: Cache = _CACHE,
    extractor: AnyExtractor = str(_RUNS / "extractor"),
    codec: Annotated[
        Path, typer.Option(help="Initial weights: run folder of stage 1, or a model version.")
    ] = _RUNS / "codec",
    teacher: TrainingTeachers = [],  # noqa: B006 - required by Typer
    out: Out = _RUNS / "joint",
    profile: Profile = "default",
    recipe: RecipeFile = None,
    samples: Samples = None,
    smoke: Smoke = False,
) -> None:
    """Stage 3: train CompNet, RecNet and extractor together."""
    path = _recipe_path("joint", profile, recipe, smoke=smoke)
    _train_codec(
        path, cache, out, extractor=extractor, teacher=teacher, start=codec, samples=samples
    )


@app.command()
def average(
    runs: Annotated[list[Path], typer.Argument(help="Run folders of one stage, the newest last.")],
    out: Annotated[Path, typer.Option(help="Run folder of the average.")] = _RUNS / "average",
) -> None:
    """Average the weights of runs that continue one another."""
    from shared.training.averaging import average_runs

    average_runs(runs, out)


@app.command()
def publish(
    version: Annotated[str, typer.Argument(help="Name of the new version, e.g. 2.")],
    runs: Annotated[
        list[Path],
        typer.Option("--run", help="Run folders of all stages; the last holds the networks."),
    ] = [_RUNS / "extractor", _RUNS / "codec", _RUNS / "joint"],  # noqa: B006 - required by Typer
    cache: Cache = _CACHE,
    models: Annotated[Path, typer.Option(help="Folder of model families.")] = Path("deploy/models"),
    family: Annotated[str, typer.Option(help="Model family.")] = "default",
    point: Annotated[str, typer.Option(help="Default operating point.")] = "standard",
    carried: Annotated[
        list[str], typer.Option("--carry", help="Earlier version whose codecs to include.")
    ] = [],  # noqa: B006 - required by Typer
) -> None:
    """Write the networks as a model directory, calibrated on held-out identities."""
    from shared.training.faces import load_faces
    from shared.training.publish import publish as write

    model = write(
        runs,
        faces=load_faces(cache),
        models=models,
        family=family,
        version=version,
        default_point=point,
        carried=carried,
        threads=_CORES,
    )
    typer.echo(
        f"{model.path} written; `compactface model use {version} --models {models}` "
        "makes it current"
    )


@app.command()
def quality(
    version: Annotated[str, typer.Argument(help="Name of the new version, e.g. 3.1.")],
    of: Annotated[
        str | None, typer.Option(help="Version to take everything else from; default: the current.")
    ] = None,
    cache: Cache = _CACHE,
    models: Annotated[Path, typer.Option(help="Folder of model families.")] = Path("deploy/models"),
    family: Annotated[str, typer.Option(help="Model family.")] = "default",
    people: Annotated[int, typer.Option(min=8, help="People of training to learn from.")] = 896,
    held_out: Annotated[int, typer.Option(min=8, help="People held out to set scales by.")] = 512,
    threads: Annotated[int, typer.Option(min=1, help="Cores to use.")] = _CORES,
    kept: Annotated[
        Path, typer.Option(help="Keeps what faces were coded to; delete it at will.")
    ] = _RUNS / "coded",
) -> None:
    """Fit quality heads, and what spoilt photographs add to thresholds; nothing else changes."""
    import torch
    from rich.progress import Progress

    from shared.evaluation.cache import Cache as Coded
    from shared.model_directory import ModelDirectory
    from shared.training.faces import load_faces
    from shared.training.trust import add_quality

    torch.set_num_threads(threads)
    with Progress() as bar:
        task = bar.add_task("faces", total=None)
        model = add_quality(
            ModelDirectory.load(models, family, of),
            load_faces(cache),
            models=models,
            version=version,
            people=people,
            held_out=held_out,
            threads=threads,
            cache=Coded(kept),
            progress=lambda done, total: bar.update(task, completed=done, total=total),
        )
    typer.echo(
        f"{model.path} written; `compactface model use {version} --models {models}` "
        "makes it current"
    )


@app.command()
def bundle(
    out: Annotated[Path, typer.Argument(help="Folder for the files, empty or missing.")],
    stages: Annotated[
        list[str], typer.Option("--stage", help="Stages to train, in this order.")
    ] = ["extractor", "codec", "joint"],  # noqa: B006 - required by Typer
    cache: Cache = _CACHE,
    teacher: TrainingTeachers = [],  # noqa: B006 - required by Typer
    runs: Annotated[
        list[Path],
        typer.Option("--run", help="Run folder that a stage continues or builds on."),
    ] = [],  # noqa: B006 - required by Typer
    profile: Profile = "accelerator",
    recipes: Annotated[
        Path | None, typer.Option(help="Folder of your own recipes, named STAGE.toml.")
    ] = None,
    python: Annotated[
        str | None,
        typer.Option(
            metavar="VERSION",
            help="Python version there, e.g. 3.12, to include required packages except torch and "
            "numpy (Linux, x86-64); default: none.",
        ),
    ] = None,
    megabytes: Annotated[float, typer.Option(min=0.1, max=60, help="Size limit per file.")] = 60,
    smoke: Smoke = False,
) -> None:
    """Pack faces, recipes and code for a machine without network; run train.py there."""
    from shared.training.bundle import make_bundle, stage_recipes
    from shared.training.faces import load_faces
    from shared.training.teacher_file import TeacherFile
    from shared.training.views import NO_VIEWS, VIEWS_FILE, load_views

    chosen = stage_recipes("smoke" if smoke else profile, stages)
    if recipes is not None:
        chosen = {stage: recipes / f"{stage}.toml" for stage in chosen}
    made = make_bundle(
        out,
        faces=load_faces(cache),
        views=load_views(cache) if (cache / VIEWS_FILE).exists() else NO_VIEWS,
        recipes=chosen,
        teachers=[TeacherFile.parse(text) for text in teacher],
        runs=runs,
        python=python,
        part_bytes=int(megabytes * 1e6),
    )
    for name, size in made.sizes.items():
        typer.echo(f"{name:16} {size / 1e6:8.1f} MB")
    typer.echo(f"{made.faces} faces and {made.views} views in {len(made.files)} files in {out}")


@app.command()
def unbundle(
    pieces: Annotated[Path, typer.Argument(exists=True, help="Folder of checkpoint pieces.")],
    out: Annotated[Path, typer.Option(help="Folder of run folders.")] = Path("build/elsewhere"),
) -> None:
    """Restore run folders from the newest complete checkpoints in pieces."""
    from shared.training.pieces import take_pieces

    taken, incomplete = take_pieces(pieces, out)
    for checkpoint in incomplete:
        missing = ", ".join(checkpoint.missing)
        typer.echo(f"{checkpoint.run}: step {checkpoint.step} lacks {missing}", err=True)
    for checkpoint in taken:
        typer.echo(
            f"{out / checkpoint.run}: step {checkpoint.step}, {checkpoint.minutes:.1f} minutes"
        )
    if not taken:
        raise InvalidTraining("NO_PIECES", f"{pieces} holds no complete checkpoint")


@app.command()
def ablation(
    cache: Cache = _CACHE,
    extractor: Extractor = _RUNS / "extractor",
    teacher: TrainingTeachers = [],  # noqa: B006 - required by Typer
    out: Annotated[Path, typer.Option(help="Folder of run folders.")] = _RUNS / "ablation",
    report: Annotated[Path, typer.Option(help="Folder of the table.")] = Path("report"),
    profile: Profile = "default",
    recipe: RecipeFile = None,
    smoke: Smoke = False,
) -> None:
    """Train stage 3 briefly with one change at a time, and tabulate the results."""
    from shared.training.ablation import AblationRecipe, run_ablation
    from shared.training.faces import load_faces
    from shared.training.recipe import read_recipe
    from shared.training.teacher_file import TeacherFile
    from shared.training.views import load_views

    chosen = read_recipe(AblationRecipe, _recipe_path("ablation", profile, recipe, smoke=smoke))
    _log()
    run_ablation(
        load_faces(cache),
        load_views(cache),
        chosen,
        out,
        extractor=extractor,
        teachers=[TeacherFile.parse(text) for text in teacher],
        report=report,
        threads=_CORES,
    )


def _train_codec(
    recipe: Path,
    cache: Path,
    out: Path,
    *,
    extractor: str,
    teacher: list[str],
    start: Path | None,
    samples: int | None,
) -> None:
    from shared.training.codec import train_codec
    from shared.training.codec_recipe import CodecRecipe
    from shared.training.faces import load_faces
    from shared.training.recipe import read_recipe
    from shared.training.teacher_file import TeacherFile
    from shared.training.views import NO_VIEWS, load_views

    chosen = read_recipe(CodecRecipe, recipe, **_changes(samples))
    _log()
    views = NO_VIEWS if chosen.views == "live" else load_views(cache)
    teachers = [TeacherFile.parse(text) for text in teacher]
    before = (
        TeacherFile.parse(extractor.removeprefix(_IMPORTED))
        if extractor.startswith(_IMPORTED)
        else Path(extractor)
    )
    train_codec(
        load_faces(cache), views, chosen, out, extractor=before, teachers=teachers, start=start
    )


def _recipe_path(stage: str, profile: str, recipe: Path | None, *, smoke: bool) -> Path:
    from shared.training.recipe import recipe_path

    return recipe or recipe_path("smoke" if smoke else profile, stage)


def _changes(samples: int | None) -> dict[str, dict[str, Any]]:
    return {} if samples is None else {"schedule": {"samples": samples}}


def _log() -> None:
    from shared.serving.logs import configure_logging

    configure_logging(log_format="console")
