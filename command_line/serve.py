"""`compactface serve`: the two services as processes."""

from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(no_args_is_help=True, help="Run one of the two services.")

Config = Annotated[
    Path | None, typer.Option(help="TOML file with the tables [encoder] and [recognizer].")
]
Host = Annotated[str | None, typer.Option(help="Address to bind.")]
PortOption = Annotated[int | None, typer.Option(help="gRPC port; 0 takes a free one.")]
MetricsPort = Annotated[int | None, typer.Option(help="Prometheus port; 0 takes a free one.")]
Models = Annotated[Path | None, typer.Option(help="Root of the model directory.")]
Insecure = Annotated[
    bool | None, typer.Option("--insecure", help="Allow a non-loopback bind without mutual TLS.")
]
LogFormat = Annotated[str | None, typer.Option(help="json or console.")]


@app.command()
def encoder(
    config: Config = None,
    host: Host = None,
    port: PortOption = None,
    metrics_port: MetricsPort = None,
    models: Models = None,
    operating_point: Annotated[str | None, typer.Option(help="Codec to use.")] = None,
    uplink_target: Annotated[
        str | None, typer.Option(help="host:port of the recognizer to stream maps to.")
    ] = None,
    insecure: Insecure = None,
    log_format: LogFormat = None,
) -> None:
    """Serve the camera's side: photographs in, compact maps out.

    Every setting can also be given as COMPACTFACE_ENCODER_<NAME> or in the file.
    """
    from encoder_service.main import main
    from encoder_service.settings import EncoderSettings
    from shared.service.settings_loader import load_settings

    main(
        load_settings(
            EncoderSettings,
            config=config,
            host=host,
            port=port,
            metrics_port=metrics_port,
            models=models,
            operating_point=operating_point,
            uplink_target=uplink_target,
            insecure=insecure,
            log_format=log_format,
        )
    )


@app.command()
def recognizer(
    config: Config = None,
    host: Host = None,
    port: PortOption = None,
    metrics_port: MetricsPort = None,
    models: Models = None,
    gallery: Annotated[Path | None, typer.Option(help="Folder of the gallery.")] = None,
    device: Annotated[str | None, typer.Option(help="cpu or cuda.")] = None,
    insecure: Insecure = None,
    log_format: LogFormat = None,
) -> None:
    """Serve the data centre's side: compact maps in, identities out.

    Every setting can also be given as COMPACTFACE_RECOGNIZER_<NAME> or in the file.
    """
    from recognizer_service.main import main
    from recognizer_service.settings import RecognizerSettings
    from shared.service.settings_loader import load_settings

    main(
        load_settings(
            RecognizerSettings,
            config=config,
            host=host,
            port=port,
            metrics_port=metrics_port,
            models=models,
            gallery=gallery,
            device=device,
            insecure=insecure,
            log_format=log_format,
        )
    )
