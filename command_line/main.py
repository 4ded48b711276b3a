"""The program `compactface`: one command per task."""

import os
from importlib.metadata import version
from typing import Annotated, Any

import typer

from command_line import alerts, certs, evaluate, gallery, model, serve, sightings, token, train
from command_line.camera import camera_command
from command_line.demo.command import demo
from command_line.encode import encode
from command_line.enroll import enroll
from command_line.errors import ReportingGroup
from command_line.health import health
from command_line.identify import identify
from command_line.protocol import protocol
from command_line.verify import verify


class _Program(ReportingGroup):
    """Makes `camera` when it is asked for: its flags are settings, whose modules take a while."""

    def list_commands(self, ctx: Any) -> list[str]:
        return ["camera", *super().list_commands(ctx)]

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        return camera_command() if cmd_name == "camera" else super().get_command(ctx, cmd_name)


app = typer.Typer(
    cls=_Program,
    no_args_is_help=True,
    pretty_exceptions_enable=False,  # it would print local variables: photographs, names
    help="Face recognition over narrow networks, at a few hundred bytes per face.",
)
app.add_typer(serve.app, name="serve")
app.command()(demo)
app.command()(encode)
app.command()(enroll)
app.command()(identify)
app.command()(verify)
app.add_typer(gallery.app, name="gallery")
app.add_typer(sightings.app, name="sightings")
app.add_typer(alerts.app, name="alerts")
app.add_typer(model.app, name="model")
app.add_typer(train.app, name="train")
app.add_typer(evaluate.app, name="evaluate")
app.add_typer(token.app, name="token")
app.add_typer(certs.app, name="certs")
app.command()(health)
app.command()(protocol)


def _print_version(asked: bool) -> None:
    if asked:
        typer.echo(f"compactface {version('compactface')}")
        raise typer.Exit


@app.callback()
def _options(
    ctx: typer.Context,
    _version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_print_version, is_eager=True, help="Print the version."
        ),
    ] = False,
) -> None:
    """Apply settings common to all commands."""
    if ctx.invoked_subcommand != "serve":  # hides gRPC's own log; errors are reported anyway
        os.environ.setdefault("GRPC_VERBOSITY", "NONE")
