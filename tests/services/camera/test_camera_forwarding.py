"""The line of faces before an encoder that comes and goes."""

import io
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime

import grpc
import numpy as np
import pytest
from PIL import Image
from prometheus_client import CollectorRegistry

from camera_gateway.forwarding import Forwarder
from camera_gateway.metrics import CameraMetrics, GatewayMetrics
from camera_gateway.shots import Shot
from compactface.client import EncoderClient
from compactface.v1.encoder_pb2 import FORWARD_OUTCOME_DISCARDED
from shared.errors import FailedPrecondition
from shared.serving.background import Background
from tests.services.encoder.encoder_peer import Peer, serving

NOON = datetime(2026, 11, 26, 12, tzinfo=UTC)
Make = Callable[..., Forwarder]


def shot(visit: int, quality: float = 0.5) -> Shot:
    return Shot("door", visit, np.full((112, 96, 3), visit, np.uint8), quality, 1.0, NOON)


def visits(peer: Peer) -> list[int]:
    """Whose faces arrived: every visit is of a colour of its own."""
    return [int(np.asarray(Image.open(io.BytesIO(r.image)))[0, 0, 0]) for r in peer.received]


def until(reached: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not reached():
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.fixture
def registry() -> CollectorRegistry:
    return CollectorRegistry()


@pytest.fixture
def make(registry: CollectorRegistry) -> Iterator[Make]:
    made = []

    def forwarder(address: str, capacity: int = 9) -> Forwarder:
        families = GatewayMetrics(registry)
        client = EncoderClient(address)
        cameras = {"door": CameraMetrics(families, "door")}
        one = Forwarder(
            client,
            capacity=capacity,
            metrics=families,
            cameras=cameras,
            background=Background(registry),
        )
        made.append((client, one))
        return one

    yield forwarder
    for client, one in made:
        one.close(flush_s=0)
        client.close()


def count(registry: CollectorRegistry, name: str) -> float:
    return registry.get_sample_value(f"compactface_camera_{name}", {"camera": "door"}) or 0


def test_a_face_arrives_whole_with_its_time(make: Make, registry: CollectorRegistry) -> None:
    peer = Peer()
    with serving(peer) as address:
        forwarder = make(address)
        forwarder.start()
        forwarder.offer(shot(7))
        assert forwarder.close(flush_s=30) == 0
    (request,) = peer.received
    assert np.asarray(Image.open(io.BytesIO(request.image))).shape == (112, 96, 3)
    assert request.capture_time.ToDatetime(UTC) == NOON
    assert request.forward
    assert count(registry, "sightings_total") == 1


def test_while_the_encoder_is_away_the_newest_wait(
    make: Make, registry: CollectorRegistry, free_port: int
) -> None:
    forwarder = make(f"127.0.0.1:{free_port}", capacity=3)
    forwarder.start()
    for visit in range(1, 6):
        forwarder.offer(shot(visit))
    assert count(registry, "shots_dropped_total") == 2
    assert registry.get_sample_value("compactface_camera_shots_waiting") == 3
    peer = Peer()
    with serving(peer, free_port):
        until(lambda: len(peer.received) == 3)
    assert visits(peer) == [3, 4, 5]


def test_of_one_visit_the_better_face_waits(make: Make, free_port: int) -> None:
    forwarder = make(f"127.0.0.1:{free_port}")
    forwarder.start()
    for quality in (0.5, 0.8, 0.6):
        forwarder.offer(shot(int(100 * quality), quality=0.1))
        forwarder.offer(Shot("door", 1, shot(int(100 * quality)).crop, quality, 1.0, NOON))
    peer = Peer()
    with serving(peer, free_port):
        until(lambda: len(peer.received) == 4)
    assert sorted(visits(peer)) == [50, 60, 80, 80]


@pytest.mark.parametrize(
    "code",
    [
        grpc.StatusCode.UNAVAILABLE,
        grpc.StatusCode.RESOURCE_EXHAUSTED,
        grpc.StatusCode.INTERNAL,
        grpc.StatusCode.PERMISSION_DENIED,
    ],
)
def test_what_may_pass_is_tried_again(
    make: Make, registry: CollectorRegistry, code: grpc.StatusCode
) -> None:
    peer = Peer()
    peer.script = [code, code]
    with serving(peer) as address:
        forwarder = make(address)
        forwarder.start()
        forwarder.offer(shot(1))
        forwarder.offer(shot(2))
        until(lambda: len(peer.received) == 2)
    assert visits(peer) == [1, 2]
    assert count(registry, "shots_refused_total") == 0


@pytest.mark.parametrize(
    "answers", [[grpc.StatusCode.INVALID_ARGUMENT], [grpc.StatusCode.INTERNAL] * 5]
)
def test_what_is_refused_for_good_holds_up_nobody(
    make: Make, registry: CollectorRegistry, answers: list[grpc.StatusCode]
) -> None:
    peer = Peer()
    peer.script = list(answers)
    with serving(peer) as address:
        forwarder = make(address)
        forwarder.start()
        forwarder.offer(shot(1))
        forwarder.offer(shot(2))
        until(lambda: len(peer.received) == 1)
    assert visits(peer) == [2]
    assert count(registry, "shots_refused_total") == 1


def test_an_answer_without_the_face_holds_up_nobody(
    make: Make, registry: CollectorRegistry
) -> None:
    peer = Peer()
    peer.faceless = 5
    with serving(peer) as address:
        forwarder = make(address)
        forwarder.start()
        forwarder.offer(shot(1))
        forwarder.offer(shot(2))
        until(lambda: len(peer.received) == 1)
    assert visits(peer) == [2]
    assert count(registry, "shots_refused_total") == 1
    failures = "compactface_background_failures_total"
    assert registry.get_sample_value(failures, {"task": "forward"}) == 5


def test_faces_that_nobody_keeps_are_no_sightings(make: Make, registry: CollectorRegistry) -> None:
    peer = Peer()
    peer.outcome = FORWARD_OUTCOME_DISCARDED
    with serving(peer) as address:
        forwarder = make(address)
        forwarder.start()
        forwarder.offer(shot(1))
        assert forwarder.close(flush_s=30) == 0
    assert count(registry, "sightings_total") == 0
    assert count(registry, "shots_discarded_total") == 1


def test_what_waits_at_the_end_is_counted(make: Make, free_port: int) -> None:
    forwarder = make(f"127.0.0.1:{free_port}")
    forwarder.start()
    forwarder.offer(shot(1))
    forwarder.offer(shot(2))
    assert forwarder.close(flush_s=0.3) == 2


def test_an_encoder_without_uplink_is_refused_at_the_start(make: Make) -> None:
    with serving(Peer(uplink=False)) as address, pytest.raises(FailedPrecondition) as error:
        make(address).start()
    assert error.value.reason == "UPLINK_DISABLED"
