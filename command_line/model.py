"""`compactface model`: list, verify, sign and choose models."""

from pathlib import Path
from typing import Annotated

import typer

from command_line.model_import import import_extractor
from command_line.options import SHIPPED_MODELS, Json, Models
from command_line.output import show_facts, show_json, show_table

app = typer.Typer(no_args_is_help=True, help="List, verify, sign and choose models.")

Family = Annotated[str, typer.Option(help="Model family.")]
Version = Annotated[str | None, typer.Argument(help="Model version; default: the current one.")]


@app.command("list")
def list_(models: Models = SHIPPED_MODELS) -> None:
    """List families and versions; the current ones are marked."""
    from shared.errors import InvalidModel
    from shared.model_directory import current_version

    rows = []
    for manifest in sorted(models.glob("*/*/manifest.json")):
        family, version = manifest.parts[-3:-1]
        try:
            current = current_version(models, family)
        except InvalidModel:
            current = ""
        rows.append([family, version, "current" if version == current else ""])
    show_table(["family", "version", ""], rows)


@app.command()
def show(
    version: Version = None,
    *,
    models: Models = SHIPPED_MODELS,
    family: Family = "default",
    to_json: Json = False,
) -> None:
    """Show a model's codecs, embedding space and measured results."""
    from shared.model_directory import ModelDirectory

    manifest = ModelDirectory.load(models, family, version).manifest
    if to_json:
        show_json(manifest.model_dump(mode="json"))
        return
    rows = [
        [
            point + (" (default)" if point == manifest.default_point else ""),
            codec.codec_id,
            f"{codec.channels}x{codec.height}x{codec.width}",
            str(codec.levels),
            codec.layout,
            "" if point in manifest.encodable else "read only",
        ]
        for point, codec in manifest.codecs.items()
    ]
    show_table(
        ["operating point", "codec", "map", ">levels", "layout", ""],
        rows,
        title=f"{manifest.family}/{manifest.version}",
    )
    typer.echo(f"embedding space {manifest.embedding_space}")
    typer.echo(f"calibrated pairs of codecs: {len(manifest.calibration)}")
    for name, value in manifest.measured.items():
        show_facts(name, value)


@app.command()
def verify(
    version: Version = None,
    *,
    models: Models = SHIPPED_MODELS,
    family: Family = "default",
    public_key: Annotated[
        Path | None, typer.Option(help="PEM file of the Ed25519 key that must have signed it.")
    ] = None,
) -> None:
    """Check every file of a model against its manifest, and its signature if a key is given."""
    from shared.model_directory import ModelDirectory
    from shared.model_directory.signature import Signer

    signer = Signer.read(public_key) if public_key else None
    model = ModelDirectory.load(models, family, version, signer=signer)
    signed = "" if signer is None else "; the signature is right"
    typer.echo(f"{model.path}: {len(model.manifest.files)} files match the manifest{signed}")


@app.command()
def sign(
    version: Version = None,
    *,
    key: Annotated[Path, typer.Option(help="PEM file of an Ed25519 private key.")],
    models: Models = SHIPPED_MODELS,
    family: Family = "default",
) -> None:
    """Verify a model and sign it, for services that set `model_public_key`."""
    from shared.model_directory import ModelDirectory
    from shared.model_directory.signature import SIGNATURE_FILE
    from shared.model_directory.signature import sign as write_signature

    model = ModelDirectory.load(models, family, version)
    write_signature(model, key)
    typer.echo(f"{model.path / SIGNATURE_FILE} written")


@app.command()
def use(
    version: Annotated[str, typer.Argument(help="Version to make current.")],
    *,
    models: Models = SHIPPED_MODELS,
    family: Family = "default",
) -> None:
    """Verify a version and make it current."""
    from shared.model_directory import set_current

    set_current(models, family, version)
    typer.echo(f"{family}: version {version} is current")


@app.command()
def slim(
    version: Annotated[str, typer.Argument(help="Name of the new version, e.g. 4.5.")],
    *,
    of: Annotated[
        str | None, typer.Option(help="Version to write so; default: the current one.")
    ] = None,
    models: Models = SHIPPED_MODELS,
    family: Family = "default",
) -> None:
    """Leave out the CompNets of codecs from earlier versions: their maps can be read, not made."""
    from shared.model_directory import ModelDirectory, without_carried_compnets

    model = ModelDirectory.load(models, family, of)
    slimmer = without_carried_compnets(model, models, version=version)
    typer.echo(f"{slimmer.path} written")


app.command()(import_extractor)
