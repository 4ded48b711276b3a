"""Entry point of the encoder service."""

from encoder_service.server import run
from encoder_service.settings import EncoderSettings
from shared.serving.process import run_process


def main(settings: EncoderSettings) -> None:
    """Serve until SIGTERM or SIGINT."""
    run_process(run, settings)
