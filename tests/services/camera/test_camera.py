"""The gateway on films, and on a camera in the network that fails in every way."""

import asyncio
import shutil
import signal
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta, tzinfo
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from prometheus_client import CollectorRegistry

import camera_gateway.video
from camera_gateway.gateway import Gateway
from camera_gateway.settings import GatewaySettings, load_settings
from camera_gateway.video import Video
from compactface.v1.recognizer_pb2 import ListSightingsRequest
from shared.faces.align import align
from shared.faces.detect import DetectorOptions
from shared.faces.detectors import open_detector
from shared.serving.background import Background
from tests.camera_clip import BIDEN, COLLINS, FACES, OBAMA, PHOTOS, Walk, write_clip
from tests.services.encoder.encoder_peer import Peer, serving
from tests.services.hosting import running_encoder, running_recognizer

ROOT = Path(__file__).parents[3]
GSTREAMER = "/usr/bin/python3"  # whose bindings Debian's packages bring
_PROBE = "import gi; gi.require_version('GstRtspServer', '1.0'); gi.require_version('Gst', '1.0')"

Portraits = dict[str, NDArray[np.float32]]


@pytest.fixture(scope="session")
def portraits() -> Portraits:
    """The aligned face of each photograph, for `who`."""
    detector = open_detector(DetectorOptions("fast", min_face_size=60))
    found = {}
    for name in FACES:
        picture = np.asarray(Image.open(PHOTOS / f"{name}.jpg").convert("RGB"))
        face = detector.detect(picture)[0]
        found[name] = _unit(align(picture, face.landmarks, template=detector.template))
    return found


def who(peer: Peer, portraits: Portraits) -> list[str]:
    """Whose faces arrived, in order: of whom each crop looks most like."""
    names = []
    for request in peer.received:
        crop = _unit(np.asarray(Image.open(BytesIO(request.image))))
        names.append(max(portraits, key=lambda name: float(portraits[name] @ crop)))
    return names


def _unit(crop: NDArray[np.uint8]) -> NDArray[np.float32]:
    flat = crop.astype(np.float32).ravel() - crop.mean()
    unit: NDArray[np.float32] = flat / np.linalg.norm(flat)
    return unit


def settings(address: str, *sources: object, **given: Any) -> GatewaySettings:
    names = [str(source) for source in sources]
    return load_settings(names, **{"encoder": address, "metrics_port": 0, "every": 1, **given})


def watch(address: str, *sources: object, **given: Any) -> CollectorRegistry:
    """Run a gateway until its sources end; its metrics."""
    registry = CollectorRegistry()
    with Gateway(settings(address, *sources, **given), registry) as gateway:
        until(lambda: gateway.finished)
    assert gateway.error is None
    return registry


def count(registry: CollectorRegistry, name: str, camera: str = "camera1") -> float:
    return registry.get_sample_value(f"compactface_camera_{name}", {"camera": camera}) or 0


def until(reached: Callable[[], bool], *, seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not reached():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_each_visit_is_one_sighting(tmp_path: Path, portraits: Portraits) -> None:
    walks = [
        Walk(OBAMA, 0, 2.5),
        Walk(COLLINS, 0.5, 3, x=(1.3, -0.3)),  # and hides him for a moment
        Walk(BIDEN, 3, 5, height=(0.25, 0.4)),
        Walk(OBAMA, 5.5, 7.5),  # who comes back
    ]
    film = write_clip(tmp_path / "film.mkv", walks, seconds=8)
    peer = Peer()
    with serving(peer) as address:
        registry = watch(address, film)
    assert sorted(who(peer, portraits)) == sorted([OBAMA, COLLINS, BIDEN, OBAMA])
    assert count(registry, "sightings_total") == 4
    assert count(registry, "frames_read_total") == 80
    assert count(registry, "frames_skipped_total") == 0


def test_who_stays_is_one_sighting_until_it_is_time_again(tmp_path: Path) -> None:
    film = write_clip(tmp_path / "film.mkv", [Walk(OBAMA, 0, 6, x=(0.4, 0.6))], seconds=6)
    once, again = Peer(), Peer()
    with serving(once) as address:
        watch(address, film)
    with serving(again) as address:
        watch(address, film, again_seconds=2.5)
    assert (len(once.received), len(again.received)) == (1, 3)


@pytest.mark.parametrize(("every", "looks"), [(1, 12), (5, 3), (0, 4)])
def test_faces_are_sought_in_every_nth_frame(tmp_path: Path, every: int, looks: int) -> None:
    film = write_clip(tmp_path / "film.mkv", [Walk(OBAMA, 0, 2, x=(0.4, 0.6))], seconds=1.2)
    peer = Peer()
    with serving(peer) as address:
        registry = watch(address, film, every=every)
    assert count(registry, "faces_total") == looks
    assert count(registry, "frames_read_total") == 12
    assert len(peer.received) == 1


def test_a_folder_without_pictures_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "1.jpg").write_bytes(b"no picture")
    registry = CollectorRegistry()
    with serving(Peer()) as address, Gateway(settings(address, tmp_path), registry) as gateway:
        until(lambda: gateway.finished)
    assert gateway.error is not None
    assert gateway.error.message == f"{tmp_path}: no frame in it"
    assert count(registry, "frames_damaged_total") == 1


def test_what_lies_outside_the_region_or_is_too_small_is_not_seen(tmp_path: Path) -> None:
    walks = [Walk(OBAMA, 0, 1.5, x=(0.2, 0.25)), Walk(COLLINS, 0, 1.5, x=(0.8, 0.75))]
    film = write_clip(tmp_path / "film.mkv", walks, seconds=1.5)
    peer = Peer()
    with serving(peer) as address:
        right = watch(address, film, region_of_interest="0.5,0,1,1")
        large = watch(address, film, min_face_size=150)
    assert count(right, "tracks_total") == 1
    assert count(large, "tracks_total") == 0


def test_a_folder_of_snapshots_is_watched_as_a_film(tmp_path: Path, portraits: Portraits) -> None:
    for number, name in enumerate([OBAMA, OBAMA, COLLINS]):
        shutil.copy(PHOTOS / f"{name}.jpg", tmp_path / f"{number}.jpg")
    peer = Peer()
    with serving(peer) as address:
        watch(address, tmp_path)
    assert who(peer, portraits) == [OBAMA, COLLINS]


def test_several_cameras_at_once_and_their_frames_to_look_at(tmp_path: Path) -> None:
    films = [
        write_clip(tmp_path / f"{name}.mkv", [Walk(name, 0, 2)], seconds=2)
        for name in (OBAMA, COLLINS)
    ]
    peer = Peer()
    with serving(peer) as address:
        registry = watch(address, *films, show_to=tmp_path / "shown")
    assert [count(registry, "sightings_total", f"camera{n}") for n in (1, 2)] == [1, 1]
    shown = sorted((tmp_path / "shown").iterdir())
    assert [path.name for path in shown] == ["camera1.jpg", "camera2.jpg"]
    with Image.open(shown[0]) as picture:
        assert picture.size == (320, 240)


def test_frames_of_noise_and_another_size_break_nothing(tmp_path: Path) -> None:
    random = np.random.default_rng(1)
    for number, size in enumerate([(240, 320), (32, 32), (240, 320), (16, 640)]):
        noise = random.integers(0, 256, (*size, 3), np.uint8)
        Image.fromarray(noise).save(tmp_path / f"{number}.png")
    peer = Peer()
    with serving(peer) as address:
        registry = watch(address, tmp_path)
    assert count(registry, "frames_read_total") == 4
    assert registry.get_sample_value("compactface_background_failures_total") is None


def test_a_source_that_fails_later_takes_no_other_along(tmp_path: Path) -> None:
    for name in ("going", "staying"):
        (tmp_path / name).mkdir()
        shutil.copy(PHOTOS / f"{COLLINS}.jpg", tmp_path / name / "1.jpg")
    registry, peer = CollectorRegistry(), Peer()
    with serving(peer) as address:
        folders = tmp_path / "going", tmp_path / "staying"
        given = settings(address, *folders, interval_seconds=0.1)
        with Gateway(given, registry) as gateway:
            until(lambda: len(peer.received) == 2)
            shutil.rmtree(folders[0])
            until(lambda: count(registry, "reconnects_total", "camera1") > 0)
            shutil.copy(PHOTOS / f"{OBAMA}.jpg", folders[1] / "2.jpg")
            until(lambda: len(peer.received) == 3)
            folders[0].mkdir()
            shutil.copy(PHOTOS / f"{BIDEN}.jpg", folders[0] / "2.jpg")
            until(lambda: len(peer.received) == 4)
            assert not gateway.finished


def test_pictures_may_come_after_the_start(tmp_path: Path) -> None:
    """Whether a source is a video is known once it is there, and not before."""
    (tmp_path / "prepared").mkdir()
    shutil.copy(PHOTOS / f"{COLLINS}.jpg", tmp_path / "prepared" / "1.jpg")
    registry, peer = CollectorRegistry(), Peer()
    with serving(peer) as address:
        given = settings(address, tmp_path / "late", retry=True, interval_seconds=0.1)
        with Gateway(given, registry):
            until(lambda: count(registry, "reconnects_total") >= 2)
            (tmp_path / "prepared").rename(tmp_path / "late")
            until(lambda: len(peer.received) == 1)


def test_a_face_of_a_watched_folder_waits_for_no_other_picture(tmp_path: Path) -> None:
    shutil.copy(PHOTOS / f"{COLLINS}.jpg", tmp_path / "1.jpg")
    registry, peer = CollectorRegistry(), Peer()
    with serving(peer) as address:
        # Not good enough to be sent at once.
        given = settings(address, tmp_path, interval_seconds=0.2, good_quality=1)
        with Gateway(given, registry):
            until(lambda: len(peer.received) == 1)
    assert count(registry, "frames_read_total") == 1


def test_a_gateway_whose_sending_dies_says_so_and_ends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("a bug in the handling of a failure")

    monkeypatch.setattr(Background, "failed", fail)
    monkeypatch.setattr(threading, "excepthook", lambda _: None)
    shutil.copy(PHOTOS / f"{COLLINS}.jpg", tmp_path / "1.jpg")
    peer = Peer()
    peer.faceless = 1
    with serving(peer) as address:
        given = settings(address, tmp_path, interval_seconds=0.2)
        with Gateway(given, CollectorRegistry()) as gateway:
            until(lambda: gateway.finished)
    assert gateway.error is not None
    assert gateway.error.reason == "FORWARDING_DIED"


@pytest.fixture
def film(tmp_path: Path) -> Path:
    """Two people, one after the other."""
    walks = [Walk(OBAMA, 0.3, 1.8), Walk(COLLINS, 2, 3.5)]
    return write_clip(tmp_path / "film.mkv", walks, seconds=4)


@pytest.fixture(scope="session")
def gstreamer() -> None:
    """Skips where Debian's packages for an RTSP server are not installed."""
    found = subprocess.run([GSTREAMER, "-c", _PROBE], check=False, capture_output=True)
    if found.returncode:
        pytest.skip("GStreamer's RTSP server is not installed")


@contextmanager
def rtsp(film: Path, port: int) -> Iterator[subprocess.Popen[bytes]]:
    """A camera on the network."""
    program = [GSTREAMER, str(Path(__file__).with_name("rtsp_server.py")), str(film), str(port)]
    server = subprocess.Popen(program, stdout=subprocess.PIPE)
    try:
        assert server.stdout is not None
        assert server.stdout.readline() == b"listening\n"
        yield server
    finally:
        server.send_signal(signal.SIGCONT)
        server.kill()
        server.wait()
        server.stdout.close()


class _Backwards(datetime):
    """A clock that somebody sets back by a minute whenever it is asked."""

    asked = 0

    @classmethod
    def now(cls, tz: tzinfo | None = None) -> datetime:
        cls.asked += 1
        return datetime.now(tz) - timedelta(minutes=cls.asked)


@pytest.mark.usefixtures("gstreamer")
def test_a_camera_on_the_network_may_go_come_back_and_stall(
    tmp_path: Path,
    film: Path,
    free_port: int,
    portraits: Portraits,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(camera_gateway.video, "datetime", _Backwards)
    large = write_clip(
        tmp_path / "large.mkv", [Walk(BIDEN, 0.3, 60, x=(0.4, 0.6))], seconds=20, size=(400, 300)
    )
    registry, peer = CollectorRegistry(), Peer()
    source = f"rtsp://127.0.0.1:{free_port}/camera"
    with serving(peer) as address:
        given = settings(address, source, retry=True, stall_seconds=2, lost_seconds=4)
        with Gateway(given, registry) as gateway:
            until(lambda: count(registry, "reconnects_total") >= 1)  # nobody is there yet
            with rtsp(film, free_port):
                until(lambda: len(peer.received) == 2)
            with rtsp(large, free_port) as server:  # the camera was exchanged for another
                until(lambda: len(peer.received) == 3)
                lost = count(registry, "reconnects_total")
                server.send_signal(signal.SIGSTOP)
                until(lambda: count(registry, "reconnects_total") > lost)
                assert count(registry, "last_frame_age_seconds") > 1
                frames = count(registry, "frames_read_total")
                server.send_signal(signal.SIGCONT)
                until(lambda: count(registry, "frames_read_total") > frames)
            assert gateway.error is None
    assert who(peer, portraits) == [OBAMA, COLLINS, BIDEN]


@pytest.mark.usefixtures("gstreamer")
def test_who_cannot_keep_up_decodes_less_and_does_not_fall_behind(
    tmp_path: Path, free_port: int
) -> None:
    film = write_clip(tmp_path / "film.mkv", [], seconds=6, rate=25, size=(64, 48))
    with rtsp(film, free_port):
        stream = Video(f"rtsp://127.0.0.1:{free_port}/camera", stall_s=20)
        came = 0
        for _ in stream.frames():
            came += 1
            time.sleep(0.2)  # for 150 frames 30 s
    assert 5 <= came < 60


@contextmanager
def program(*arguments: object) -> Iterator[subprocess.Popen[str]]:
    """The command, killed at the end if it still runs."""
    command = [sys.executable, "-m", "command_line", "camera", *map(str, arguments)]
    with subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


def test_sigterm_sends_what_was_seen_and_ends_well(tmp_path: Path) -> None:
    picture = tmp_path / "now.jpg"
    shutil.copy(PHOTOS / f"{COLLINS}.jpg", picture)
    peer = Peer()
    # Neither good enough to be sent at once nor there for long enough.
    waiting = ("--good-quality", 1, "--settle-seconds", 3000, "--metrics-port", 0)
    with (
        serving(peer) as address,
        program(picture, "--interval-seconds", 0.2, "--encoder", address, *waiting) as process,
    ):
        assert process.stderr is not None
        assert any("source_open" in line for line in process.stderr)
        time.sleep(2)
        assert peer.received == []
        process.send_signal(signal.SIGTERM)
        _, said = process.communicate(timeout=60)
        assert process.returncode == 0, said
    assert len(peer.received) == 1


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["nothing.mp4"], "SOURCE_UNAVAILABLE: nothing.mp4: no such file, folder or device\n"),
        (["rtsp://u:secret@127.0.0.1:9/"], "SOURCE_UNAVAILABLE: rtsp://127.0.0.1:9/: "),
    ],
    ids=["file", "stream"],
)
def test_a_source_that_is_not_there_ends_it(
    arguments: Sequence[str], said: str, free_port: int
) -> None:
    away = ("--encoder", f"127.0.0.1:{free_port}", "--metrics-port", 0, "--log-level", "error")
    with program(*arguments, *away) as process:
        _, line = process.communicate(timeout=60)
    assert process.returncode == 1
    assert line.startswith(said)
    assert line.count("\n") == 1


def test_a_token_may_come_from_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COMPACTFACE_TOKEN", "cf_of_the_door")
    shutil.copy(PHOTOS / f"{COLLINS}.jpg", tmp_path / "1.jpg")
    peer = Peer()
    with (
        serving(peer) as address,
        program(tmp_path, "--encoder", address, "--metrics-port", 0) as process,
    ):
        _, said = process.communicate(timeout=60)
    assert process.returncode == 0, said
    assert set(peer.authorizations) == {"Bearer cf_of_the_door"}


def test_metrics_are_there_for_prometheus(tmp_path: Path) -> None:
    film = write_clip(tmp_path / "film.mkv", [Walk(OBAMA, 0, 1)], seconds=1)
    with (
        serving(Peer()) as address,
        Gateway(settings(address, film), CollectorRegistry()) as gateway,
    ):
        until(lambda: gateway.finished)
        url = f"http://127.0.0.1:{gateway.metrics_port}/metrics"
        text = urllib.request.urlopen(url).read().decode()
    for name in ("frames_read", "frames_skipped", "faces", "tracks", "sightings", "reconnects"):
        assert f'compactface_camera_{name}_total{{camera="camera1"}} ' in text
    assert 'compactface_camera_last_frame_age_seconds{camera="camera1"} ' in text


async def test_who_passes_is_read_at_the_recognizer(tiny_models: Path, tmp_path: Path) -> None:
    made = {"creation_time": "2026-11-20T08:00:00.000000Z"}
    film = write_clip(tmp_path / "film.mkv", [Walk(OBAMA, 0, 2)], seconds=2, metadata=made)
    config = tmp_path / "cameras.toml"
    config.write_text(f'[[cameras]]\nname = "door"\nsource = "{film}"\n')
    async with (
        running_recognizer(tiny_models, tmp_path / "gallery.sqlite") as recognizer,
        running_encoder(
            tiny_models, uplink_target=recognizer.address, uplink_spool=tmp_path / "spool"
        ) as encoder,
    ):
        await asyncio.to_thread(watch, encoder.address, film, config=config)
        for _ in range(300):
            listed = await recognizer.recognizer.ListSightings(ListSightingsRequest())
            if len(listed.sightings) == 2:
                break
            await asyncio.sleep(0.1)
    sighting, other = listed.sightings
    assert {sighting.camera_id, other.camera_id} == {"door", "camera2"}
    taken = sighting.capture_time.ToDatetime(UTC) - datetime(2026, 11, 20, 8, tzinfo=UTC)
    assert 0 < taken.total_seconds() < 2
