"""What `compactface train` makes of runs: model directories, and bundles for elsewhere."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from command_line.train_options import (
    CACHE,
    CORES,
    MODELS,
    RUNS,
    Cache,
    Family,
    Models,
    NewVersion,
    Of,
    Profile,
    Smoke,
    Threads,
    TrainingTeachers,
)
from shared.errors import InvalidTraining

if TYPE_CHECKING:
    from shared.model_directory import ModelDirectory


def average(
    runs: Annotated[list[Path], typer.Argument(help="Run folders of one stage, the newest last.")],
    out: Annotated[Path, typer.Option(help="Run folder of the average.")] = RUNS / "average",
) -> None:
    """Average the weights of runs that continue one another."""
    from shared.training.averaging import average_runs

    average_runs(runs, out)


def publish(
    version: NewVersion,
    runs: Annotated[
        list[Path],
        typer.Option("--run", help="Run folders of all stages; the last holds the networks."),
    ] = [RUNS / "extractor", RUNS / "codec", RUNS / "joint"],  # noqa: B006 - required by Typer
    cache: Cache = CACHE,
    models: Models = MODELS,
    family: Family = "default",
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
        threads=CORES,
    )
    _tell(model.path, version, models)


def quantize(
    version: NewVersion,
    of: Of = None,
    cache: Cache = CACHE,
    models: Models = MODELS,
    family: Family = "default",
    threads: Threads = CORES,
) -> None:
    """Let cameras compute an older model in 8 bits, as `publish` does; calibrated anew."""
    from shared.training.rewrite import quantize as write

    _rewrite(write, version, of, cache, models, family, threads)


def nuisances(
    version: NewVersion,
    of: Of = None,
    cache: Cache = CACHE,
    models: Models = MODELS,
    family: Family = "default",
    threads: Threads = CORES,
) -> None:
    """Find an older model's nuisances and readouts as `publish` does; calibrated anew."""
    from shared.training.rewrite import remove_nuisances

    _rewrite(remove_nuisances, version, of, cache, models, family, threads)


def readouts(
    version: NewVersion,
    of: Of = None,
    cache: Cache = CACHE,
    models: Models = MODELS,
    family: Family = "default",
    threads: Threads = CORES,
) -> None:
    """Find an older model's readouts as `publish` does, and keep its nuisances; calibrated anew."""
    from shared.training.rewrite import add_readouts

    _rewrite(add_readouts, version, of, cache, models, family, threads)


def uses(
    version: NewVersion,
    of: Of = None,
    cache: Cache = CACHE,
    models: Models = MODELS,
    family: Family = "default",
    threads: Threads = CORES,
) -> None:
    """Find anew how an older model's readouts are used; cameras stay as they are."""
    from shared.training.rewrite import renew_uses

    _rewrite(renew_uses, version, of, cache, models, family, threads)


def _rewrite(
    write: "Callable[..., ModelDirectory]",
    version: str,
    of: str | None,
    cache: Path,
    models: Path,
    family: str,
    threads: int,
) -> None:
    from shared.model_directory import ModelDirectory
    from shared.training.faces import load_faces

    model = write(
        ModelDirectory.load(models, family, of),
        faces=load_faces(cache),
        models=models,
        version=version,
        threads=threads,
    )
    _tell(model.path, version, models)


def quality(
    version: NewVersion,
    of: Of = None,
    cache: Cache = CACHE,
    models: Models = MODELS,
    family: Family = "default",
    people: Annotated[int, typer.Option(min=8, help="People of training to learn from.")] = 896,
    held_out: Annotated[int, typer.Option(min=8, help="People held out to set scales by.")] = 512,
    points: Annotated[
        list[str] | None,
        typer.Option(
            "--point",
            help="Operating point whose networks get a new head; repeatable; default: all.",
        ),
    ] = None,
    threads: Threads = CORES,
    kept: Annotated[
        Path, typer.Option(help="Keeps what faces were coded to; delete it at will.")
    ] = RUNS / "coded",
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
            fitted=points,
            threads=threads,
            cache=Coded(kept),
            progress=lambda done, total: bar.update(task, completed=done, total=total),
        )
    _tell(model.path, version, models)


def bundle(
    out: Annotated[Path, typer.Argument(help="Folder for the files, empty or missing.")],
    stages: Annotated[
        list[str], typer.Option("--stage", help="Stages to train, in this order.")
    ] = ["extractor", "codec", "joint"],  # noqa: B006 - required by Typer
    cache: Cache = CACHE,
    teacher: TrainingTeachers = [],  # noqa: B006 - required by Typer
    runs: Annotated[
        list[Path],
        typer.Option("--run", help="Run folder that a stage continues or builds on."),
    ] = [],  # noqa: B006 - required by Typer
    model: Annotated[
        Path | None,
        typer.Option(exists=True, help="Folder of a model version to go on from."),
    ] = None,
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
    from shared.model_directory import ModelDirectory
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
        model=ModelDirectory.at(model) if model else None,
        python=python,
        part_bytes=int(megabytes * 1e6),
    )
    for name, size in made.sizes.items():
        typer.echo(f"{name:16} {size / 1e6:8.1f} MB")
    typer.echo(f"{made.faces} faces and {made.views} views in {len(made.files)} files in {out}")


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


def _tell(path: Path, version: str, models: Path) -> None:
    typer.echo(
        f"{path} written; `compactface model use {version} --models {models}` makes it current"
    )
