"""The entry point of the recognizer service."""

from recognizer_service.server import run
from recognizer_service.settings import RecognizerSettings
from shared.serving.process import run_process


def main(settings: RecognizerSettings) -> None:
    """Serve until SIGTERM or SIGINT."""
    run_process(run, settings)
