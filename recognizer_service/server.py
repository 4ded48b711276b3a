"""The recognizer service as a process: brings the parts together and runs them."""

import asyncio
from concurrent.futures import ThreadPoolExecutor

import structlog
import torch
from prometheus_client import CollectorRegistry

from compactface.v1 import gallery_pb2, gallery_pb2_grpc, recognizer_pb2, recognizer_pb2_grpc
from recognizer_service.batcher import Batcher
from recognizer_service.gallery.gallery import Gallery
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
_UPKEEP_EVERY_S = 60.0


async def run(settings: RecognizerSettings, registry: CollectorRegistry) -> None:
    """Serve until SIGTERM or SIGINT.

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
    batcher: Batcher[CodedMap, Embedding] = Batcher(
        lambda maps: list(decoder.embed(maps)),
        max_batch=settings.max_batch,
        max_wait_s=settings.max_batch_wait_ms / 1000,
        max_queue=settings.max_queue,
        observer=metrics,
    )
    with (
        ThreadPoolExecutor(settings.gallery_threads, thread_name_prefix="gallery") as executor,
        Gallery(
            settings.gallery,
            embedding_space=decoder.embedding_space,
            faiss_threads=settings.faiss_threads,
        ) as gallery,
    ):
        recognizer = Recognizer(
            decoder=decoder,
            gallery=gallery,
            batcher=batcher,
            executor=executor,
            metrics=metrics,
            min_quality=settings.min_quality,
        )
        async with ServiceHost(settings, service_names=_SERVICES, registry=registry) as host:
            recognizer_pb2_grpc.add_RecognizerServiceServicer_to_server(
                RecognizerServicer(recognizer, settings), host.server
            )
            gallery_pb2_grpc.add_GalleryServiceServicer_to_server(
                GalleryServicer(recognizer), host.server
            )
            await host.listen()
            await recognizer.in_thread(decoder.warm_up)
            batcher.start()
            upkeep = asyncio.create_task(_keep_up(recognizer, metrics))
            await host.serve()
            upkeep.cancel()
            await batcher.close()


async def _keep_up(recognizer: Recognizer, metrics: RecognizerMetrics) -> None:
    """Count the gallery and delete what has expired, every minute."""
    while True:
        try:
            collections = await recognizer.in_thread(recognizer.gallery.collections.list, page_size=1000)
            metrics.faces.set(sum(collection.face_count for collection in collections.items))
            await recognizer.in_thread(recognizer.gallery.purge_expired)
        except Exception:
            _log.exception("upkeep_failed")
        await asyncio.sleep(_UPKEEP_EVERY_S)
