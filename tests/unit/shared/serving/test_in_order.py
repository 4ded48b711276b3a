import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing

import pytest

from shared.serving.in_order import map_in_order


async def count_to(number: int) -> AsyncIterator[int]:
    for item in range(number):
        yield item


async def double(item: int) -> int:
    return 2 * item


async def test_results_come_in_the_order_of_the_input_whoever_is_done_first() -> None:
    finished = []

    async def later_is_quicker(item: int) -> int:
        await asyncio.sleep(0.05 - item / 100)
        finished.append(item)
        return item

    results = [item async for item in map_in_order(later_is_quicker, count_to(5), limit=5)]
    assert results == [0, 1, 2, 3, 4]
    assert finished == [4, 3, 2, 1, 0]


async def test_no_more_is_read_than_the_limit_until_results_are_taken() -> None:
    begun = []

    async def work(item: int) -> int:
        begun.append(item)
        return item

    async with aclosing(map_in_order(work, count_to(10), limit=3)) as results:
        assert await anext(results) == 0
        await asyncio.sleep(0.02)
        assert begun == [0, 1, 2]
        assert await anext(results) == 1
        await asyncio.sleep(0.02)
        assert begun == [0, 1, 2, 3]


async def test_what_ends_the_input_is_raised_after_the_results_before_it() -> None:
    async def broken() -> AsyncIterator[int]:
        yield 1
        yield 2
        raise ConnectionError

    results = map_in_order(double, broken(), limit=8)
    assert [await anext(results), await anext(results)] == [2, 4]
    with pytest.raises(ConnectionError):
        await anext(results)


async def test_an_error_of_the_work_ends_it_all_and_cancels_the_rest() -> None:
    cancelled = []

    async def work(item: int) -> None:
        try:
            await asyncio.sleep(60 * item)
        except asyncio.CancelledError:
            cancelled.append(item)
        raise LookupError

    with pytest.raises(LookupError):
        await anext(map_in_order(work, count_to(3), limit=3))
    await asyncio.sleep(0.02)
    assert cancelled == [1, 2]


async def test_closing_cancels_what_is_in_work_and_reads_no_more() -> None:
    read = []
    cancelled = []

    async def endless() -> AsyncIterator[int]:
        for item in range(1000):
            read.append(item)
            yield item
            await asyncio.sleep(0)

    async def work(item: int) -> int:
        if item == 0:
            return item
        try:
            await asyncio.sleep(60)
        finally:
            cancelled.append(item)
        return item

    async with aclosing(map_in_order(work, endless(), limit=3)) as results:
        assert await anext(results) == 0
        await asyncio.sleep(0.02)
    await asyncio.sleep(0.02)
    assert cancelled == [1, 2]
    assert read == [0, 1, 2]


async def test_an_empty_input_has_no_results() -> None:
    assert [item async for item in map_in_order(double, count_to(0), limit=1)] == []
