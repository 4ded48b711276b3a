"""A day without the recognizer, in seconds: whatever the encoder had taken must arrive afterwards.

The clock of the spool is simulated, so that its limit of age acts as in a real day; files, uplink,
and recognizer are real. Every hour the encoder is restarted, every sixth its machine, which sets
that clock back to zero.
"""

import uuid
from dataclasses import dataclass
from pathlib import Path

from prometheus_client import CollectorRegistry

from compactface.client.channel import open_async_channel
from compactface.v1.recognizer_pb2 import StreamedMap
from encoder_service.metrics import UplinkMetrics
from encoder_service.settings import EncoderSettings
from encoder_service.uplink.exchange import Pauses
from encoder_service.uplink.peer import Peer
from encoder_service.uplink.spool import Spool
from encoder_service.uplink.uplink import Fate, SpoolingUplink
from shared.serving.background import Background
from tests.faults.uplink_faults import stored_ids
from tests.services.asking import CAMERAS, crop_map
from tests.services.conftest import clouds, unused_port
from tests.services.hosting import running_encoder, running_recognizer, until

_HOUR_S = 3600.0
_DRAINED_WITHIN_S = 120.0
_SPOOL_HOURS: float = EncoderSettings.model_fields["uplink_spool_hours"].default
_SPOOL_BYTES: int = EncoderSettings.model_fields["uplink_spool_bytes"].default


@dataclass(frozen=True, slots=True)
class Outage:
    """What became of the faces.

    Attributes:
        hours: simulated.
        restarts: of the encoder during these.
        accepted: faces that the uplink had taken.
        lost: of these, the ones that the recognizer lacks.
    """

    hours: int
    restarts: int
    accepted: int
    lost: int


async def outage(
    folder: Path,
    models: Path,
    *,
    hours: int = 24,
    faces_an_hour: int = 120,
    spool_hours: float = _SPOOL_HOURS,
) -> Outage:
    """Spool faces while nobody answers, then let the recognizer come back, and count.

    Args:
        folder: for the spool and the gallery.
        models: folder of model families.
        hours: length of the outage.
        faces_an_hour: taken, evenly.
        spool_hours: after which the spool drops a map; as the encoder's setting.
    """
    async with running_encoder(models) as encoder:
        maps = [await crop_map(encoder, clouds(seed)) for seed in range(16)]
    clock, port = _Clock(), unused_port()
    accepted: set[str] = set()

    def opened() -> SpoolingUplink:
        registry = CollectorRegistry()
        return SpoolingUplink(
            Peer(lambda: open_async_channel(f"127.0.0.1:{port}")),
            Spool(
                folder / "spool",
                durable=True,
                max_bytes=_SPOOL_BYTES,
                max_age_s=_HOUR_S * spool_hours,
                uptime=clock,
            ),
            metrics=UplinkMetrics(registry),
            background=Background(registry),
            pauses=Pauses(longest_s=1),
        )

    for hour in range(hours):
        if hour % 6 == 0:
            clock.seconds = 0.0
        uplink = opened()
        uplink.start()
        for number in range(faces_an_hour):
            clock.seconds += _HOUR_S / faces_an_hour
            item = StreamedMap(sighting_id=str(uuid.uuid4()), map=maps[number % len(maps)])
            if await uplink.offer([item]) is Fate.SPOOLED:
                accepted.add(item.sighting_id)
        await uplink.close(flush_s=0)

    gallery = folder / "gallery.sqlite"
    async with running_recognizer(models, gallery, stream_collection=CAMERAS, port=port) as back:
        uplink = opened()
        uplink.start()
        await until(lambda: uplink.depth == 0, seconds=_DRAINED_WITHIN_S)
        stored = {id_ async for id_ in stored_ids(back.recognizer)}
        await uplink.close(flush_s=0)
    return Outage(hours, hours, len(accepted), len(accepted - stored))


class _Clock:
    """Seconds since the boot of a machine."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def __call__(self) -> float:
        return self.seconds
