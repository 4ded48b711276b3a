"""Run the encoder service as a process."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing, suppress
from functools import partial

import numpy as np
from prometheus_client import CollectorRegistry

from compactface.client.channel import open_async_channel
from compactface.v1 import encoder_pb2, encoder_pb2_grpc
from encoder_service.api.servicer import EncoderServicer
from encoder_service.core.encoder import Encoder, PictureKind
from encoder_service.metrics import EncoderMetrics, UplinkMetrics
from encoder_service.settings import EncoderSettings
from encoder_service.uplink.peer import Peer
from encoder_service.uplink.spool import Spool
from encoder_service.uplink.uplink import SpoolingUplink
from shared.errors import InvalidImage
from shared.faces.align import CROP_HEIGHT, CROP_WIDTH
from shared.faces.detectors import open_detector
from shared.faces.display import encode_png
from shared.inference.crop_encoder import CropEncoder, OnnxCropEncoder
from shared.inference.quality_head import QualityHead
from shared.model_directory import ModelDirectory
from shared.serving.background import Background
from shared.serving.freed_memory import FreedMemory
from shared.serving.server import ServiceHost
from shared.serving.settings_loader import SettingsError
from shared.serving.workers import Workers
from shared.storage_key import KeySource

_SERVICE = encoder_pb2.DESCRIPTOR.services_by_name["EncoderService"].full_name


async def run(settings: EncoderSettings, registry: CollectorRegistry) -> None:
    """Serve until SIGTERM or SIGINT; raises as `listening`."""
    async with listening(settings, registry) as host:
        await host.serve()


@asynccontextmanager
async def listening(
    settings: EncoderSettings, registry: CollectorRegistry
) -> AsyncIterator[ServiceHost]:
    """Start the service, listening and warmed up; its `serve` makes it SERVING.

    Raises:
        InvalidModel: the model directory is damaged or lacks the operating point.
        SettingsError: an address cannot be bound, or the TLS files are invalid.
        FailedPrecondition: another process uses the spool, or a later version created it.
        Unavailable, Overloaded: the spool cannot be written.
    """
    model = settings.load_model()
    encoder = Encoder(
        detector=open_detector(settings.detector_options),
        crop_encoder=_crop_encoder(settings, model),
        limits=settings.picture_limits,
        max_faces=settings.max_faces,
        head=QualityHead.of_model(model, settings.operating_point or None),
    )
    background, memory = Background(registry), FreedMemory()
    with closing(Workers(settings.threads, name="encode")) as workers:
        async with (
            _uplink(settings, registry, background) as uplink,
            ServiceHost(
                settings, service_names=[_SERVICE], registry=registry, background=background
            ) as host,
        ):
            servicer = EncoderServicer(
                encoder=encoder,
                uplink=uplink,
                model=model,
                settings=settings,
                metrics=_metrics(registry, model, encoder),
                workers=workers,
                memory=memory,
                stopping=host.stopping,
            )
            encoder_pb2_grpc.add_EncoderServiceServicer_to_server(servicer, host.server)  # type: ignore[no-untyped-call]
            await host.listen()
            await workers.run(partial(_warm_up, encoder), kind="warm up")
            returning = background.keep("memory", memory.keep_returning)
            memory.used()
            try:
                yield host
            finally:
                returning.cancel()


def _crop_encoder(settings: EncoderSettings, model: ModelDirectory) -> CropEncoder:
    point = settings.operating_point or None
    if settings.runtime == "onnx":
        return OnnxCropEncoder(model, point)
    from shared.inference.torch_crop_encoder import TorchCropEncoder  # noqa: PLC0415 - optional

    return TorchCropEncoder(model, point)


@asynccontextmanager
async def _uplink(
    settings: EncoderSettings, registry: CollectorRegistry, background: Background
) -> AsyncIterator[SpoolingUplink | None]:
    """Create the configured uplink, if any; on exit, flush its spool for a limited time."""
    if not settings.uplink_target:
        yield None
        return
    peer = Peer(
        lambda: open_async_channel(
            settings.uplink_target,
            tls=settings.uplink_tls,
            proxy=settings.uplink_proxy,
            keepalive_s=settings.uplink_keepalive_seconds,
            small_answers=True,
        ),
        tls=settings.uplink_tls,
        token_file=settings.uplink_token_file,
    )
    try:
        await peer.open()
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError([f"certificates or token of the uplink: {error}"]) from None
    key = settings.uplink_spool_key
    uplink = SpoolingUplink(
        peer,
        Spool(
            settings.uplink_spool,
            key=KeySource.parse(key).read() if key else None,
            durable=settings.uplink_durability == "power",
            max_bytes=settings.uplink_spool_bytes,
            max_age_s=3600 * settings.uplink_spool_hours,
        ),
        metrics=UplinkMetrics(registry),
        background=background,
    )
    uplink.start()
    try:
        yield uplink
    finally:
        await uplink.close(flush_s=settings.uplink_flush_seconds)


def _metrics(
    registry: CollectorRegistry, model: ModelDirectory, encoder: Encoder
) -> EncoderMetrics:
    metrics = EncoderMetrics(registry)
    metrics.model.info(
        {
            "family": model.manifest.family,
            "version": model.manifest.version,
            "operating_point": encoder.crop_encoder.point,
            "codec_id": encoder.crop_encoder.codec_id,
        }
    )
    return metrics


def _warm_up(encoder: Encoder) -> None:
    """Run every network once, so that the first request is not slow."""
    grey = encode_png(np.full((CROP_HEIGHT, CROP_WIDTH, 3), 128, np.uint8))
    for kind in PictureKind:
        with suppress(InvalidImage):  # no face is found, which is reported after the last network
            encoder.encode(grey, kind=kind)
