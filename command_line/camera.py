"""`compactface camera`: cameras in, sightings out, through an encoder service."""

import inspect
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import typer

from command_line.options import TOKEN_VARIABLE, TlsOptions, declare, option, setting_flags

_Sources = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="SOURCE...",
        help="rtsp:// or another URL, /dev/video0, a video file, a picture, a folder of pictures.",
        show_default=False,
    ),
]
_Config = Annotated[
    Path | None, typer.Option(help="TOML file with settings and tables \\[\\[cameras]].")
]
_NOT_FLAGS = {"cameras", "source"}


def camera_command() -> Any:
    """The command; its flags are the settings' fields."""

    def camera(sources: list[str] | None, config: Path | None, **settings: Any) -> None:
        """Watch cameras: one face of each person who passes goes to the recognizer.

        Needs an encoder service with an uplink. A flag about cameras holds for all of them, and
        wins over the file.
        """
        from camera_gateway.settings import load_settings

        loaded = load_settings(sources or [], config=config, **settings)
        TlsOptions(loaded.ca, loaded.certificate, loaded.key).load()  # says what is wrong with them
        _run(loaded)

    app = typer.Typer(add_completion=False)
    app.command("camera")(declare(camera, list(_parameters())))
    return typer.main.get_command(app)


def _parameters() -> Iterator[inspect.Parameter]:
    from camera_gateway.settings import CameraSettings, GatewaySettings

    yield option("sources", _Sources, None)
    yield option("config", _Config, None)
    for panel, cls in ("Each camera", CameraSettings), ("Process", GatewaySettings):
        for parameter in setting_flags(cls, panel=panel, variables={"token": TOKEN_VARIABLE}):
            if parameter.name not in _NOT_FLAGS:
                yield parameter


def _run(settings: Any) -> None:
    """Until SIGTERM, SIGINT or the end of all sources."""
    from camera_gateway.gateway import Gateway
    from shared.serving.logs import configure_logging
    from shared.serving.process_metrics import process_registry

    configure_logging(log_format=settings.log_format, log_level=settings.log_level)
    signals: list[int] = []
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda got, _frame: signals.append(got))
    with Gateway(settings, process_registry(settings)) as gateway:
        while not (signals or gateway.finished):
            time.sleep(0.1)
    if gateway.error is not None and not signals:
        raise gateway.error
