"""`compactface demo`: enroll, identify and verify the sample photographs, and watch a camera."""

import signal
import sys
import tempfile
import threading
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from command_line.options import SHIPPED_MODELS, Models

if TYPE_CHECKING:
    from rich.console import Console

    from command_line.demo.passing import Passage
    from command_line.demo.performance import Performance
    from command_line.demo.processes import Services


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
    keep_open: Annotated[
        bool, typer.Option("--console", help="Then keep the web console open until Ctrl-C.")
    ] = False,
) -> None:
    """Run both services, enroll, identify and verify the sample photographs, watch a camera.

    Exits with 1 if any answer is wrong.
    """
    from command_line.demo.processes import running_services
    from command_line.demo.scenario import COLLECTION
    from command_line.output import open_console

    signal.signal(signal.SIGTERM, _exit)  # so that the services are stopped, too
    output.mkdir(parents=True, exist_ok=True)
    console = open_console()
    with (
        tempfile.TemporaryDirectory(prefix="gallery-", dir=output) as gallery,
        ExitStack() as stack,
    ):
        with console.status("starting the encoder and the recognizer"):
            services = stack.enter_context(
                running_services(
                    models=models,
                    family=family,
                    gallery=Path(gallery) / "gallery.db",
                    collection=COLLECTION,
                    logs=output,
                )
            )
            performance, passage = _perform(services, output, photos)
        _show(performance, passage, output, console)
        if keep_open:
            _keep_open(services, output, console)
    if not (performance.is_right and passage.is_right):
        raise typer.Exit(1)
    if not keep_open:
        console.print("`make demo-console` shows the people enrolled in the web console.")


def _perform(services: "Services", output: Path, photos: Path) -> "tuple[Performance, Passage]":
    from command_line.demo import report
    from command_line.demo.passing import pass_by
    from command_line.demo.performance import perform
    from compactface.client import EncoderClient, RecognizerClient

    with (
        EncoderClient(services.encoder) as encoder,
        RecognizerClient(services.recognizer) as recognizer,
    ):
        performance = perform(encoder, recognizer, photos)
        passage = pass_by(services, recognizer, performance.sights, output)
        report.write_json(output / "result.json", performance, passage, encoder.info())
        return performance, passage


def _show(performance: "Performance", passage: "Passage", output: Path, console: "Console") -> None:
    from command_line.demo import report
    from command_line.demo.contact_sheet import draw
    from shared.private_files import private_file

    report.show(performance, passage, console)
    sheet = output / "contact-sheet.png"
    with private_file(sheet) as file:
        draw(performance).save(file, format="PNG")
    console.print(f"{sheet} shows photo, crop, map, reconstruction and answer.")


def _keep_open(services: "Services", output: Path, console: "Console") -> None:
    from command_line.demo.processes import running_console
    from command_line.demo.scenario import COLLECTION

    with running_console(services, output) as address, suppress(KeyboardInterrupt):
        console.print(
            f"Open http://{address}/people?collection={COLLECTION} and sign in with an empty "
            "token. Ctrl-C stops the services and deletes the gallery.",
            soft_wrap=True,  # an address is not broken
        )
        threading.Event().wait()


def _exit(number: int, _frame: Any) -> None:
    sys.exit(128 + number)
