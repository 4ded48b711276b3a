"""The recognizer process: builds the parts and runs them."""

import asyncio
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, suppress
from functools import partial

import torch
from prometheus_client import CollectorRegistry

from compactface.v1 import (
    alerts_pb2,
    alerts_pb2_grpc,
    gallery_pb2,
    gallery_pb2_grpc,
    recognizer_pb2,
    recognizer_pb2_grpc,
)
from recognizer_service.api.alert_servicer import AlertServicer
from recognizer_service.api.gallery_servicer import GalleryServicer
from recognizer_service.api.recognizer_servicer import RecognizerServicer
from recognizer_service.core.alerts.delivery import AlertDesk
from recognizer_service.core.alerts.webhook import Webhooks
from recognizer_service.core.attempts import Allowance, Attempts
from recognizer_service.core.changeover import Changeover
from recognizer_service.core.drift import CalibrationChecks
from recognizer_service.core.networks import ModelInUse, Networks
from recognizer_service.core.recognizer import Recognizer
from recognizer_service.gallery.gallery import Gallery
from recognizer_service.gallery.limits import MAX_PAGE_SIZE
from recognizer_service.gallery.types import Collection
from recognizer_service.metrics import CalibrationCollector, GalleryCollector, RecognizerMetrics
from recognizer_service.settings import RecognizerSettings
from recognizer_service.startup import (
    check_stream_collection,
    model_of_gallery,
    open_broker,
    open_gallery_of,
    open_networks_of,
)
from shared.errors import CompactfaceError
from shared.serving.background import Background
from shared.serving.server import ServiceHost

_SERVICES = (
    recognizer_pb2.DESCRIPTOR.services_by_name["RecognizerService"].full_name,
    gallery_pb2.DESCRIPTOR.services_by_name["GalleryService"].full_name,
    alerts_pb2.DESCRIPTOR.services_by_name["AlertService"].full_name,
)
_PURGE_EVERY_S = 60.0
_WATCH_EVERY_S = 1.0
_WRITERS = 4  # writes are serialized, but some also wait for the disk


async def run(settings: RecognizerSettings, registry: CollectorRegistry) -> None:
    """Serve until SIGTERM or SIGINT; raises as `listening`."""
    async with listening(settings, registry) as host:
        await host.serve()


@asynccontextmanager
async def listening(
    settings: RecognizerSettings, registry: CollectorRegistry
) -> AsyncIterator[ServiceHost]:
    """Start the service, listening and warmed up; `serve` sets its health to SERVING.

    Raises:
        InvalidModel: the model directory is damaged.
        FailedPrecondition: the gallery cannot be opened, no version in the model directory has the
            embedding space of the gallery, or the gallery lacks `stream_collection`
            (STREAM_COLLECTION_MISSING).
        SettingsError: an address cannot be bound, or the TLS files cannot be used.
    """
    torch.set_num_threads(settings.torch_threads)
    current = settings.load_model()
    metrics = RecognizerMetrics(registry)
    background = Background(registry)
    open_networks = partial(open_networks_of, settings, metrics, background)
    with (
        open_gallery_of(settings, current.manifest) as gallery,
        ThreadPoolExecutor(settings.gallery_threads, thread_name_prefix="readers") as readers,
        ThreadPoolExecutor(_WRITERS, thread_name_prefix="writers") as writers,
    ):
        check_stream_collection(gallery, settings.stream_collection)
        checks = CalibrationChecks()
        registry.register(GalleryCollector(partial(_collections, gallery)))
        registry.register(CalibrationCollector(checks.all))
        metrics.erasures.set_function(gallery.database.erasures_pending)
        metrics.clock_doubted.set_function(lambda: gallery.clock.is_doubted)
        metrics.alerts_waiting.set_function(gallery.alerts.waiting)
        metrics.alerts_oldest.set_function(gallery.alerts.oldest_s)
        async with (
            _serving(open_networks(model_of_gallery(gallery, current))) as model,
            ServiceHost(
                settings, service_names=_SERVICES, registry=registry, background=background
            ) as host,
            Webhooks(
                timeout_s=settings.webhook_timeout_seconds, ca=settings.webhook_ca
            ) as webhooks,
            open_broker(settings) as broker,
        ):
            recognizer = Recognizer(
                model=model,
                gallery=gallery,
                readers=readers,
                writers=writers,
                metrics=metrics,
                attempts=Attempts(
                    on_subject=Allowance(
                        settings.failed_verifications, settings.failed_verification_seconds
                    ),
                    near_misses=Allowance(settings.near_misses, settings.near_miss_seconds),
                    observer=metrics,
                ),
                checks=checks,
            )
            changeover = Changeover(
                recognizer,
                models=settings.models,
                family=settings.family,
                open_networks=open_networks,
                background=background,
            )
            metrics.reembedding.set_function(lambda: changeover.running)
            metrics.reembedded.set_function(lambda: changeover.progress.faces_done)
            metrics.to_reembed.set_function(lambda: changeover.progress.faces_total)
            alerts = AlertDesk(
                gallery.alerts,
                gallery.alert_rules,
                rung=recognizer.sightings.rung,
                webhooks=webhooks,
                broker=broker,
                in_thread=recognizer.in_thread,
                in_writer=recognizer.in_writer,
                start=background.start,
                metrics=metrics,
            )
            _add_services(recognizer, changeover, alerts, settings, host)
            await host.listen()
            await recognizer.in_thread(recognizer.decoder.warm_up)
            if model.networks.space != current.manifest.embedding_space:
                changeover.begin()
            purging = background.keep(
                "purge", partial(_keep_purging, recognizer, metrics), pause_s=_PURGE_EVERY_S
            )
            identifying = background.keep("sightings", recognizer.sightings.keep_identifying)
            delivering = background.keep("alerts", alerts.keep_delivering)
            watching = background.keep("storage watch", partial(_keep_watch, recognizer, host))
            try:
                yield host
            finally:
                purging.cancel()
                watching.cancel()
                identifying.cancel()
                delivering.cancel()
                await changeover.close()


@asynccontextmanager
async def _serving(networks: Networks) -> AsyncIterator[ModelInUse]:
    networks.start()
    model = ModelInUse(networks)
    try:
        yield model
    finally:
        await model.networks.close()


def _add_services(
    recognizer: Recognizer,
    changeover: Changeover,
    alerts: AlertDesk,
    settings: RecognizerSettings,
    host: ServiceHost,
) -> None:
    recognizer_pb2_grpc.add_RecognizerServiceServicer_to_server(  # type: ignore[no-untyped-call]
        RecognizerServicer(recognizer, settings, host.stopping), host.server
    )
    gallery_pb2_grpc.add_GalleryServiceServicer_to_server(  # type: ignore[no-untyped-call]
        GalleryServicer(recognizer, changeover, host.stopping), host.server
    )
    alerts_pb2_grpc.add_AlertServiceServicer_to_server(  # type: ignore[no-untyped-call]
        AlertServicer(recognizer, alerts), host.server
    )


def _collections(gallery: Gallery) -> list[Collection]:
    """Return all collections; their counts are stored, so each costs one row."""
    found: list[Collection] = []
    token = ""
    while True:
        page = gallery.collections.list(page_size=MAX_PAGE_SIZE, page_token=token)
        found += page.items
        if not (token := page.next_page_token):
            return found


async def _keep_purging(recognizer: Recognizer, metrics: RecognizerMetrics) -> None:
    """Delete expired data every minute."""
    while True:
        purged = await recognizer.in_writer(recognizer.gallery.purge_expired)
        metrics.alerts_dropped.labels("expired").inc(purged.alerts)
        await asyncio.sleep(_PURGE_EVERY_S)


async def _keep_watch(recognizer: Recognizer, host: ServiceHost) -> None:
    """Report storage faults to the health service, and retry until they are over."""
    gallery = recognizer.gallery
    while True:
        if gallery.database.fault:
            await host.set_healthy(healthy=False)
            with suppress(CompactfaceError):  # the fault persists
                await recognizer.in_writer(gallery.database.try_writing)
        await host.set_healthy(healthy=gallery.database.fault is None)
        await asyncio.sleep(_WATCH_EVERY_S)
