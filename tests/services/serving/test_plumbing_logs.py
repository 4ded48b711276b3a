import io
import json
import logging
import threading
from collections.abc import Iterator

import grpc
import pytest
import structlog

from shared.serving.logs import configure_logging
from tests.services.serving.plumbing_host import running
from tests.services.serving.plumbing_service import call


@pytest.fixture
def stream() -> Iterator[io.StringIO]:
    """Where the log goes during a test; both libraries are as before afterwards."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    hook = threading.excepthook
    yield io.StringIO()
    threading.excepthook = hook
    root.handlers[:], root.level = handlers, level
    logging.captureWarnings(capture=False)
    structlog.reset_defaults()
    structlog.contextvars.clear_contextvars()


def lines(stream: io.StringIO) -> list[dict[str, object]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_both_libraries_write_the_same_json(stream: io.StringIO) -> None:
    configure_logging(stream=stream)
    structlog.contextvars.bind_contextvars(request_id="r1")
    structlog.get_logger("ours").info("hello", size_bytes=7)
    logging.getLogger("theirs").warning("hello %s", "you")
    ours, theirs = lines(stream)
    assert (ours["event"], ours["level"], ours["logger"]) == ("hello", "info", "ours")
    assert ours["size_bytes"] == 7
    assert (theirs["event"], theirs["level"], theirs["logger"]) == (
        "hello you",
        "warning",
        "theirs",
    )
    assert ours["request_id"] == theirs["request_id"] == "r1"
    assert str(ours["timestamp"]).endswith("Z")
    assert str(theirs["timestamp"]).endswith("Z")


def test_the_level_holds_for_both_libraries(stream: io.StringIO) -> None:
    configure_logging(stream=stream, log_level="warning")
    structlog.get_logger("ours").info("no")
    logging.getLogger("theirs").info("no")
    structlog.get_logger("ours").warning("yes")
    assert [line["event"] for line in lines(stream)] == ["yes"]


@pytest.mark.parametrize("log_format", ["json", "console"])
async def test_a_bug_is_logged_with_traceback_but_no_local_variables(
    stream: io.StringIO, log_format: str
) -> None:
    configure_logging(stream=stream, log_format=log_format)
    async with running() as service:
        with pytest.raises(grpc.aio.AioRpcError):
            await call(service.channel, "Unary", b"bug")
    text = stream.getvalue()
    assert "RuntimeError: unexpected 7" in text
    assert "Traceback" in text
    variable = "Mallory"
    assert text.count(variable) == 0


async def test_a_malformed_request_is_no_bug_and_leaves_no_traceback(stream: io.StringIO) -> None:
    configure_logging(stream=stream)
    async with running() as service:
        with pytest.raises(grpc.aio.AioRpcError):
            await service.channel.unary_unary("/grpc.health.v1.Health/Check")(b"\xff\xff")
    assert "Traceback" not in stream.getvalue()


async def test_each_finished_call_is_one_line_without_its_payload(stream: io.StringIO) -> None:
    configure_logging(stream=stream)
    async with running() as service:
        metadata = (("x-request-id", "abc-1"),)
        await call(service.channel, "BidiStream", b"payload", metadata=metadata)
        with pytest.raises(grpc.aio.AioRpcError):
            await call(service.channel, "Unary", b"invalid", metadata=metadata)
        await service.channel.unary_unary("/grpc.health.v1.Health/Check")(b"")
    first, second = [line for line in lines(stream) if line["event"] == "call"]
    assert (first["method"], first["code"]) == ("plumbing.Plumbing/BidiStream", "OK")
    assert (second["method"], second["code"]) == ("plumbing.Plumbing/Unary", "INVALID_ARGUMENT")
    assert first["request_id"] == second["request_id"] == "abc-1"
    assert first["duration_ms"] >= 0
    assert "payload" not in stream.getvalue()


def test_a_thread_that_dies_is_logged(stream: io.StringIO) -> None:
    configure_logging(stream=stream)
    thread = threading.Thread(target=lambda: 1 // 0, name="worker")
    thread.start()
    thread.join()
    (line,) = lines(stream)
    assert (line["event"], line["level"]) == ("thread worker failed", "error")
    assert "ZeroDivisionError" in str(line["exception"])
