"""`compactface demo`: enroll, identify and verify the sample photographs, and watch a camera."""

import signal
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from command_line.options import SHIPPED_MODELS, Models

if TYPE_CHECKING:
    from rich.console import Console

    from command_line.demo.passing import Passage
    from command_line.demo.performance import Performance


def demo(
    *,
    output: Annotated[
        Path, typer.Option(file_okay=False, help="Folder for the contact sheet and result.json.")
    ] = Path("build/demo"),
    photos: Annotated[
        Path, typer.Option(exists=True, file_okay=False, help="Folder of the sample photographs.")
    ] = Path("tests/data"),
    models: Models = SHIPPED_MODELS,
    family: Annotated[str, typer.Option(help="Model family.")] = "default",
) -> None:
    """Run both services, enroll, identify and verify the sample photographs, watch a camera.

    Exits with 1 if any answer is wrong.
    """
    from command_line.demo import report
    from command_line.demo.contact_sheet import draw
    from command_line.output import open_console
    from shared.private_files import private_file

    signal.signal(signal.SIGTERM, _exit)  # so that the services are stopped, too
    output.mkdir(parents=True, exist_ok=True)
    console = open_console()
    performance, passage = _perform(output, photos, models, family, console)
    report.show(performance, passage, console)
    sheet = output / "contact-sheet.png"
    with private_file(sheet) as file:
        draw(performance).save(file, format="PNG")
    console.print(f"{sheet} shows photo, crop, map, reconstruction and answer.")
    if not (performance.is_right and passage.is_right):
        raise typer.Exit(1)


def _perform(
    output: Path, photos: Path, models: Path, family: str, console: "Console"
) -> "tuple[Performance, Passage]":
    from command_line.demo import report
    from command_line.demo.passing import pass_by
    from command_line.demo.performance import perform
    from command_line.demo.processes import running_services
    from command_line.demo.scenario import COLLECTION
    from compactface.client import EncoderClient, RecognizerClient

    with (
        tempfile.TemporaryDirectory(prefix="gallery-", dir=output) as gallery,
        console.status("starting the encoder and the recognizer"),
        running_services(
            models=models,
            family=family,
            gallery=Path(gallery) / "gallery.db",
            collection=COLLECTION,
            logs=output,
        ) as services,
        EncoderClient(services.encoder) as encoder,
        RecognizerClient(services.recognizer) as recognizer,
    ):
        performance = perform(encoder, recognizer, photos)
        passage = pass_by(services, recognizer, performance.sights, output)
        report.write_json(output / "result.json", performance, passage, encoder.info())
        return performance, passage


def _exit(number: int, _frame: Any) -> None:
    sys.exit(128 + number)
