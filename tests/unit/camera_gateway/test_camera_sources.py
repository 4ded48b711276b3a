"""Sources from real files, which the tests write or damage."""

import os
import shutil
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest

from camera_gateway.handover import Handover
from camera_gateway.opening import open_source
from camera_gateway.settings import CameraSettings
from camera_gateway.sources import Frame, Source, SourceUnavailable, without_password
from camera_gateway.video import _Lag
from tests.camera_clip import OBAMA, PHOTOS, Walk, write_clip

WALK = [Walk(OBAMA, 0, 2)]


def opened(source: object, **settings: object) -> Source:
    return open_source(CameraSettings.model_validate({"source": str(source), **settings}))


def read(source: object, **settings: object) -> list[Frame]:
    return list(opened(source, **settings).frames())


def test_a_film_has_the_times_of_the_film(tmp_path: Path) -> None:
    made = {"creation_time": "2026-11-20T08:00:00.000000Z"}
    film = write_clip(tmp_path / "film.mkv", WALK, seconds=2, metadata=made)
    frames = read(film)
    assert [round(frame.at, 3) for frame in frames] == [k / 10 for k in range(20)]
    assert frames[5].taken == datetime(2026, 11, 20, 8, 0, 0, 500_000, tzinfo=UTC)
    assert frames[5].pixels().shape == (240, 320, 3)


def test_a_film_that_does_not_say_when_ended_when_it_was_last_written(tmp_path: Path) -> None:
    film = write_clip(tmp_path / "film.mkv", WALK, seconds=2)
    os.utime(film, (0, 1_000_000))
    assert abs(read(film)[0].taken.timestamp() - (1_000_000 - 2)) < 0.2


def test_time_goes_on_where_time_stamps_go_back_and_frames_change_size(tmp_path: Path) -> None:
    first = write_clip(tmp_path / "a.ts", WALK, seconds=1)
    second = write_clip(tmp_path / "b.ts", WALK, seconds=1, size=(160, 128))
    both = tmp_path / "both.ts"
    both.write_bytes(first.read_bytes() + second.read_bytes())
    frames = read(both)
    steps = np.diff([frame.at for frame in frames])
    assert (steps >= 0).all()
    assert steps.sum() < 2.5
    assert {frame.pixels().shape for frame in frames} == {(240, 320, 3), (128, 160, 3)}


def test_damaged_frames_are_counted_and_none_is_shown(tmp_path: Path) -> None:
    film = write_clip(tmp_path / "film.ts", WALK, seconds=3)
    whole = [frame.pixels() for frame in read(film)]
    data = bytearray(film.read_bytes())
    for place in range(len(data) // 3, len(data) // 2, 97):
        data[place] ^= 0x55 if place % 188 > 12 else 0  # not the headers of the container
    film.write_bytes(data)
    source = opened(film)
    frames = list(source.frames())
    assert 10 <= len(frames) < 30
    assert source.damaged > 0
    for frame in frames:
        number = round(frame.at * 10)
        difference = np.abs(frame.pixels().astype(int) - whole[number]).mean()
        assert difference < 2, number


def test_a_recording_cut_short_gives_what_is_there(tmp_path: Path) -> None:
    film = write_clip(tmp_path / "film.mkv", WALK, seconds=2)
    film.write_bytes(film.read_bytes()[: film.stat().st_size // 2])
    assert 1 <= len(read(film)) < 20


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("nothing.mp4", "no such file, folder or device"),
        ("/dev/video77", "no such file or directory"),
        ("rtsp://user:secret@127.0.0.1:9/x?password=secret", "connection refused"),
        ("http://127.0.0.1:9/snapshot.jpg", "connection refused"),
    ],
)
def test_a_source_that_is_not_there_is_one_line_without_passwords(name: str, why: str) -> None:
    with pytest.raises(SourceUnavailable) as error:
        read(name, stall_seconds=5)
    assert error.value.message.endswith(why)
    assert "secret" not in error.value.message
    assert "\n" not in error.value.message


@pytest.mark.parametrize("content", [b"", b"this is no film" * 99])
def test_a_file_that_is_no_film(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "film.mp4"
    path.write_bytes(content)
    with pytest.raises(SourceUnavailable):
        read(path)


def test_a_folder_is_read_by_name_and_what_is_no_picture_left_out(tmp_path: Path) -> None:
    for name in ("b.jpg", "a.jpg"):
        shutil.copy(PHOTOS / "eileen_collins_portrait.jpg", tmp_path / name)
    (tmp_path / "c.jpg").write_bytes(b"no picture")
    (tmp_path / "notes.txt").write_text("no picture either")
    os.utime(tmp_path / "a.jpg", (0, 1000))
    source = opened(tmp_path)
    frames = list(source.frames())
    assert [frame.taken == datetime.fromtimestamp(1000, UTC) for frame in frames] == [True, False]
    assert source.damaged == 1


def test_a_folder_that_is_watched_gives_new_pictures_and_each_once(tmp_path: Path) -> None:
    photo = PHOTOS / "eileen_collins_portrait.jpg"
    shutil.copy(photo, tmp_path / "1.jpg")
    frames = opened(tmp_path, interval_seconds=0.01).frames()
    first = next(frames)
    whole = photo.read_bytes()
    (tmp_path / "2.jpg").write_bytes(whole[: len(whole) // 2])  # an upload on its way
    threading.Timer(0.3, (tmp_path / "2.jpg").write_bytes, [whole]).start()
    second = next(frames)
    assert second.at > first.at
    assert second.pixels().shape == (512, 512, 3)


def test_a_picture_comes_once_or_again_and_again(tmp_path: Path) -> None:
    path = tmp_path / "now.jpg"
    shutil.copy(PHOTOS / "eileen_collins_portrait.jpg", path)
    assert len(read(path)) == 1
    frames = opened(path, interval_seconds=0.01).frames()
    first, second = next(frames), next(frames)
    assert second.at > first.at
    path.unlink()
    with pytest.raises(SourceUnavailable):
        next(frames)


@pytest.fixture
def web(tmp_path: Path) -> Iterator[str]:
    """The address of a web server that has the files of `tmp_path`."""

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(tmp_path))) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def test_a_picture_of_a_web_server_comes_again_and_again(tmp_path: Path, web: str) -> None:
    shutil.copy(PHOTOS / "eileen_collins_portrait.jpg", tmp_path / "now.jpg")
    source = opened(f"{web}/now.jpg", interval_seconds=0.01)
    frames = source.frames()
    first, second = next(frames), next(frames)
    assert second.at > first.at
    assert second.pixels().shape == (512, 512, 3)
    assert source.live


def test_a_film_of_a_web_server_has_an_end(tmp_path: Path, web: str) -> None:
    write_clip(tmp_path / "film.mkv", WALK, seconds=1)
    source = opened(f"{web}/film.mkv")
    assert [round(frame.at, 3) for frame in source.frames()] == [k / 10 for k in range(10)]
    assert not source.live


def frame(number: int) -> Frame:
    taken = datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=number)
    return Frame(float(number), taken, lambda: np.zeros((1, 1, 3), np.uint8))


def test_of_a_live_source_the_newest_frame_is_looked_at() -> None:
    handover = Handover(threading.Event())
    assert [handover.give(frame(k), live=True) for k in range(4)] == [0, 1, 1, 1]
    taken = handover.take(1)
    assert taken is not None
    assert taken.at == 3
    assert handover.take(0.01) is None


def test_of_a_recording_every_frame_is_looked_at() -> None:
    handover = Handover(threading.Event())

    given = []

    def give_all() -> None:
        for k in range(20):
            handover.give(frame(k), live=False)
            given.append(k)
        handover.end()

    threading.Thread(target=give_all, daemon=True).start()
    time.sleep(0.2)
    assert len(given) <= 2  # the film is not read into memory
    found = []
    while not handover.over:
        if (taken := handover.take(5)) is not None:
            found.append(taken.at)
    assert found == list(range(20))


def test_stopping_ends_all_waiting() -> None:
    stopping = threading.Event()
    handover = Handover(stopping)
    stopping.set()
    for k in range(9):
        handover.give(frame(k), live=False)
    assert handover.over


def test_lag_is_told_from_drift() -> None:
    drifting, late = _Lag(), _Lag()
    # A camera whose clock loses one second in an hour, for a day.
    assert max(drifting.behind_s(k * (1 - 1 / 3600), float(k)) for k in range(0, 86400, 10)) < 0.1
    behind = [late.behind_s(k * 0.5, float(k)) for k in range(10)]
    assert behind[-1] > 4


def test_sources_are_shown_without_user_password_and_query() -> None:
    assert without_password("rtsp://a:b@h:1/x?c=d") == "rtsp://h:1/x?..."
    assert without_password("film.mp4") == "film.mp4"
