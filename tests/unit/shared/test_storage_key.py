"""Keys of encrypted files: where they are read from, and that no message shows one."""

import base64
import sys
from pathlib import Path

import pytest

from shared.errors import FailedPrecondition
from shared.storage_key import KeySource, StorageKey, check_key

SECRET = bytes(range(100, 132))
KEY, OTHER = StorageKey(SECRET), StorageKey(bytes(32))


@pytest.mark.parametrize(
    "text",
    [SECRET.hex(), SECRET.hex().upper(), f"  {SECRET.hex()}\n", base64.b64encode(SECRET).decode()],
)
def test_a_key_is_read_from_a_file_a_variable_or_a_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    path = tmp_path / "the key"
    path.write_text(text)
    path.chmod(0o640)
    monkeypatch.setenv("A_KEY", text)
    command = f"{sys.executable} -c 'print(\"{text.strip()}\")'"
    for source in (f"file:{path}", "env:A_KEY", f"command:{command}"):
        assert KeySource.parse(source).read() == KEY


@pytest.mark.parametrize(
    "text", ["", "k", SECRET.hex()[:-2], SECRET.hex() + "00", "ä" * 64, "g" * 64, "A" * 44]
)
def test_what_is_no_key_is_refused_and_not_shown(
    monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    monkeypatch.setenv("A_KEY", text)
    with pytest.raises(FailedPrecondition) as caught:
        KeySource.parse("env:A_KEY").read()
    assert caught.value.reason == "STORAGE_KEY_INVALID"
    assert f"{len(text)} characters" in caught.value.message
    assert "32 bytes as hex or base64" in caught.value.message
    assert len(text) < 2 or text not in caught.value.message


def test_a_key_is_not_shown() -> None:
    assert SECRET.hex() not in repr(KEY)
    assert repr(SECRET) not in repr(KEY)


@pytest.mark.parametrize("mode", [0o604, 0o602, 0o601, 0o666])
def test_a_file_that_everybody_can_open_is_refused(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "key"
    path.write_text(SECRET.hex())
    path.chmod(mode)
    with pytest.raises(FailedPrecondition, match=f"mode {mode:o}") as caught:
        KeySource.parse(f"file:{path}").read()
    assert caught.value.reason == "STORAGE_KEY_NOT_PRIVATE"


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("file:/no/such/file", "No such file"),
        ("file:/", "Is a directory"),
        ("env:NOT_SET_ANYWHERE", "not set"),
        ("command:false --token hush", "exited with 1"),
        ("command:/no/such/program", "No such file"),
        ("command:echo 'unclosed", "No closing quotation"),
    ],
)
def test_a_source_without_a_key_is_named(source: str, reason: str) -> None:
    """But not the arguments of a command."""
    with pytest.raises(FailedPrecondition, match=reason) as caught:
        KeySource.parse(source).read()
    assert caught.value.reason == "STORAGE_KEY_UNAVAILABLE"
    assert "hush" not in caught.value.message


def test_a_command_that_hangs_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shared.storage_key.COMMAND_PATIENCE_S", 0.1)
    with pytest.raises(FailedPrecondition, match=r"longer than 0\.1 s"):
        KeySource.parse("command:sleep 60").read()


@pytest.mark.parametrize("text", ["", SECRET.hex(), "key.txt", "http://kms", "file:", "env: "])
def test_a_source_has_one_of_three_forms(text: str) -> None:
    with pytest.raises(ValueError, match="file:PATH, env:NAME or command:COMMAND") as caught:
        KeySource.parse(text)
    assert SECRET.hex() not in str(caught.value)


@pytest.mark.parametrize(
    ("header", "key", "reason"),
    [
        (KEY.salt, KEY, None),
        (OTHER.salt, KEY, "STORAGE_KEY_WRONG"),
        (KEY.salt, None, "STORAGE_KEY_MISSING"),
        (b"SQLite format 3\0", KEY, "STORAGE_NOT_ENCRYPTED"),
        (b"SQLite format 3\0", None, None),
        (b"", KEY, None),
        (b"", None, None),
        (b"something else..", KEY, None),
    ],
)
def test_the_key_is_that_of_the_file(
    header: bytes, key: StorageKey | None, reason: str | None
) -> None:
    if reason is None:
        check_key(header, key, name="a file")
        return
    with pytest.raises(FailedPrecondition, match="a file") as caught:
        check_key(header, key, name="a file")
    assert caught.value.reason == reason


def test_the_beginning_of_a_file_tells_keys_apart_and_nothing_else() -> None:
    assert len(KEY.salt) == 16
    assert KEY.salt != OTHER.salt
    assert KEY.salt == StorageKey(SECRET).salt
    assert not any(SECRET[start : start + 4] in KEY.salt for start in range(29))
