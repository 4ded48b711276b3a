"""`compactface train`: train a model from a folder of faces, stage by stage.

Every stage writes checkpoints into its run folder and resumes from them when started again.
Several processes train together under `torchrun -m command_line train ...`.
"""

from pathlib import Path
from typing import Annotated, Any

import typer

from command_line.train_options import (
    CACHE,
    CORES,
    RUNS,
    AnyExtractor,
    Cache,
    Extractor,
    Out,
    Profile,
    RecipeFile,
    Samples,
    Smoke,
    Start,
    Teachers,
    TrainingTeachers,
)
from command_line.train_products import (
    average,
    bundle,
    nuisances,
    publish,
    quality,
    quantize,
    readouts,
    unbundle,
    uses,
)

app = typer.Typer(
    no_args_is_help=True,
    help="Train a model: cache, views, extractor, codec, classifier, joint, average, publish. "
    "On another machine: bundle, unbundle.",
)

_IMPORTED = "onnx:"


@app.command()
def cache(
    source: Annotated[Path, typer.Argument(help="Zip archives, or one folder per identity.")],
    teacher: Teachers,
    cache: Cache = CACHE,
) -> None:
    """Decode and align the faces, and embed them with the teacher, once."""
    from shared.training.face_cache import cache_faces
    from shared.training.teacher import Teacher, cache_teacher
    from shared.training.teacher_file import TeacherFile

    network = Teacher(*map(TeacherFile.parse, teacher), threads=CORES)
    left_out = cache_faces(source, cache)
    for name in left_out:
        typer.echo(f"skipped, no face or unreadable: {name}", err=True)
    cache_teacher(network, cache)


@app.command()
def views(
    teacher: Teachers,
    cache: Cache = CACHE,
    count: Annotated[int, typer.Option(min=1, help="Mixtures to draw.")] = 240_000,
    seed: Annotated[int, typer.Option(help="Random seed.")] = 11,
) -> None:
    """Mix training faces in pairs and embed every mixture with the teacher."""
    from shared.training.teacher import Teacher
    from shared.training.teacher_file import TeacherFile
    from shared.training.views import cache_views

    network = Teacher(*map(TeacherFile.parse, teacher), threads=CORES)
    cache_views(network, cache, count=count, seed=seed)


@app.command()
def extractor(
    cache: Cache = CACHE,
    out: Out = RUNS / "extractor",
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
    cache: Cache = CACHE,
    extractor: AnyExtractor = str(RUNS / "extractor"),
    out: Out = RUNS / "codec",
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
    cache: Cache = CACHE,
    extractor: Extractor = RUNS / "extractor",
    out: Out = RUNS / "classifier",
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
    cache: Cache = CACHE,
    extractor: AnyExtractor = str(RUNS / "extractor"),
    codec: Annotated[
        Path, typer.Option(help="Initial weights: run folder of stage 1, or a model version.")
    ] = RUNS / "codec",
    teacher: TrainingTeachers = [],  # noqa: B006 - required by Typer
    out: Out = RUNS / "joint",
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
def ablation(
    cache: Cache = CACHE,
    extractor: Extractor = RUNS / "extractor",
    teacher: TrainingTeachers = [],  # noqa: B006 - required by Typer
    out: Annotated[Path, typer.Option(help="Folder of run folders.")] = RUNS / "ablation",
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
        threads=CORES,
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


app.command()(average)
app.command()(publish)
app.command()(quantize)
app.command()(nuisances)
app.command()(readouts)
app.command()(uses)
app.command()(quality)
app.command()(bundle)
app.command()(unbundle)
