"""The services on encrypted files: they serve as ever, and refuse a wrong key at start."""

import asyncio
from pathlib import Path

import pytest

from compactface.v1.compact_map_pb2 import CompactMap
from compactface.v1.recognizer_pb2 import IDENTIFY_DECISION_MATCH
from encoder_service.uplink.spool import Spool
from encoder_service.uplink.spool_file import FILE
from tests.ciphered import KEY, OTHER_KEY, decrypted, key_file
from tests.services.asking import enroll, identify
from tests.services.forwarding import forwarded
from tests.services.processes import ending, process

pytestmark = pytest.mark.asyncio(loop_scope="session")


def source(folder: Path, *, by: str) -> tuple[str, dict[str, str]]:
    """A source of the key, and the environment that it needs."""
    file = key_file(folder).removeprefix("file:")
    return {
        "file": (f"file:{file}", {}),
        "env": ("env:GALLERY_KEY", {"GALLERY_KEY": KEY.secret.hex()}),
        "command": (f"command:cat {file}", {}),
    }[by]


@pytest.mark.parametrize("by", ["file", "env", "command"])
async def test_a_recognizer_serves_an_encrypted_gallery(
    tiny_models: Path, tmp_path: Path, people: list[CompactMap], by: str
) -> None:
    """Under a key from each source; who was enrolled outlives a kill."""
    gallery = tmp_path / "gallery" / "gallery.sqlite"
    key, environment = source(tmp_path / "keys", by=by)
    settings = {
        "models": tiny_models,
        "gallery": gallery,
        "gallery_key": key,
        "environment": environment,
    }
    async with process("recognizer", tmp_path / "log.jsonl", **settings) as recognizer:
        await enroll(recognizer, "default", "ada-of-the-gate", people[0])
        await recognizer.kill()
    files = b"".join(file.read_bytes() for file in gallery.parent.iterdir())
    assert b"ada-of-the-gate" not in files
    assert people[0].png not in files
    assert people[0].png in await asyncio.to_thread(decrypted, gallery)
    async with process("recognizer", tmp_path / "log.jsonl", **settings) as recognizer:
        answer = await identify(recognizer, "default", people[0])
        assert answer.decision == IDENTIFY_DECISION_MATCH
        assert KEY.secret.hex() not in recognizer.log


@pytest.mark.parametrize(
    ("key", "reason", "exit_code"),
    [
        (OTHER_KEY, "STORAGE_KEY_WRONG", 1),
        (None, "STORAGE_KEY_MISSING", 1),
        ("file:/no/such/key", "STORAGE_KEY_UNAVAILABLE", 1),
        (KEY.secret.hex(), "file:PATH, env:NAME or command:COMMAND", 2),
    ],
)
async def test_a_recognizer_without_the_key_does_not_start(
    tiny_models: Path, tmp_path: Path, key: object, reason: str, exit_code: int
) -> None:
    gallery = tmp_path / "gallery" / "gallery.sqlite"
    given = key_file(tmp_path, OTHER_KEY) if key is OTHER_KEY else key or ""
    settings = {"models": tiny_models, "gallery": gallery}
    first = key_file(tmp_path, name="first")
    log = tmp_path / "log.jsonl"
    async with process("recognizer", log, gallery_key=first, **settings):
        pass
    before = gallery.read_bytes()
    code, text = await ending("recognizer", log, gallery_key=given, **settings)
    assert code == exit_code
    assert reason in text
    assert KEY.secret.hex() not in text
    assert gallery.read_bytes() == before


async def test_a_key_for_a_gallery_on_a_server_is_refused(
    tiny_models: Path, tmp_path: Path
) -> None:
    code, text = await ending(
        "recognizer",
        tmp_path / "log.jsonl",
        models=tiny_models,
        gallery="postgresql://localhost/people",
        gallery_key="env:KEY",
    )
    assert (code, "SQLite files only" in text) == (2, True)


async def test_without_the_extra_a_key_is_an_error_and_none_is_not(
    tiny_models: Path, tmp_path: Path
) -> None:
    settings = {
        "models": tiny_models,
        "gallery": tmp_path / "gallery.sqlite",
        "without": ("sqlcipher3", "sqlcipher3.dbapi2"),
    }
    log = tmp_path / "log.jsonl"
    code, text = await ending("recognizer", log, gallery_key=key_file(tmp_path), **settings)
    assert (code, "compactface[encryption]" in text) == (1, True)
    async with process("recognizer", log, **settings):
        pass


async def test_what_waits_in_an_encrypted_spool_outlives_the_encoder(
    tiny_models: Path, tmp_path: Path, free_port: int
) -> None:
    spool = tmp_path / "spool"
    settings = {
        "models": tiny_models,
        "uplink_target": f"127.0.0.1:{free_port}",
        "uplink_spool": spool,
        "uplink_spool_key": f"command:echo {KEY.secret.hex()}",
    }
    log = tmp_path / "log.jsonl"
    async with process("encoder", log, **settings) as encoder:
        ids = await forwarded(encoder, *range(3))
        await encoder.kill()
        assert KEY.secret.hex() not in encoder.log
    files = b"".join(file.read_bytes() for file in spool.iterdir())
    assert not any(id_.encode() in files for id_ in ids)
    before = (spool / FILE).read_bytes()
    wrong = {**settings, "uplink_spool_key": key_file(tmp_path, OTHER_KEY)}
    code, text = await ending("encoder", log, **wrong)
    assert (code, "STORAGE_KEY_WRONG" in text) == (1, True)
    assert (spool / FILE).read_bytes() == before
    opened = Spool(spool, key=KEY, durable=False, max_bytes=1 << 30, max_age_s=1e9)
    assert [item.id for item in opened.read(after=0, most=10)] == ids
    opened.close()
