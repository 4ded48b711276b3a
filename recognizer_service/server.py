"""The recognizer service as a process: brings the parts together and runs them."""

import asyncio
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from datetime import timedelta

import structlog
import torch
from prometheus_client import CollectorRegistry

from compactface.v1 import gallery_pb2, gallery_pb2_grpc, recognizer_pb2, recognizer_pb2_grpc
from recognizer_service.batcher import Batcher
from recognizer_service.gallery.gallery import Gallery
from recognizer_service.gallery.limits import MAX_PAGE_SIZE
from recognizer_service.gallery.records import Embedding
from recognizer_service.gallery_servicer import GalleryServicer
from recognizer_service.metrics import RecognizerMetrics
from recognizer_service.recognizer import Recognizer
from recognizer_service.recognizer_servicer import RecognizerServicer
from recognizer_service.settings import RecognizerSettings
from shared.inference.map_decoder import CodedMap, MapDecoder
from shared.model_directory import ModelDirectory
from shared.service.server import ServiceHost

_log = structlog.get_logger(__name__)
_SERVICES = (
    recognizer_pb2.DESCRIPTOR.services_by_name["RecognizerService"].full_name,
    gallery_pb2.DESCRIPTOR.services_by_name["GalleryService"].full_name,
)
_PURGE_EVERY_S = 60.0


async def run(settings: RecognizerSettings, registry: CollectorRegistry) -> None:
    """Serve until SIGTERM or SIGINT; raises as `listening`."""
    async with listening(settings, registry) as host:
        await host.serve()


@asynccontextmanager
async def listening(
    settings: RecognizerSettings, registry: CollectorRegistry
) -> AsyncIterator[ServiceHost]:
    """The service, listening and warmed up; it is SERVING once its `serve` is called.

    Raises:
        InvalidModel: the model directory is damaged.
        FailedPrecondition: the gallery cannot be opened, or holds another embedding space.
        SettingsError: an address cannot be bound, or the TLS files cannot be used.
    """
    torch.set_num_threads(settings.torch_threads)
    model = ModelDirectory.load(settings.models, settings.family)
    decoder = MapDecoder(model, device=settings.device)
    metrics = RecognizerMetrics(registry)
    metrics.model.info({"family": model.manifest.family, "version": model.manifest.version})
    with (
        Gallery(
            settings.gallery,
            embedding_space=decoder.embedding_space,
            faiss_threads=settings.faiss_threads,
            audit_retention=timedelta(days=settings.audit_days),
        ) as gallery,
        ThreadPoolExecutor(settings.gallery_threads, thread_name_prefix="gallery") as executor,
    ):
        metrics.faces.set_function(lambda: _face_count(gallery))
        async with (
            _batching(settings, decoder, metrics) as batcher,
            ServiceHost(settings, service_names=_SERVICES, registry=registry) as host,
        ):
            recognizer = Recognizer(
                decoder=decoder,
                gallery=gallery,
                batcher=batcher,
                executor=executor,
                metrics=metrics,
                min_quality=settings.min_quality,
            )
            _add_services(recognizer, settings, host)
            await host.listen()
            await recognizer.in_thread(decoder.warm_up)
            purging = asyncio.create_task(_keep_purging(recognizer))
            try:
                yield host
            finally:
                purging.cancel()


@asynccontextmanager
async def _batching(
    settings: RecognizerSettings, decoder: MapDecoder, metrics: RecognizerMetrics
) -> AsyncIterator[Batcher[CodedMap, Embedding]]:
    batcher: Batcher[CodedMap, Embedding] = Batcher(
        lambda maps: list(decoder.embed(maps)),
        max_batch=settings.max_batch,
        max_wait_s=settings.max_batch_wait_ms / 1000,
        max_queue=settings.max_queue,
        observer=metrics,
    )
    batcher.start()
    try:
        yield batcher
    finally:
        await batcher.close()


def _add_services(recognizer: Recognizer, settings: RecognizerSettings, host: ServiceHost) -> None:
    recognizer_pb2_grpc.add_RecognizerServiceServicer_to_server(  # type: ignore[no-untyped-call]
        RecognizerServicer(recognizer, settings, host.stopping), host.server
    )
    gallery_pb2_grpc.add_GalleryServiceServicer_to_server(  # type: ignore[no-untyped-call]
        GalleryServicer(recognizer, host.stopping), host.server
    )


def _face_count(gallery: Gallery) -> int:
    """Faces enrolled in all collections; counts are stored, so each costs one row."""
    total, token = 0, ""
    while True:
        page = gallery.collections.list(page_size=MAX_PAGE_SIZE, page_token=token)
        total += sum(collection.face_count for collection in page.items)
        if not (token := page.next_page_token):
            return total


async def _keep_purging(recognizer: Recognizer) -> None:
    """Delete what has expired, every minute."""
    while True:
        try:
            await recognizer.in_thread(recognizer.gallery.purge_expired)
        except Exception:  # noqa: BLE001 - the next try may succeed; until then the log says so
            _log.exception("purge_failed")
        await asyncio.sleep(_PURGE_EVERY_S)
