import grpc
import pytest

from tests.services.serving.plumbing_host import Running, running
from tests.services.serving.plumbing_service import NAME


async def returned_id(service: Running, *metadata: tuple[str, str], request: bytes = b"x") -> str:
    call = service.channel.unary_unary(f"/{NAME}/Unary")(request, metadata=metadata)
    return dict(await call.trailing_metadata())["x-request-id"]


async def test_the_callers_id_is_bound_and_returned() -> None:
    async with running() as service:
        call = service.channel.unary_unary(f"/{NAME}/Unary")(
            b"request_id", metadata=(("x-request-id", "camera-7/42"),)
        )
        assert await call == b"camera-7/42"
        assert dict(await call.trailing_metadata())["x-request-id"] == "camera-7/42"


async def test_without_an_id_each_call_gets_its_own() -> None:
    async with running() as service:
        first, second = await returned_id(service), await returned_id(service)
    assert len(first) == len(second) == 32
    assert first != second


@pytest.mark.parametrize("bad", ["x" * 129, "with space", " "])
async def test_an_id_that_breaks_the_limits_is_replaced(bad: str) -> None:
    async with running() as service:
        assert len(await returned_id(service, ("x-request-id", bad))) == 32


async def test_the_longest_legal_id_is_kept() -> None:
    async with running() as service:
        assert await returned_id(service, ("x-request-id", "x" * 128)) == "x" * 128


async def test_errors_carry_the_id_too() -> None:
    async with running() as service:
        call = service.channel.unary_unary(f"/{NAME}/Unary")(
            b"invalid", metadata=(("x-request-id", "r1"),)
        )
        assert await call.code() is grpc.StatusCode.INVALID_ARGUMENT
        assert dict(await call.trailing_metadata())["x-request-id"] == "r1"
