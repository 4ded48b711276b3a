"""Opens what the recognizer serves: the gallery, the model of its space, and the broker."""

from contextlib import AbstractAsyncContextManager, nullcontext, suppress
from datetime import timedelta

from recognizer_service.core.alerts.mqtt import Broker
from recognizer_service.core.batching import Batcher
from recognizer_service.core.changeover import model_of_space
from recognizer_service.core.networks import Networks
from recognizer_service.gallery.gallery import Gallery
from recognizer_service.gallery.opening import open_gallery
from recognizer_service.gallery.types import Embedding
from recognizer_service.metrics import RecognizerMetrics
from recognizer_service.settings import RecognizerSettings
from shared.errors import AlreadyExists, FailedPrecondition, InvalidInput, NotFound
from shared.inference.map_decoder import CodedMap, MapDecoder
from shared.model_directory import Manifest, ModelDirectory
from shared.serving.background import Background
from shared.serving.settings_loader import SettingsError


def open_gallery_of(settings: RecognizerSettings, current: Manifest) -> Gallery:
    """Open the gallery in the model's embedding space, or else in the previous one."""
    return open_gallery(
        lambda space, size: Gallery(
            settings.location(),
            embedding_space=space,
            embedding_size=size,
            index=settings.index,
            reserve=settings.gallery_reserve,
            faiss_threads=settings.faiss_threads,
            audit_retention=timedelta(days=settings.audit_days),
            clock_confirmed=settings.clock_confirmed,
        ),
        current.embedding_space,
        current.extractor.embedding_size,
    )


def check_stream_collection(gallery: Gallery, name: str) -> None:
    """Check that the collection for streamed maps exists; a new gallery gets it.

    Raises:
        FailedPrecondition: STREAM_COLLECTION_MISSING.
        SettingsError: the name is not a valid collection id.
    """
    try:
        if gallery.is_new:
            with suppress(AlreadyExists):  # "default"
                gallery.collections.create(name)
        gallery.collections.get(name)
    except InvalidInput as error:
        raise SettingsError([f"stream_collection: {error.message}"]) from None
    except NotFound as error:
        there = ", ".join(item.collection_id for item in gallery.collections.list().items)
        raise FailedPrecondition(
            "STREAM_COLLECTION_MISSING",
            f"stream_collection is {name!r}, and the gallery has no such collection; it has "
            f"{there}: mend the setting, or create the collection while the service runs with "
            "another one",
            metadata=error.metadata,
        ) from None


def model_of_gallery(gallery: Gallery, current: ModelDirectory) -> ModelDirectory:
    """Return the model that can serve the gallery as it is: the current or an earlier one."""
    served = gallery.spaces.served
    if served == current.manifest.embedding_space:
        return current
    model = model_of_space(current, served)
    if model is None:
        raise FailedPrecondition(
            "EMBEDDING_SPACE_MISMATCH",
            f"the gallery is embedded in space {served}, of which {current.path.parents[1]} has no "
            "model; put the model back to serve while the gallery is embedded anew, or run "
            "`compactface gallery reembed` first",
        )
    return model


def open_networks_of(
    settings: RecognizerSettings,
    metrics: RecognizerMetrics,
    background: Background,
    model: ModelDirectory,
) -> Networks:
    """Load a model and its batching thread, not started yet."""
    decoder = MapDecoder(model, device=settings.device, precision=settings.precision)
    batcher: Batcher[CodedMap, tuple[Embedding, float]] = Batcher(
        lambda maps: list(zip(*decoder.embed_with_lengths(maps), strict=True)),
        max_batch=settings.max_batch,
        max_wait_s=settings.max_batch_wait_ms / 1000,
        max_queue=settings.max_queue,
        observer=metrics,
        background=background,
    )
    return Networks(decoder, batcher, min_quality=settings.min_quality)


def open_broker(settings: RecognizerSettings) -> AbstractAsyncContextManager[Broker | None]:
    """Return the configured broker, if any."""
    if not settings.mqtt:
        return nullcontext()
    return Broker(
        settings.mqtt,
        password=settings.mqtt_password,
        ca=settings.mqtt_ca,
        timeout_s=settings.webhook_timeout_seconds,
    )
