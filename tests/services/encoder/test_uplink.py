"""An uplink towards a peer that acknowledges, refuses and breaks off as the test says."""

import asyncio
import sqlite3
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import grpc
import pytest
from prometheus_client import CollectorRegistry
from structlog.testing import capture_logs

from compactface.client.channel import Tls, open_async_channel
from compactface.v1.compact_map_pb2 import CompactMap
from compactface.v1.recognizer_pb2 import StreamedMap
from encoder_service.metrics import UplinkMetrics
from encoder_service.uplink.exchange import Pauses
from encoder_service.uplink.peer import Peer
from encoder_service.uplink.spool import Spool
from encoder_service.uplink.uplink import Fate, SpoolingUplink
from shared.serving.background import Background
from tests.services.asking import CAMERAS
from tests.services.authority import Authority
from tests.services.encoder.uplink_peer import Recognizer, listening
from tests.services.hosting import running_recognizer, until

pytestmark = pytest.mark.asyncio(loop_scope="session")


def new_ids(count: int) -> list[str]:
    return [str(uuid.uuid4()) for _ in range(count)]


class Camera:
    """An uplink with its metrics, and maps to send."""

    def __init__(self, port: int, spool: Path, *, tls: Tls | None = None, **pauses: float) -> None:
        self._registry = CollectorRegistry()
        self.uplink = SpoolingUplink(
            Peer(lambda: open_async_channel(f"localhost:{port}", tls=tls), tls=tls),
            Spool(spool, durable=False, max_bytes=1 << 20, max_age_s=3600),
            metrics=UplinkMetrics(self._registry),
            background=Background(self._registry),
            pauses=Pauses(**pauses),
        )

    async def send(self, count: int) -> list[str]:
        """Offer that many maps one by one; their ids."""
        return await self.offer(new_ids(count))

    async def offer(self, ids: list[str]) -> list[str]:
        """Offer maps with these ids one by one."""
        for sighting_id in ids:
            assert await self.uplink.offer([StreamedMap(sighting_id=sighting_id)]) is Fate.SPOOLED
        return ids

    def count(self, what: str, **labels: str) -> float:
        """The present value of a metric."""
        return self._registry.get_sample_value(f"compactface_uplink_{what}", labels) or 0


@asynccontextmanager
async def camera(port: int, spool: Path | None = None, **options: Any) -> AsyncIterator[Camera]:
    """A camera whose uplink is at work, and is not flushed at the end."""
    with TemporaryDirectory() as folder:
        made = Camera(port, spool or Path(folder), **options)
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
    peer.hang_up = grpc.StatusCode.UNKNOWN  # gRPC itself does not retry it
    async with listening(peer) as port, camera(port, longest_s=0) as cam:
        await until(lambda: peer.streams > 1100, seconds=120)
        peer.hang_up = None
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
        poison = new_ids(3)
        peer.poison = dict.fromkeys(poison, "fail")
        await cam.offer(poison)
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


async def test_a_peer_that_ends_streams_while_maps_are_sent_is_no_maps_fault() -> None:
    peer = Recognizer()
    peer.hang_up = grpc.StatusCode.PERMISSION_DENIED
    async with listening(peer) as port, camera(port, first_s=0.001, longest_s=0.001) as cam:
        await cam.send(60)
        with capture_logs() as logs:
            await until(lambda: peer.streams > 40)  # gRPC loses the status of some
        reasons = {each["reason"] for each in logs if each["event"] == "uplink_broken"}
        assert reasons == {"PERMISSION_DENIED"}


async def test_closing_waits_for_the_acknowledgements(tmp_path: Path) -> None:
    peer = Recognizer()
    async with listening(peer) as port:
        cam = Camera(port, tmp_path)
        cam.uplink.start()
        ids = await cam.send(20)
        await cam.uplink.close(flush_s=20)
        assert peer.acknowledged == ids


async def test_maps_and_failures_outlive_the_uplink(tmp_path: Path, free_port: int) -> None:
    peer = Recognizer()
    async with camera(free_port, tmp_path) as cam:
        ids = await cam.send(3)
    peer.poison[ids[1]] = "fail"
    async with listening(peer, port=free_port):
        async with camera(free_port, tmp_path, longest_s=0.01) as cam:
            await until(lambda: cam.uplink.aside == cam.uplink.depth == 1)
            assert cam.uplink.oldest_age_s is not None
            assert cam.count("oldest_seconds") > 0
        tries = peer.received.count(ids[1])
        async with camera(free_port, tmp_path, longest_s=0.01, aside_s=0.05) as cam:
            assert cam.uplink.aside == 1
            peer.poison.clear()
            await until(lambda: cam.uplink.depth == 0)
        assert (tries, peer.received.count(ids[1])) == (5, 6)
    assert sorted(peer.acknowledged) == sorted(ids)
    assert (tmp_path / "spool.sqlite").read_bytes().count(ids[1].encode()) == 0


@pytest.mark.parametrize("answers_together", [True, False])
async def test_several_maps_travel_in_one_message_if_the_recognizer_knows_how(
    free_port: int, *, answers_together: bool
) -> None:
    peer = Recognizer()
    peer.maps_per_message = 16
    peer.answers_together = answers_together
    async with camera(free_port) as cam:
        ids = await cam.send(40)
        async with listening(peer, port=free_port):
            await until(lambda: cam.uplink.depth == 0)
    assert peer.acknowledged == ids
    assert peer.messages == [16, 16, 8]


async def test_one_of_several_maps_that_does_harm_is_found(free_port: int) -> None:
    peer = Recognizer()
    peer.maps_per_message = 16
    async with camera(free_port, longest_s=0.01) as cam:
        ids = await cam.send(20)
        peer.poison[ids[9]] = "fail"
        async with listening(peer, port=free_port):
            await until(lambda: cam.uplink.aside == cam.uplink.depth == 1)
    assert set(ids) - set(peer.acknowledged) == {ids[9]}
    assert cam.count("set_aside_total") == 1


async def test_a_map_of_a_codec_that_the_recognizer_lacks_waits_for_it() -> None:
    peer = Recognizer()
    async with listening(peer) as port, camera(port, aside_s=0.05) as cam:
        early = str(uuid.uuid4())
        peer.poison[early] = grpc.StatusCode.FAILED_PRECONDITION
        await cam.uplink.offer([StreamedMap(sighting_id=early)])
        ids = await cam.send(2)
        await until(lambda: cam.uplink.aside == cam.uplink.depth == 1)
        assert peer.acknowledged == ids
        peer.poison.clear()
        await until(lambda: cam.uplink.depth == 0)
        assert peer.acknowledged == [*ids, early]
        assert cam.count("refused_total") == 0


async def test_the_oldest_maps_are_dropped_and_counted_and_the_service_goes_on(
    free_port: int,
) -> None:
    peer = Recognizer()
    large = CompactMap(png=b"x" * (1 << 18))
    async with camera(free_port) as cam:  # at most 1 MiB may wait
        ids = [str(uuid.uuid4()) for _ in range(6)]
        for id_ in ids:
            await cam.uplink.offer([StreamedMap(sighting_id=id_, map=large)])
        assert (cam.uplink.depth, cam.uplink.dropped) == (3, 3)
        assert cam.count("dropped_total", limit="bytes") == 3
        async with listening(peer, port=free_port):
            await until(lambda: cam.uplink.depth == 0)
    assert peer.acknowledged == ids[3:]


async def test_certificates_that_change_are_read_again(
    tiny_models: Path, tmp_path: Path, people: list[CompactMap]
) -> None:
    authority = Authority(tmp_path, "authority")
    (certificate, key), old, new = map(authority.issue, ("server", "gate-7", "gate-8"))
    mine = Tls(authority.certificate, tmp_path / "mine.pem", tmp_path / "mine.key")

    def install(issued: tuple[Path, Path]) -> None:
        for source, target in zip(issued, (mine.certificate, mine.key), strict=True):
            assert target is not None
            target.write_bytes(source.read_bytes())

    gallery = tmp_path / "gallery.sqlite"
    tls = {"tls_certificate": certificate, "tls_key": key, "tls_client_ca": authority.certificate}
    async with running_recognizer(
        tiny_models, gallery, stream_collection=CAMERAS, **tls
    ) as recognizer:
        install(old)
        port = recognizer.host.port
        async with camera(port, tmp_path / "spool", tls=mine, tidy_s=0.05) as cam:
            maps = [StreamedMap(sighting_id=str(uuid.uuid4()), map=face) for face in people[:2]]
            await cam.uplink.offer(maps[:1])
            await until(lambda: cam.uplink.depth == 0)
            install(new)
            await until(lambda: cam.count("breaks_total") > 0)
            await cam.uplink.offer(maps[1:])
            await until(lambda: cam.uplink.depth == 0)
    with closing(sqlite3.connect(gallery)) as database:
        rows = database.execute("SELECT camera_id FROM sightings ORDER BY key").fetchall()
    assert rows == [("gate-7",), ("gate-8",)]
