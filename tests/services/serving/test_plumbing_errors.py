import asyncio

import grpc
import pytest
from google.rpc import error_details_pb2, status_pb2
from grpc_status import rpc_status

from shared.errors import InvalidInput, NotFound
from shared.serving.error_interceptor import to_status
from tests.services.serving.plumbing_host import running, until
from tests.services.serving.plumbing_service import NAME, call

METHODS = ["Unary", "ServerStream", "ClientStream", "BidiStream"]


async def refusal(channel: grpc.aio.Channel, method: str, request: bytes) -> grpc.aio.AioRpcError:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call(channel, method, request)
    return caught.value


def detail(status: status_pb2.Status, kind: type) -> object | None:
    for packed in status.details:
        message = kind()
        if packed.Unpack(message):
            return message
    return None


def sent_status(error: grpc.aio.AioRpcError) -> status_pb2.Status:
    metadata = dict(error.trailing_metadata())
    return status_pb2.Status.FromString(metadata[rpc_status.GRPC_DETAILS_METADATA_KEY])


@pytest.mark.parametrize("method", METHODS)
async def test_a_handler_that_succeeds_answers_unchanged(method: str) -> None:
    async with running() as service:
        assert (await call(service.channel, method, b"hello")).endswith(b"hello")


@pytest.mark.parametrize("method", METHODS)
async def test_an_invalid_input_names_reason_field_and_limit(method: str) -> None:
    async with running() as service:
        error = await refusal(service.channel, method, b"invalid")
    status = sent_status(error)
    assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert error.details() == status.message == "image is 9 bytes; at most 4 are accepted"
    assert detail(status, error_details_pb2.ErrorInfo) == error_details_pb2.ErrorInfo(
        reason="IMAGE_TOO_LARGE", domain="compactface", metadata={"limit": "4"}
    )
    violations = detail(status, error_details_pb2.BadRequest).field_violations
    assert [(each.field, each.description) for each in violations] == [("image", status.message)]
    assert detail(status, error_details_pb2.RetryInfo) is None


@pytest.mark.parametrize("method", METHODS)
async def test_overload_says_when_to_try_again(method: str) -> None:
    async with running() as service:
        error = await refusal(service.channel, method, b"overloaded")
    retry = detail(sent_status(error), error_details_pb2.RetryInfo)
    assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert retry.retry_delay.ToMilliseconds() == 1500


async def test_only_invalid_arguments_carry_a_bad_request() -> None:
    async with running() as service:
        error = await refusal(service.channel, "Unary", b"missing")
    assert error.code() is grpc.StatusCode.NOT_FOUND
    assert detail(sent_status(error), error_details_pb2.BadRequest) is None


@pytest.mark.parametrize("method", METHODS)
async def test_a_bug_leaks_nothing_and_the_service_lives_on(method: str) -> None:
    async with running() as service:
        error = await refusal(service.channel, method, b"bug")
        assert await call(service.channel, "Unary", b"hello") == b"hello"
    assert error.code() is grpc.StatusCode.INTERNAL
    assert error.details() == "internal error"
    assert b"unexpected" not in sent_status(error).SerializeToString()


@pytest.mark.parametrize("method", METHODS)
async def test_an_abort_of_the_handler_passes_through(method: str) -> None:
    async with running() as service:
        error = await refusal(service.channel, method, b"abort")
    assert error.code() is grpc.StatusCode.DATA_LOSS
    assert error.details() == "aborted by the handler"


@pytest.mark.parametrize("method", METHODS)
async def test_a_client_that_leaves_cancels_the_handler(method: str) -> None:
    async with running() as service:
        waiting = asyncio.create_task(call(service.channel, method, b"wait"))
        await until(lambda: service.plumbing.running == 1)
        waiting.cancel()
        await until(lambda: service.plumbing.running == 0)


async def test_bytes_that_are_no_message_are_an_invalid_argument() -> None:
    reflection = "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo"
    async with running(reflection=True) as service:
        unary = service.channel.unary_unary("/grpc.health.v1.Health/Check")(b"\xff\xff")
        stream = service.channel.stream_stream(reflection)(iter([b"\xff\xff"]))
        for call in (unary, stream):
            assert await call.code() is grpc.StatusCode.INVALID_ARGUMENT
            info = detail(await rpc_status.aio.from_call(call), error_details_pb2.ErrorInfo)
            assert info.reason == "MALFORMED_REQUEST"


async def test_an_unknown_method_is_unimplemented() -> None:
    async with running() as service:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await service.channel.unary_unary(f"/{NAME}/Nonsense")(b"")
    assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED


async def test_the_handler_learns_how_long_the_client_waits() -> None:
    async with running() as service:
        remaining = float(await call(service.channel, "Unary", b"remaining", timeout=30))
        assert 25 < remaining < 31  # gRPC rounds deadlines up a little
        assert await call(service.channel, "Unary", b"remaining") == b"None"


def test_the_status_of_one_item_is_what_a_whole_call_would_carry() -> None:
    status = to_status(InvalidInput("NAN", "threshold is NaN").in_field("items[3].threshold"))
    assert status.code == grpc.StatusCode.INVALID_ARGUMENT.value[0]
    violations = detail(status, error_details_pb2.BadRequest).field_violations
    assert violations[0].field == "items[3].threshold"
    assert to_status(NotFound("NO_SUCH_FACE", "no face 7")).message == "no face 7"
