"""Entry point of the web gateway."""

from shared.serving.process import run_process
from web_gateway.server import run
from web_gateway.settings import WebSettings


def main(settings: WebSettings) -> None:
    """Serve until SIGTERM or SIGINT."""
    run_process(run, settings)
