"""One id in the logs of both services, for what one caller asked."""

import asyncio
from pathlib import Path
from typing import Any

import grpc
import pytest
import structlog
from structlog.testing import capture_logs

from compactface.client import EncoderClient, RecognizerClient, RequestFailed, request_id
from compactface.v1.compact_map_pb2 import CompactMap
from compactface.v1.encoder_pb2 import PICTURE_KIND_CROP, EncodeRequest
from compactface.v1.recognizer_pb2 import StreamMapsRequest
from recognizer_service.core.sightings import SightingDesk
from tests.services.conftest import clouds
from tests.services.hosting import Service, running_encoder, running_recognizer, until
from tests.tiny_model import write_tiny_model

pytestmark = pytest.mark.asyncio(loop_scope="session")

CROP = EncodeRequest(image=clouds(0), kind=PICTURE_KIND_CROP, forward=True)


def logged() -> Any:
    """Both services log into one list, here in one process."""
    return capture_logs(processors=[structlog.contextvars.merge_contextvars])


def calls(logs: list[Any], method: str) -> list[str]:
    return [
        line["request_id"]
        for line in logs
        if line["event"] == "call" and line["method"].endswith(f"/{method}")
    ]


async def test_both_services_log_the_id_that_the_caller_gave(
    encoder: Service, recognizer: Service
) -> None:
    def ask() -> None:
        with (
            EncoderClient(encoder.address) as eyes,
            RecognizerClient(recognizer.address) as brain,
            request_id("door-7/42"),
        ):
            eyes.info()
            brain.info()
            list(brain.stream_maps([]))

    with logged() as logs:
        await asyncio.to_thread(ask)
        await until(lambda: calls(logs, "StreamMaps") == ["door-7/42"])
    assert calls(logs, "GetEncoderInfo") == calls(logs, "GetRecognizerInfo") == ["door-7/42"]


async def test_each_call_has_an_id_of_its_own_which_a_failure_tells(recognizer: Service) -> None:
    def ask() -> list[str]:
        ids = []
        with RecognizerClient(recognizer.address) as brain:
            for _ in range(2):
                with pytest.raises(RequestFailed) as caught:
                    brain.subjects.get("nobody")
                ids.append(caught.value.request_id)
        return ids

    with logged() as logs:
        ids = await asyncio.to_thread(ask)
        await until(lambda: calls(logs, "GetSubject") == ids)
    assert len(set(ids)) == 2


@pytest.mark.parametrize("bad", ["", "with space", "x" * 129, "é"])
async def test_an_id_that_the_services_would_replace_is_refused(bad: str) -> None:
    with pytest.raises(ValueError, match="1 to 128"), request_id(bad):
        pass


async def test_a_map_is_logged_under_the_id_of_the_call_that_it_was_made_in(
    tiny_models: Path, tmp_path: Path
) -> None:
    """Through the uplink, whose stream is older than the call; the recognizer lacks the codec."""
    others = tmp_path / "models"
    write_tiny_model(others, tmp_path / "scratch", seed=1)
    async with (
        running_recognizer(others, tmp_path / "gallery.sqlite") as recognizer,
        running_encoder(tiny_models, uplink_target=recognizer.address) as encoder,
    ):
        with logged() as logs:
            for refused, id_ in enumerate(("gate-7/1", "gate-7/2"), start=1):
                await encoder.encoder.Encode(CROP, metadata=(("x-request-id", id_),))
                await until(lambda: encoder.sample("compactface_uplink_aside") == refused)  # noqa: B023
    refusals = [line for line in logs if line["event"] == "map_refused"]
    assert [line["request_id"] for line in refusals] == ["gate-7/1", "gate-7/2"]
    assert refusals[0]["reason"] == "UNKNOWN_CODEC"


async def test_a_map_that_meets_a_bug_fails_alone_and_is_logged_under_its_id(
    recognizer: Service, people: list[CompactMap], monkeypatch: pytest.MonkeyPatch
) -> None:
    accept = SightingDesk.accept

    async def fail(self: SightingDesk, *arguments: Any) -> Any:
        if any(id_ == "poison" for id_, *_ in arguments[1]):
            raise ArithmeticError("a bug")
        return await accept(self, *arguments)

    monkeypatch.setattr(SightingDesk, "accept", fail)
    good = "7a5ef5f4-6a3a-4a0b-9a0d-0c6f1b7d3c11"
    requests = [
        StreamMapsRequest(sighting_id=name, map=people[0], request_id=id_)
        for name, id_ in (("poison", "gate-7/42"), ("poison", "not an id"), (good, ""))
    ]
    with logged() as logs:
        answers = [each async for each in recognizer.recognizer.StreamMaps(iter(requests))]
    internal = grpc.StatusCode.INTERNAL.value[0]
    assert [answer.error.code for answer in answers] == [internal, internal, 0]
    assert RequestFailed.from_status(answers[0].error).reason == "INTERNAL"
    failed = [line["request_id"] for line in logs if line["event"] == "map_failed"]
    (stream,) = calls(logs, "StreamMaps")
    assert failed == ["gate-7/42", stream]
