"""`compactface serve`: run a service; every setting is a flag."""

import inspect
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from pydantic_core import PydanticUndefined
from typer.core import TyperGroup

from command_line.options import declare, option

if TYPE_CHECKING:
    from shared.serving.settings import ServiceSettings

_Config = Annotated[
    Path | None,
    typer.Option(help="TOML file with tables \\[encoder] and \\[recognizer]."),
]


class _Services(TyperGroup):
    """Builds a service's command on demand, with the fields of its settings as flags."""

    def list_commands(self, ctx: Any) -> list[str]:  # noqa: ARG002
        return ["encoder", "recognizer"]

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        if cmd_name not in self.list_commands(ctx):
            return None
        app = typer.Typer(add_completion=False)
        app.command(cmd_name)(_encoder() if cmd_name == "encoder" else _recognizer())
        return typer.main.get_command(app)


app = typer.Typer(cls=_Services, no_args_is_help=True, help="Run one of the two services.")


def _encoder() -> Callable[..., None]:
    from encoder_service.settings import EncoderSettings

    def serve(**settings: Any) -> None:
        """Run the encoder: photographs in, compact maps out.

        Every setting is a flag, a variable COMPACTFACE_ENCODER_<NAME> and a key of the file. Flags
        take precedence over variables, variables over the file.
        """
        _run("encoder_service.main", EncoderSettings, **settings)

    return declare(serve, list(_flags(EncoderSettings)))


def _recognizer() -> Callable[..., None]:
    from recognizer_service.settings import RecognizerSettings

    def serve(**settings: Any) -> None:
        """Run the recognizer: compact maps in, identities out.

        Every setting is a flag, a variable COMPACTFACE_RECOGNIZER_<NAME> and a key of the file.
        Flags take precedence over variables, variables over the file.
        """
        _run("recognizer_service.main", RecognizerSettings, **settings)

    return declare(serve, list(_flags(RecognizerSettings)))


def _run(module: str, cls: "type[ServiceSettings]", **settings: Any) -> None:
    from shared.serving.settings_loader import load_settings

    loaded = load_settings(cls, **settings)
    import_module(module).main(loaded)


def _flags(cls: "type[ServiceSettings]") -> Iterator[inspect.Parameter]:
    """`--config`, and one option per setting, with None if it is not given."""
    yield option("config", _Config, None)
    for name, field in cls.model_fields.items():
        flag = typer.Option(
            help=" ".join([field.description or "", _default(field.default)]),
            rich_help_panel="Settings",
        )
        yield option(name, Annotated[_optional(field.annotation), flag], None)


def _default(value: Any) -> str:
    says_nothing = value in {None, "", PydanticUndefined} or isinstance(value, bool)
    return "" if says_nothing else f"[dim](default {value})[/dim]"


def _optional(annotation: Any) -> Any:
    return annotation | None
