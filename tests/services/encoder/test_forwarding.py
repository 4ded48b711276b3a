"""Faces that an encoder forwards are sightings of a recognizer, whatever happens between them."""

import asyncio
import sqlite3
from contextlib import AbstractAsyncContextManager, closing
from functools import partial
from pathlib import Path
from typing import Any

import grpc
import pytest
from structlog.testing import capture_logs

from compactface.client import RequestFailed
from compactface.v1.encoder_pb2 import (
    FORWARD_OUTCOME_DISCARDED,
    FORWARD_OUTCOME_SPOOLED,
    PICTURE_KIND_CROP,
    EncodeRequest,
    EncodeStreamRequest,
    GetEncoderInfoRequest,
)
from compactface.v1.gallery_pb2 import Collection, CreateCollectionRequest, DeleteCollectionRequest
from compactface.v1.recognizer_pb2 import IDENTIFY_DECISION_EMPTY_GALLERY
from encoder_service.uplink import uplink
from encoder_service.uplink.exchange import Pauses
from shared.errors import FailedPrecondition
from shared.serving.settings_loader import SettingsError
from tests.services.asking import CAMERAS, identify, keep_for
from tests.services.authority import Authority
from tests.services.conftest import clouds
from tests.services.forwarding import crop, forwarded
from tests.services.hosting import (
    Service,
    failure,
    fields_of,
    running_encoder,
    running_recognizer,
    until,
)

pytestmark = pytest.mark.asyncio(loop_scope="session")


def recognizer_for_cameras(
    models: Path, gallery: Path, **settings: object
) -> AbstractAsyncContextManager[Service]:
    """A recognizer that takes streamed maps into the collection `CAMERAS`."""
    return running_recognizer(models, gallery, stream_collection=CAMERAS, **settings)


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
        async with recognizer():
            ids = await forwarded(encoder, 0)
            await until(lambda: encoder.sample("compactface_uplink_depth") == 0)
        ids += await forwarded(encoder, 1, 2)
        info = await encoder.encoder.GetEncoderInfo(GetEncoderInfoRequest())
        assert (info.uplink_enabled, info.uplink_depth) == (True, 2)
        async with recognizer() as restarted:
            ids += await forwarded(encoder, 3)
            await until(lambda: encoder.sample("compactface_uplink_depth") == 0)
            await assert_stored(restarted, ids)


async def test_a_stop_of_the_encoder_flushes_the_uplink(tiny_models: Path, tmp_path: Path) -> None:
    async with recognizer_for_cameras(tiny_models, tmp_path / "gallery.sqlite") as recognizer:
        async with running_encoder(tiny_models, uplink_target=recognizer.address) as encoder:
            ids = await forwarded(encoder, *range(4))
        await assert_stored(recognizer, ids)


async def test_the_uplink_speaks_mutual_tls_and_the_certificate_names_the_encoder(
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
        ids = await forwarded(encoder, 0)
        ids += await forwarded(encoder, 1, camera="door")
        await until(lambda: encoder.sample("compactface_uplink_depth") == 0)
    with closing(sqlite3.connect(gallery)) as database:
        rows = database.execute("SELECT id, camera_id FROM sightings ORDER BY key").fetchall()
    assert rows == list(zip(ids, ["gate-7", "gate-7/door"], strict=True))


async def test_a_camera_whose_name_is_none_is_refused(encoder: Service) -> None:
    request = EncodeRequest(image=clouds(0), kind=PICTURE_KIND_CROP, camera="gate/7")
    error = await failure(encoder.encoder.Encode(request))
    assert (error.reason, fields_of(error)) == ("INVALID_CAMERA", ["camera"])


async def test_an_encoder_says_when_the_recognizer_keeps_no_sightings(
    tiny_models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(uplink, "Pauses", partial(Pauses, tidy_s=0.05))
    async with recognizer_for_cameras(tiny_models, tmp_path / "gallery.sqlite") as recognizer:
        await keep_for(recognizer, 0)
        with capture_logs() as logs:
            async with running_encoder(tiny_models, uplink_target=recognizer.address) as encoder:
                await until(lambda: encoder.sample("compactface_uplink_discards") == 1)
                (face,) = (await encoder.encoder.Encode(crop(0))).faces
                assert face.forward_outcome == FORWARD_OUTCOME_DISCARDED
                info = await encoder.encoder.GetEncoderInfo(GetEncoderInfoRequest())
                assert (info.uplink_discards, info.uplink_depth) == (True, 0)
                assert encoder.sample("compactface_uplink_discarded_total") == 1
                assert encoder.sample("compactface_uplink_acknowledged_total") == 0
                await keep_for(recognizer, 3600)
                await until(lambda: encoder.sample("compactface_uplink_discards") == 0)
                (face,) = (await encoder.encoder.Encode(crop(1))).faces
                assert face.forward_outcome == FORWARD_OUTCOME_SPOOLED
                await until(lambda: encoder.sample("compactface_uplink_acknowledged_total") == 1)
        assert len([line for line in logs if line["event"] == "uplink_discards"]) == 1


async def test_an_encoder_starts_on_a_damaged_spool_and_says_so(
    tiny_models: Path, tmp_path: Path, free_port: int
) -> None:
    (tmp_path / "spool.sqlite").write_bytes(b"not a database " * 1000)
    async with running_encoder(
        tiny_models,
        uplink_target=f"127.0.0.1:{free_port}",
        uplink_spool=tmp_path,
        uplink_flush_seconds=0,
    ) as encoder:
        assert encoder.sample("compactface_uplink_spools_damaged") == 1
        await forwarded(encoder, 0)
        info = await encoder.encoder.GetEncoderInfo(GetEncoderInfoRequest())
        assert info.uplink_depth == 1
        assert info.uplink_oldest_age.ToMicroseconds() > 0


async def test_a_full_disk_refuses_the_picture_and_says_when_to_come_back(
    tiny_models: Path, free_port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    files: list[sqlite3.Connection] = []
    connect = sqlite3.connect

    def connecting(*args: Any, **options: Any) -> sqlite3.Connection:
        files.append(connect(*args, **options))
        return files[-1]

    monkeypatch.setattr(sqlite3, "connect", connecting)
    async with running_encoder(
        tiny_models, uplink_target=f"127.0.0.1:{free_port}", uplink_flush_seconds=0
    ) as encoder:
        (spool,) = files
        spool.execute("PRAGMA max_page_count = 1")  # as many as there are
        with pytest.raises(grpc.aio.AioRpcError, match="RESOURCE_EXHAUSTED"):
            [await forwarded(encoder, 0) for _ in range(100)]
        waiting = encoder.sample("compactface_uplink_depth")
        error = await failure(encoder.encoder.Encode(crop(0)))
        assert (error.code, error.reason) == ("RESOURCE_EXHAUSTED", "UPLINK_FULL")
        assert error.retry_after_s is not None
        assert error.retry_after_s > 0
        requests = [EncodeStreamRequest(request=crop(1))]
        answers = [each async for each in encoder.encoder.EncodeStream(iter(requests))]
        assert RequestFailed.from_status(answers[0].error).reason == "UPLINK_FULL"
        unforwarded = EncodeRequest(image=clouds(2), kind=PICTURE_KIND_CROP)
        assert len((await encoder.encoder.Encode(unforwarded)).faces) == 1
        assert encoder.sample("compactface_uplink_depth") == waiting
        spool.execute("PRAGMA max_page_count = 1073741823")
        await forwarded(encoder, 3)
        assert encoder.sample("compactface_uplink_depth") == waiting + 1


async def test_without_an_uplink_there_is_no_spool(tiny_models: Path, tmp_path: Path) -> None:
    async with running_encoder(tiny_models, uplink_spool=tmp_path / "spool"):
        assert not await asyncio.to_thread((tmp_path / "spool").exists)


async def test_maps_wait_where_the_collection_is_deleted_until_it_is_back(
    tiny_models: Path, tmp_path: Path
) -> None:
    async with (
        recognizer_for_cameras(tiny_models, tmp_path / "gallery.sqlite") as recognizer,
        running_encoder(tiny_models, uplink_target=recognizer.address) as encoder,
    ):
        await recognizer.gallery.DeleteCollection(DeleteCollectionRequest(collection=CAMERAS))
        ids = await forwarded(encoder, 0)
        await until(lambda: encoder.sample("compactface_uplink_breaks_total") > 0)
        assert encoder.sample("compactface_uplink_depth") == 1
        created = Collection(collection_id=CAMERAS)
        await recognizer.gallery.CreateCollection(CreateCollectionRequest(collection=created))
        await until(lambda: encoder.sample("compactface_uplink_depth") == 0)
        await assert_stored(recognizer, ids)


async def test_a_misspelt_stream_collection_refuses_to_start(
    tiny_models: Path, tmp_path: Path
) -> None:
    gallery = tmp_path / "gallery.sqlite"
    async with recognizer_for_cameras(tiny_models, gallery):
        pass
    with pytest.raises(FailedPrecondition, match=r"'camera'.*it has cameras, default") as caught:
        async with running_recognizer(tiny_models, gallery, stream_collection="camera"):
            pass
    assert caught.value.reason == "STREAM_COLLECTION_MISSING"
    with pytest.raises(SettingsError, match="stream_collection"):
        async with running_recognizer(
            tiny_models, tmp_path / "new.sqlite", stream_collection="Front Door"
        ):
            pass
