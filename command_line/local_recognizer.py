"""Run the recognizer service in this process, on a loopback port, during a command."""

import asyncio
import tempfile
import threading
from collections.abc import Coroutine, Iterator
from contextlib import AsyncExitStack, ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar

import typer

from command_line.options import (
    EncoderOptions,
    LocalOptions,
    RecognizerOptions,
    TlsOptions,
    refuse_both,
)

if TYPE_CHECKING:
    from compactface.client import RecognizerClient
    from recognizer_service.settings import RecognizerSettings

T = TypeVar("T")

MissingGallery = Literal["create", "fail", "temporary"]
"""If the gallery's file is missing: create it, fail, or use an empty temporary one."""


def check_local(
    recognizer: RecognizerOptions, local: LocalOptions, encoder: EncoderOptions, tls: TlsOptions
) -> None:
    """Reject a service address with --local, or --gallery without it, as a usage error."""
    if not local.local:
        for name, value in (("--gallery", local.gallery), ("--gallery-key", local.gallery_key)):
            if value is not None:
                raise typer.BadParameter(f"{name} needs --local; a service has its own gallery")
        return
    refuse_both("--local", True, "--recognizer", recognizer.recognizer)
    refuse_both("--local", True, "--encoder", encoder.encoder)
    refuse_both("--local", True, "--ca", tls.ca)


@contextmanager
def open_recognizer(
    recognizer: RecognizerOptions,
    local: LocalOptions,
    encoder: EncoderOptions,
    tls: TlsOptions,
    *,
    missing_gallery: MissingGallery,
) -> Iterator["RecognizerClient"]:
    """Open a client of the recognizer service, or with --local of one in this process.

    Raises:
        InvalidModel: the model is unusable.
        FailedPrecondition: the gallery cannot be opened, e.g. because a service has it open, or
            has not been embedded for the current model (EMBEDDING_SPACE_INCOMPLETE).
        SettingsError: COMPACTFACE_RECOGNIZER_... variables are invalid.
        ModuleNotFoundError: the extra `recognizer` is not installed.
    """
    if not local.local:
        with recognizer.connect(tls) as client:
            yield client
        return
    from compactface.client import RecognizerClient

    with ExitStack() as stack:
        settings = _settings(local, encoder, missing_gallery, stack)
        target = stack.enter_context(_running(settings))
        client = stack.enter_context(RecognizerClient(target))
        _check_model(client, settings)
        yield client


def _check_model(client: "RecognizerClient", settings: "RecognizerSettings") -> None:
    """Photographs are encoded with the current model, which that of the gallery may not read."""
    from shared.errors import FailedPrecondition
    from shared.model_directory import ModelDirectory, current_version

    served, version = client.info(), current_version(settings.models, settings.family)
    if (served.model_family, served.model_version) == (settings.family, version):
        return
    encoding = ModelDirectory.load(settings.models, settings.family, version).codec()
    if encoding.codec_id not in {codec.codec_id for codec in served.codecs}:
        raise FailedPrecondition(
            "EMBEDDING_SPACE_INCOMPLETE",
            f"the gallery has embeddings of {served.model_family}/{served.model_version}, which "
            f"reads no maps of the current version, {version}; run "
            "`compactface gallery reembed`",
        )


def _settings(
    local: LocalOptions,
    encoder: EncoderOptions,
    missing_gallery: MissingGallery,
    stack: ExitStack,
) -> "RecognizerSettings":
    """The settings of `serve recognizer`, with a loopback port and without metrics and TLS."""
    from recognizer_service.gallery.storage.locations import file_of
    from recognizer_service.settings import RecognizerSettings
    from shared.serving.settings_loader import load_settings

    settings = load_settings(
        RecognizerSettings,
        models=encoder.models,
        family=encoder.family,
        gallery=local.gallery,
        gallery_key=local.gallery_key,
        host="127.0.0.1",
        metrics_host="127.0.0.1",
        port=0,
        metrics_port=0,
    )
    changes: dict[str, Any] = dict.fromkeys(("tls_certificate", "tls_key", "tls_client_ca"))
    file = file_of(settings.location())
    if file and not file.exists() and missing_gallery != "create":
        if missing_gallery == "fail":
            raise typer.BadParameter(f"File '{file}' does not exist; see --gallery.")
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="compactface-"))
        changes["gallery"] = str(Path(folder) / "gallery.sqlite")
    return settings.model_copy(update=changes)


@contextmanager
def _running(settings: "RecognizerSettings") -> Iterator[str]:
    """Run the service on an event loop in its own thread; yields its HOST:PORT."""
    from prometheus_client import CollectorRegistry

    from recognizer_service.server import listening
    from shared.serving.logs import configure_logging

    configure_logging(log_format="console", log_level="error")
    with _event_loop() as run:
        service = AsyncExitStack()
        host = run(service.enter_async_context(listening(settings, CollectorRegistry())))
        try:
            yield f"{settings.host}:{host.port}"
        finally:
            run(service.aclose())


class _Runner:
    """Runs coroutines on the event loop of another thread."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop

    def __call__(self, coroutine: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result()


@contextmanager
def _event_loop() -> Iterator[_Runner]:
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="recognizer", daemon=True)
    thread.start()
    try:
        yield _Runner(loop)
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()
