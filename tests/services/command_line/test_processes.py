import asyncio
import signal
import urllib.request
from pathlib import Path
from typing import Any

import grpc
import pytest
import torch
from grpc_health.v1 import health_pb2, health_pb2_grpc

from compactface.v1.compact_map_pb2 import CompactMap
from compactface.v1.encoder_pb2 import EncodeRequest, EncodeStreamRequest
from compactface.v1.gallery_pb2 import EnrollResponse
from compactface.v1.recognizer_pb2 import IDENTIFY_DECISION_MATCH, StreamMapsRequest
from recognizer_service.gallery.storage.locations import Milvus
from tests.postgres import PostgresServer
from tests.services.asking import CAMERAS, enroll, identify
from tests.services.forwarding import forwarded
from tests.services.hosting import Service, running_encoder, until
from tests.services.processes import Process, ending, process

pytestmark = pytest.mark.asyncio(loop_scope="session")

SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "log.jsonl"


async def metrics_of(service: Process) -> str:
    def read() -> str:
        with urllib.request.urlopen(f"http://{service.metrics_address}/metrics") as answer:
            return answer.read().decode()

    return await asyncio.to_thread(read)


async def stop_with_sigterm(service: Process, stream: grpc.aio.StreamStreamCall) -> None:
    """Stop a process that has a stream open; health must say so, and the exit code be 0."""
    health = health_pb2_grpc.HealthStub(service.channel)
    watch = health.Watch(health_pb2.HealthCheckRequest())
    assert (await watch.read()).status == SERVING
    service.child.send_signal(signal.SIGTERM)
    assert (await watch.read()).status == NOT_SERVING
    with pytest.raises(grpc.aio.AioRpcError, match="UNAVAILABLE"):
        await stream.read()
    async with asyncio.timeout(20):
        assert await service.child.wait() == 0
    assert len(service.events("drained")) == 1


async def test_the_encoder_process_counts_its_calls_and_drains_on_sigterm(
    tiny_models: Path, log: Path, photos: dict[str, bytes]
) -> None:
    async with process("encoder", log, models=tiny_models, drain_seconds=60) as encoder:
        request = EncodeRequest(image=photos["eileen_collins_portrait"])
        assert len((await encoder.encoder.Encode(request)).faces) == 1
        stream = encoder.encoder.EncodeStream()
        await stream.write(EncodeStreamRequest(request=request))
        await stream.read()
        metrics = await metrics_of(encoder)
        assert 'grpc_server_handled_total{grpc_code="OK",grpc_method="Encode"' in metrics
        assert "compactface_faces_encoded_total 2.0" in metrics
        assert 'compactface_model_info{codec_id="' in metrics
        assert "process_resident_memory_bytes" in metrics
        await stop_with_sigterm(encoder, stream)


async def test_the_recognizer_process_counts_its_calls_and_drains_on_sigterm(
    tiny_models: Path, tmp_path: Path, log: Path, people: list[CompactMap]
) -> None:
    settings = {"models": tiny_models, "gallery": tmp_path / "gallery.sqlite"}
    async with process("recognizer", log, drain_seconds=60, **settings) as recognizer:
        await enroll(recognizer, "", "lovelace", people[0])
        await identify(recognizer, "", people[0])
        stream = recognizer.recognizer.StreamMaps()
        await stream.write(StreamMapsRequest(sighting_id="x", map=people[0]))
        await stream.read()
        metrics = await metrics_of(recognizer)
        assert 'grpc_server_handled_total{grpc_code="OK",grpc_method="Identify"' in metrics
        assert "compactface_gallery_faces 1.0" in metrics
        assert 'compactface_decisions_total{decision="match",question="identify"} 1.0' in metrics
        assert "compactface_batch_size_sum 2.0" in metrics
        assert "compactface_clock_doubted 0.0" in metrics
        await stop_with_sigterm(recognizer, stream)
        assert "lovelace" not in recognizer.log


async def test_kill_9_takes_back_no_acknowledged_enrolment(
    tiny_models: Path, tmp_path: Path, log: Path, people: list[CompactMap]
) -> None:
    settings = {"models": tiny_models, "gallery": tmp_path / "gallery.sqlite"}
    acknowledged: dict[str, CompactMap] = {}
    for life in range(3):
        async with process("recognizer", log, **settings) as recognizer:
            await assert_enrolled(recognizer, acknowledged)
            mine = {f"{life}-{n}": people[5 * life + n] for n in range(5)}
            calls = [
                asyncio.create_task(enroll(recognizer, "", name, face))
                for name, face in mine.items()
            ]
            await asyncio.wait(calls, return_when=asyncio.FIRST_COMPLETED)
            await recognizer.kill()
            ends = await asyncio.gather(*calls, return_exceptions=True)
        acknowledged |= {
            name: face
            for (name, face), end in zip(mine.items(), ends, strict=True)
            if isinstance(end, EnrollResponse)
        }
        assert len(acknowledged) > life
    async with process("recognizer", log, **settings) as recognizer:
        await assert_enrolled(recognizer, acknowledged)


async def assert_enrolled(recognizer: Process, expected: dict[str, CompactMap]) -> None:
    for subject_id, face in expected.items():
        answer = await identify(recognizer, "", face)
        assert answer.decision == IDENTIFY_DECISION_MATCH
        assert answer.candidates[0].subject_id == subject_id


async def test_two_recognizers_share_a_gallery(
    tiny_models: Path,
    tmp_path: Path,
    people: list[CompactMap],
    postgres: PostgresServer,
    milvus: Milvus,
) -> None:
    servers = postgres.create_database("two_recognizers")
    settings = {
        "models": tiny_models,
        "gallery": servers.url.get_secret_value(),
        "milvus": milvus.uri,
    }
    async with (
        process("recognizer", tmp_path / "one.jsonl", **settings) as one,
        process("recognizer", tmp_path / "other.jsonl", **settings) as other,
    ):
        await enroll(one, "", "ada", people[0])
        await assert_enrolled(other, {"ada": people[0]})
        await one.kill()
        await enroll(other, "", "bob", people[1])
        await assert_enrolled(other, {"ada": people[0], "bob": people[1]})


async def test_no_forwarded_map_is_lost_when_the_recognizer_is_killed(
    tiny_models: Path, tmp_path: Path, log: Path, free_port: int
) -> None:
    settings = {
        "models": tiny_models,
        "gallery": tmp_path / "gallery.sqlite",
        "stream_collection": CAMERAS,
        "port": free_port,
    }
    target = f"127.0.0.1:{free_port}"
    async with running_encoder(tiny_models, uplink_target=target) as encoder:
        async with process("recognizer", log, **settings) as recognizer:
            ids = await forwarded(encoder, 0)
            await until(lambda: encoder.sample("compactface_uplink_depth") == 0)
            ids += await forwarded(encoder, *range(1, 5))
            await recognizer.kill()
        ids += await forwarded(encoder, *range(5, 8))
        async with process("recognizer", log, **settings) as recognizer:
            await until(lambda: encoder.sample("compactface_uplink_depth") == 0)
            for sighting_id in ids:  # one that is not there would be NOT_FOUND
                await identify(recognizer, CAMERAS, sighting_id)
    assert encoder.sample("compactface_uplink_acknowledged_total") == 8


async def test_a_second_recognizer_cannot_open_the_gallery(
    tiny_models: Path, log: Path, recognizer: Service, gallery_of_all: Path
) -> None:
    assert recognizer.host.port
    exit_code, said = await ending("recognizer", log, models=tiny_models, gallery=gallery_of_all)
    assert exit_code == 1
    assert "GALLERY_IN_USE" in said
    assert "Traceback" not in said


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"models": "/no/such/folder"}, (1, "MODEL_MISSING")),
        ({"operating_point": "huge"}, (1, "UNKNOWN_OPERATING_POINT")),
        ({"threads": 0}, (2, "COMPACTFACE_ENCODER_THREADS is '0'")),
    ],
)
async def test_a_process_that_cannot_start_says_why_without_a_traceback(
    tiny_models: Path, log: Path, settings: dict[str, Any], expected: tuple[int, str]
) -> None:
    exit_code, said = await ending("encoder", log, **{"models": tiny_models, **settings})
    assert exit_code == expected[0]
    assert expected[1] in said
    assert "Traceback" not in said


async def test_the_encoder_runs_where_torch_and_the_recognizers_packages_are_missing(
    tiny_models: Path, log: Path, photos: dict[str, bytes]
) -> None:
    async with process(
        "encoder", log, models=tiny_models, without=("torch", "faiss", "sqlalchemy")
    ) as encoder:
        request = EncodeRequest(image=photos["eileen_collins_portrait"])
        assert len((await encoder.encoder.Encode(request)).faces) == 1


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")
async def test_a_recognizer_without_the_gpu_it_is_to_use_says_so(
    log: Path, tiny_models: Path, tmp_path: Path
) -> None:
    settings = {"models": tiny_models, "gallery": tmp_path / "gallery.sqlite", "device": "cuda"}
    exit_code, words = await ending("recognizer", log, **settings)
    assert exit_code == 1
    assert words.startswith("DEVICE_MISSING: device is 'cuda'")
    assert len(words.splitlines()) == 1
