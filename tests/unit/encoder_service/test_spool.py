"""The spool by itself: a file in a folder of its own."""

import stat
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from encoder_service.uplink.spool import Dropped, Spool
from encoder_service.uplink.spool_file import FILE, SET_ASIDE
from shared.errors import FailedPrecondition, Unavailable
from shared.sqlite_files import connect
from shared.storage_key import StorageKey
from tests.ciphered import KEY, OTHER_KEY, decrypted

Open = Callable[..., Spool]
MAP = b"map of a face " * 20  # 280 bytes


class Uptime:
    """A clock that tests set forward, and that begins anew with the machine."""

    def __init__(self) -> None:
        self.seconds = 1000.0

    def __call__(self) -> float:
        """Seconds since the machine started."""
        return self.seconds


@pytest.fixture
def uptime() -> Uptime:
    return Uptime()


@pytest.fixture(params=[None, KEY], ids=["plain", "encrypted"])
def key(request: pytest.FixtureRequest) -> StorageKey | None:
    """The key of the spool."""
    given: StorageKey | None = request.param
    return given


@pytest.fixture
def open_spool(tmp_path: Path, uptime: Uptime, key: StorageKey | None) -> Iterator[Open]:
    """Opens the one spool; it is closed at the end."""
    opened: list[Spool] = []

    def open_it(*, max_bytes: int = 1 << 20, max_age_s: float = 3600) -> Spool:
        if opened:
            opened.pop().close()
        folder = tmp_path / "spool"
        opened.append(
            Spool(
                folder,
                key=key,
                durable=True,
                max_bytes=max_bytes,
                max_age_s=max_age_s,
                uptime=uptime,
            )
        )
        return opened[0]

    yield open_it
    for spool in opened:
        spool.close()


def take(spool: Spool, *ids: str, message: bytes = MAP) -> Dropped:
    """Put maps in; what was dropped."""
    return spool.change(take=[(id_, message) for id_ in ids])[1]


def waiting(spool: Spool) -> list[str]:
    return [item.id for item in spool.read(after=0, most=1000)]


def test_maps_wait_in_order_until_they_are_removed(open_spool: Open) -> None:
    spool = open_spool()
    take(spool, "b", "a")
    take(spool, "c")
    assert [(item.id, item.message) for item in spool.read(after=0, most=2)] == [
        ("b", MAP),
        ("a", MAP),
    ]
    assert spool.change(remove=["a", "x"]) == (["a"], Dropped())
    spool = open_spool()
    assert waiting(spool) == ["b", "c"]
    assert (spool.depth, spool.size) == (2, 2 * len(MAP))


def test_a_map_taken_twice_waits_once(open_spool: Open) -> None:
    spool = open_spool()
    take(spool, "a", "a")
    take(spool, "a")
    assert (spool.depth, spool.size, waiting(spool)) == (1, len(MAP), ["a"])


def test_the_oldest_maps_are_dropped_beyond_the_limit_of_bytes(open_spool: Open) -> None:
    spool = open_spool(max_bytes=3 * len(MAP))
    assert take(spool, "a", "b", "c") == Dropped()
    assert take(spool, "d", "e") == Dropped(for_bytes=2)
    assert waiting(spool) == ["c", "d", "e"]
    assert spool.size == 3 * len(MAP)


def test_maps_that_are_too_old_are_dropped(open_spool: Open, uptime: Uptime) -> None:
    spool = open_spool(max_age_s=60)
    take(spool, "a")
    uptime.seconds += 40
    take(spool, "b")
    assert spool.oldest_age_s == pytest.approx(40)
    uptime.seconds += 21
    assert spool.tidy() == Dropped(for_age=1)
    assert waiting(spool) == ["b"]
    assert spool.oldest_age_s == pytest.approx(21)


def test_age_goes_on_after_the_machine_was_started_anew(open_spool: Open, uptime: Uptime) -> None:
    """Its uptime is less than before then; the time between counts for nothing."""
    spool = open_spool(max_age_s=60)
    take(spool, "a")
    uptime.seconds += 40
    spool.close()
    uptime.seconds = 3
    spool = open_spool(max_age_s=60)
    assert spool.oldest_age_s == pytest.approx(40)
    uptime.seconds += 21
    assert take(spool, "b") == Dropped(for_age=1)


def test_failures_are_counted_and_maps_set_aside_for_good(open_spool: Open) -> None:
    spool = open_spool()
    take(spool, "a", "b")
    assert [spool.blame("a", aside_after=2).failures for _ in range(3)] == [1, 2, 3]
    assert spool.blame("gone", aside_after=2) is None
    spool = open_spool()
    assert (waiting(spool), spool.aside, spool.depth) == (["b"], 1, 2)
    aside = spool.oldest_aside()
    assert (aside.id, aside.failures) == ("a", 3)
    assert spool.oldest_aside(after=aside.key) is None
    spool.change(remove=["a"])
    assert (spool.aside, spool.oldest_aside()) == (0, None)


def files(folder: Path) -> list[Path]:
    return [file for file in (folder / "spool").iterdir() if file.is_file()]


def content(folder: Path, key: StorageKey | None) -> bytes:
    """What the files hold for whoever has the key, if there is one."""
    if key:
        return decrypted(folder / "spool" / FILE, key)
    return b"".join(file.read_bytes() for file in files(folder))


def test_files_are_for_their_owner_and_nothing_of_a_map_stays(
    open_spool: Open, tmp_path: Path, key: StorageKey | None
) -> None:
    spool = open_spool()
    ids = [f"sighting-{number}" for number in range(200)]
    take(spool, *ids)
    assert any(MAP in file.read_bytes() for file in files(tmp_path)) == (key is None)
    assert MAP in content(tmp_path, key)
    modes = {stat.S_IMODE(file.stat().st_mode) for file in files(tmp_path)}
    assert modes == {0o600}
    assert stat.S_IMODE((tmp_path / "spool").stat().st_mode) == 0o700
    for id_ in ids:
        spool.change(remove=[id_])
    spool.tidy()
    raw = content(tmp_path, key)
    assert MAP not in raw
    assert b"sighting-" not in raw


def test_bytes_of_removed_maps_leave_the_disk_while_others_wait(
    open_spool: Open, tmp_path: Path, key: StorageKey | None
) -> None:
    spool = open_spool()
    take(spool, "a", message=b"secret" * 50)
    take(spool, "b")
    spool.change(remove=["a"])
    spool.tidy()
    raw = content(tmp_path, key)
    assert b"secret" not in raw
    assert MAP in raw


@pytest.mark.parametrize("damage", ["header", "page", "empty log", "other tables", "text"])
def test_a_damaged_file_is_set_aside_and_a_new_one_begun(
    open_spool: Open, tmp_path: Path, damage: str, key: StorageKey | None
) -> None:
    spool = open_spool()
    take(spool, *(f"map-{number}" for number in range(200)))
    spool.close()
    path = tmp_path / "spool" / FILE
    content = path.read_bytes()
    if damage == "other tables":
        with closing(connect(path, key)) as database:
            database.execute("DROP TABLE clock")
    else:
        path.write_bytes(
            {
                "header": b"\0" * 100 + content[100:],
                "page": content[:8192] + b"\xff" * 4096 + content[12288:],
                "empty log": content[: len(content) // 2],
                "text": b"not a database " * 1000,
            }[damage]
        )
    damaged = path.read_bytes()
    with capture_logs() as logs:
        spool = open_spool()
    (line,) = [line for line in logs if line["event"] == "spool_damaged"]
    assert line["set_aside"] == str(tmp_path / "spool" / SET_ASIDE)
    assert (tmp_path / "spool" / SET_ASIDE).read_bytes() == damaged
    assert (spool.damaged, spool.depth) == (1, 0)
    take(spool, "new")
    assert waiting(open_spool()) == ["new"]


def test_a_file_that_is_damaged_later_is_set_aside_too(open_spool: Open, tmp_path: Path) -> None:
    spool = open_spool()
    take(spool, *(f"map-{number}" for number in range(2000)))
    spool.tidy()
    path = tmp_path / "spool" / FILE
    with path.open("r+b") as file:
        file.seek(4096)
        file.write(b"\xff" * (path.stat().st_size - 4096))
    spool._database.execute("PRAGMA shrink_memory")
    take(spool, "new")
    assert spool.damaged == 1
    assert waiting(spool) == ["new"]


def test_one_process_has_the_folder(open_spool: Open, tmp_path: Path, uptime: Uptime) -> None:
    open_spool()
    with pytest.raises(FailedPrecondition) as caught:
        Spool(tmp_path / "spool", durable=True, max_bytes=1, max_age_s=1, uptime=uptime)
    assert caught.value.reason == "SPOOL_IN_USE"


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(Unavailable, match="file/spool") as caught:
        Spool(tmp_path / "file" / "spool", durable=True, max_bytes=1, max_age_s=1)
    assert caught.value.reason == "SPOOL_UNAVAILABLE"


def test_a_spool_with_another_key_is_refused_and_left_alone(
    open_spool: Open, tmp_path: Path, key: StorageKey | None
) -> None:
    take(open_spool(), "a")
    open_spool().close()
    path = tmp_path / "spool" / FILE
    before = path.read_bytes()
    wrong = {KEY: (None, "STORAGE_KEY_MISSING"), None: (KEY, "STORAGE_NOT_ENCRYPTED")}
    for other, reason in (wrong[key], *([(OTHER_KEY, "STORAGE_KEY_WRONG")] if key else [])):
        with pytest.raises(FailedPrecondition) as caught:
            Spool(path.parent, key=other, durable=True, max_bytes=1, max_age_s=1)
        assert caught.value.reason == reason
    assert path.read_bytes() == before
    assert {file.name for file in path.parent.iterdir()} == {FILE, f"{FILE}.lock"}
    assert waiting(open_spool()) == ["a"]


def test_a_file_of_a_later_version_is_left_alone(
    open_spool: Open, tmp_path: Path, key: StorageKey | None
) -> None:
    open_spool().close()
    with closing(connect(tmp_path / "spool" / FILE, key)) as database:
        database.execute("PRAGMA user_version = 99")
    with pytest.raises(FailedPrecondition, match="99") as caught:
        open_spool()
    assert caught.value.reason == "SPOOL_TOO_NEW"
