"""`compactface serve`: run a service or the web gateway; every setting is a flag."""

import inspect
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperGroup

from command_line.errors import EXIT_FAILED, missing_extra
from command_line.options import declare, option, setting_flags

if TYPE_CHECKING:
    from shared.serving.process_settings import ProcessSettings

_Config = Annotated[
    Path | None,
    typer.Option(help="TOML file with tables \\[encoder], \\[recognizer] and \\[web]."),
]


class _Services(TyperGroup):
    """Builds a service's command on demand, with the fields of its settings as flags."""

    def list_commands(self, ctx: Any) -> list[str]:  # noqa: ARG002
        return list(_COMMANDS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        if cmd_name not in self.list_commands(ctx):
            return None
        app = typer.Typer(add_completion=False)
        app.command(cmd_name)(_COMMANDS[cmd_name]())
        return typer.main.get_command(app)


app = typer.Typer(cls=_Services, no_args_is_help=True, help="Run a service, or the web gateway.")


def _encoder() -> Callable[..., None]:
    from encoder_service.settings import EncoderSettings

    def serve(**settings: Any) -> None:
        """Run the encoder: photographs in, compact maps out.

        Every setting is a flag, a variable COMPACTFACE_ENCODER_<NAME> and a key of the file. Flags
        take precedence over variables, variables over the file.
        """
        _run("encoder_service.server", EncoderSettings, **settings)

    return declare(serve, _flags(EncoderSettings))


def _recognizer() -> Callable[..., None]:
    from recognizer_service.settings import RecognizerSettings

    def serve(**settings: Any) -> None:
        """Run the recognizer: compact maps in, identities out.

        Every setting is a flag, a variable COMPACTFACE_RECOGNIZER_<NAME> and a key of the file.
        Flags take precedence over variables, variables over the file.
        """
        _run("recognizer_service.server", RecognizerSettings, **settings)

    return declare(serve, _flags(RecognizerSettings))


def _web() -> Callable[..., None]:
    from web_gateway.settings import WebSettings

    def serve(**settings: Any) -> None:
        """Serve REST and the console in front of the two services.

        Every setting is a flag, a variable COMPACTFACE_WEB_<NAME> and a key of the file; a
        flag wins over a variable, and a variable over the file.
        """
        _run("web_gateway.server", WebSettings, **settings)

    return declare(serve, _flags(WebSettings))


_COMMANDS = {"encoder": _encoder, "recognizer": _recognizer, "web": _web}


def _run(module: str, cls: "type[ProcessSettings]", **settings: Any) -> None:
    from shared.serving.settings_loader import load_settings

    loaded = load_settings(cls, **settings)
    try:
        from shared.serving.process import run_process

        service = import_module(module)
    except ModuleNotFoundError as missing:
        if missing.name is None or missing.name.startswith(("shared", module.partition(".")[0])):
            raise  # a bug
        typer.echo(missing_extra(missing.name, cls.table), err=True)
        raise typer.Exit(EXIT_FAILED) from None
    run_process(service.run, loaded)


def _flags(cls: "type[ProcessSettings]") -> list[inspect.Parameter]:
    """`--config`, and one option for each setting."""
    return [option("config", _Config, None), *setting_flags(cls, panel="Settings")]
