import asyncio
import sqlite3
import uuid
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, closing
from pathlib import Path
from tempfile import TemporaryDirectory

import grpc
import pytest
from prometheus_client import CollectorRegistry
from structlog.testing import capture_logs

from compactface.client.channel import open_async_channel
from compactface.v1.encoder_pb2 import (
    PICTURE_KIND_CROP,
    EncodeRequest,
    EncodeStreamRequest,
    GetEncoderInfoRequest,
)
from compactface.v1.recognizer_pb2 import (
    IDENTIFY_DECISION_EMPTY_GALLERY,
    StreamedMap,
)
from encoder_service.metrics import UplinkMetrics
from encoder_service.uplink.peer import Peer
from encoder_service.uplink.spool import Spool
from encoder_service.uplink.uplink import Fate, Pauses, SpoolingUplink
from shared.serving.background import Background
from tests.services.asking import CAMERAS, identify
from tests.services.authority import Authority
from tests.services.conftest import clouds
from tests.services.hosting import (
    Service,
    running_encoder,
    running_recognizer,
    until,
)
from tests.services.uplink_peer import Recognizer, listening

pytestmark = pytest.mark.asyncio(loop_scope="session")


class Camera:
    """An uplink with its metrics, and maps to send."""

    def __init__(self, port: int, spool: Path, **pauses: float) -> None:
        self._registry = CollectorRegistry()
        self.uplink = SpoolingUplink(
            Peer(lambda: open_async_channel(f"127.0.0.1:{port}")),
            Spool(spool, durable=False, max_bytes=1 << 20, max_age_s=3600),
            metrics=UplinkMetrics(self._registry),
            background=Background(self._registry),
            pauses=Pauses(**pauses),
        )

    async def send(self, count: int) -> list[str]:
        """Offer that many maps one by one; their ids."""
        ids = [str(uuid.uuid4()) for _ in range(count)]
        for sighting_id in ids:
            assert await self.uplink.offer([StreamedMap(sighting_id=sighting_id)]) is Fate.SPOOLED
        return ids

    def count(self, what: str) -> float:
        """The present value of a metric."""
        return self._registry.get_sample_value(f"compactface_uplink_{what}") or 0


@asynccontextmanager
async def camera(port: int, spool: Path | None = None, **pauses: float) -> AsyncIterator[Camera]:
    """A camera whose uplink is at work, and is not flushed at the end."""
    with TemporaryDirectory() as folder:
        made = Camera(port, spool or Path(folder), **pauses)
        made.uplink.start()
        try:
            yield made
        finally:
            await made.uplink.close(flush_s=0)


async def test_maps_arrive_once_and_in_order_and_are_counted() -> None:
    peer = Recognizer()
    async with listening(peer) as port, camera(port) as cam:
        ids = await cam.send(50)
        await until(lambda: cam.uplink.depth == 0)
        assert peer.received == ids
        assert cam.count("acknowledged_total") == 50
        assert cam.count("depth") == 0


async def test_what_a_broken_stream_left_unacknowledged_is_sent_again_in_order() -> None:
    peer = Recognizer(["ack", "ignore", "ignore", "break"])
    async with listening(peer) as port, camera(port) as cam:
        ids = await cam.send(10)
        await until(lambda: cam.uplink.depth == 0)
        assert peer.acknowledged == ids
        assert peer.received[:4] == ids[:4]
        assert peer.received[4:] == ids[1:]
        assert cam.count("breaks_total") == 1


async def test_maps_wait_for_a_peer_that_is_away(free_port: int) -> None:
    peer = Recognizer()
    async with camera(free_port) as cam:
        ids = await cam.send(3)
        await asyncio.sleep(0.1)
        assert (cam.uplink.depth, cam.count("depth")) == (3, 3)
        async with listening(peer, port=free_port):
            ids += await cam.send(3)
            await until(lambda: cam.uplink.depth == 0)
    assert peer.received == ids


async def test_a_restarted_peer_gets_what_the_old_one_did_not_acknowledge(
    free_port: int,
) -> None:
    old, new = Recognizer(["ack", "ack"] + ["ignore"] * 100), Recognizer()
    async with camera(free_port) as cam:
        async with listening(old, port=free_port):
            ids = await cam.send(6)
            await until(lambda: len(old.received) == 6 and cam.uplink.depth == 4)
        ids += await cam.send(2)
        async with listening(new, port=free_port):
            ids += await cam.send(2)
            await until(lambda: cam.uplink.depth == 0)
        assert old.acknowledged == ids[:2]
        assert new.acknowledged == ids[2:]
        assert cam.count("acknowledged_total") == 10


@pytest.mark.parametrize(
    "code",
    [
        grpc.StatusCode.RESOURCE_EXHAUSTED,
        grpc.StatusCode.UNAVAILABLE,
        grpc.StatusCode.INTERNAL,
    ],
)
async def test_a_map_that_may_be_taken_later_is_sent_again(code: grpc.StatusCode) -> None:
    peer = Recognizer(["ack", code])
    async with listening(peer) as port, camera(port) as cam:
        ids = await cam.send(3)
        await until(lambda: cam.uplink.depth == 0)
        assert set(peer.acknowledged) == set(ids)
        assert cam.count("refused_total") == 0


async def test_a_map_refused_for_good_is_counted_and_holds_nobody_up() -> None:
    peer = Recognizer([grpc.StatusCode.INVALID_ARGUMENT])
    async with listening(peer) as port, camera(port) as cam:
        ids = await cam.send(3)
        await until(lambda: cam.uplink.depth == 0)
        assert peer.received == ids
        assert (cam.count("refused_total"), cam.count("acknowledged_total")) == (1, 2)


async def test_an_uplink_lives_through_more_failures_than_a_float_has_powers_of_two() -> None:
    peer = Recognizer()
    peer.hang_up = True
    async with listening(peer) as port, camera(port, longest_s=0) as cam:
        await until(lambda: peer.streams > 1100, seconds=120)
        peer.hang_up = False
        ids = await cam.send(3)
        await until(lambda: cam.uplink.depth == 0)
        assert peer.received == ids
        assert cam.count("breaks_total") > 1100


@pytest.mark.parametrize("way", ["fail", grpc.StatusCode.INTERNAL])
async def test_a_map_that_fails_again_and_again_goes_aside_and_the_rest_goes_on(
    way: str | grpc.StatusCode,
) -> None:
    peer = Recognizer()
    async with listening(peer) as port, camera(port, longest_s=0.01) as cam:
        with capture_logs() as logs:
            poison = str(uuid.uuid4())
            peer.poison[poison] = way
            ids = await cam.send(2)
            await cam.uplink.offer([StreamedMap(sighting_id=poison, request_id="gate-7/42")])
            ids += await cam.send(3)
            # Those behind a map that was answered with an error may come twice.
            await until(lambda: cam.uplink.aside == cam.uplink.depth == 1)
        assert list(dict.fromkeys(peer.acknowledged)) == ids
        assert peer.received.count(poison) == 5
        assert (cam.uplink.aside, cam.count("aside"), cam.count("set_aside_total")) == (1, 1, 1)
        (line,) = [line for line in logs if line["event"] == "uplink_map_set_aside"]
        assert line["sighting_id"] == poison
        assert line["request_id"] == "gate-7/42"
        assert cam.count("refused_total") == 0


async def test_what_was_set_aside_is_sent_when_the_recognizer_is_mended() -> None:
    """And is no danger to others until then."""
    peer = Recognizer()
    pauses = {"longest_s": 0.01, "aside_s": 0.05}
    async with listening(peer) as port, camera(port, **pauses) as cam:
        poison = await cam.send(3)
        peer.poison = dict.fromkeys(poison, "fail")
        await until(lambda: cam.uplink.aside == 3)
        tries = len(peer.received)
        await until(lambda: len(peer.received) > tries + 6)
        assert cam.count("set_aside_total") == 3
        ids = await cam.send(2)
        await until(lambda: cam.uplink.depth == 3)
        assert peer.acknowledged == ids
        peer.poison.clear()
        await until(lambda: cam.uplink.depth == 0)
        assert sorted(peer.acknowledged[2:]) == sorted(poison)


async def test_a_peer_that_is_away_or_busy_is_no_maps_fault() -> None:
    busy = grpc.StatusCode.RESOURCE_EXHAUSTED
    peer = Recognizer(["break", busy] * 10)
    async with listening(peer) as port, camera(port, longest_s=0.01) as cam:
        ids = await cam.send(3)
        await until(lambda: cam.uplink.depth == 0)
        assert set(peer.acknowledged) == set(ids)
        assert cam.count("set_aside_total") == 0


async def test_closing_waits_for_the_acknowledgements(tmp_path: Path) -> None:
    peer = Recognizer()
    async with listening(peer) as port:
        cam = Camera(port, tmp_path)
        cam.uplink.start()
        ids = await cam.send(20)
        await cam.uplink.close(flush_s=20)
        assert peer.acknowledged == ids


def crop(seed: int) -> EncodeRequest:
    return EncodeRequest(image=clouds(seed), kind=PICTURE_KIND_CROP, forward=True)


def recognizer_for_cameras(
    models: Path, gallery: Path, **settings: object
) -> AbstractAsyncContextManager[Service]:
    """A recognizer that takes streamed maps into the collection `CAMERAS`."""
    return running_recognizer(models, gallery, stream_collection=CAMERAS, **settings)


async def forwarded(encoder: Service, seed: int) -> str:
    """Forward a crop; the id of the sighting."""
    (face,) = (await encoder.encoder.Encode(crop(seed))).faces
    assert face.sighting_id
    return face.sighting_id


async def assert_stored(recognizer: Service, ids: list[str]) -> None:
    """Ask about each sighting; one that is not there would be NOT_FOUND."""
    for sighting_id in ids:
        answer = await identify(recognizer, CAMERAS, sighting_id)
        assert answer.decision == IDENTIFY_DECISION_EMPTY_GALLERY


async def test_a_forwarded_face_is_a_sighting_of_the_recognizer(
    tiny_models: Path, tmp_path: Path, photos: dict[str, bytes]
) -> None:
    async with (
        recognizer_for_cameras(tiny_models, tmp_path / "gallery.sqlite") as recognizer,
        running_encoder(tiny_models, uplink_target=recognizer.address) as encoder,
    ):
        request = EncodeRequest(image=photos["eileen_collins_portrait"], forward=True)
        (face,) = (await encoder.encoder.Encode(request)).faces
        streamed = [crop(seed) for seed in range(3)]
        answers = [
            answer.response.faces[0]
            async for answer in encoder.encoder.EncodeStream(
                iter([EncodeStreamRequest(request=request) for request in streamed])
            )
        ]
        await until(lambda: encoder.sample("compactface_uplink_depth") == 0)
        await assert_stored(recognizer, [each.sighting_id for each in (face, *answers)])
        assert recognizer.sample("compactface_sightings_total", outcome="stored") == 4


async def test_a_recognizer_that_went_away_and_came_back_has_it_all(
    tiny_models: Path, tmp_path: Path, free_port: int
) -> None:
    def recognizer() -> AbstractAsyncContextManager[Service]:
        return recognizer_for_cameras(tiny_models, tmp_path / "gallery.sqlite", port=free_port)

    async with running_encoder(tiny_models, uplink_target=f"127.0.0.1:{free_port}") as encoder:
        async with recognizer() as first:
            ids = [await forwarded(encoder, 0)]
            await until(lambda: encoder.sample("compactface_uplink_depth") == 0)
        ids += [await forwarded(encoder, seed) for seed in (1, 2)]
        info = await encoder.encoder.GetEncoderInfo(GetEncoderInfoRequest())
        assert (info.uplink_enabled, info.uplink_depth) == (True, 2)
        async with recognizer() as restarted:
            ids.append(await forwarded(encoder, 3))
            await until(lambda: encoder.sample("compactface_uplink_depth") == 0)
            await assert_stored(restarted, ids)


async def test_a_stop_of_the_encoder_flushes_the_uplink(tiny_models: Path, tmp_path: Path) -> None:
    async with recognizer_for_cameras(tiny_models, tmp_path / "gallery.sqlite") as recognizer:
        async with running_encoder(tiny_models, uplink_target=recognizer.address) as encoder:
            ids = [await forwarded(encoder, seed) for seed in range(4)]
        await assert_stored(recognizer, ids)


async def test_the_uplink_speaks_mutual_tls_and_the_certificate_names_the_camera(
    tiny_models: Path, tmp_path: Path
) -> None:
    authority = Authority(tmp_path, "authority")
    (certificate, key), (camera_certificate, camera_key) = map(
        authority.issue, ("server", "gate-7")
    )
    gallery = tmp_path / "gallery.sqlite"
    async with (
        recognizer_for_cameras(
            tiny_models,
            gallery,
            tls_certificate=certificate,
            tls_key=key,
            tls_client_ca=authority.certificate,
        ) as recognizer,
        running_encoder(
            tiny_models,
            uplink_target=recognizer.address,
            uplink_ca=authority.certificate,
            uplink_certificate=camera_certificate,
            uplink_key=camera_key,
        ) as encoder,
    ):
        sighting_id = await forwarded(encoder, 0)
        await until(lambda: encoder.sample("compactface_uplink_depth") == 0)
    with closing(sqlite3.connect(gallery)) as database:
        rows = database.execute("SELECT id, camera_id FROM sightings").fetchall()
    assert rows == [(sighting_id, "gate-7")]
