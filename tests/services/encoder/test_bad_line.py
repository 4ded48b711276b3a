"""A quarter of a minute of `tests.faults.line_faults`, and the line itself."""

import asyncio
import random
import time
from pathlib import Path

import pytest

from tests.faults.line import CUT, FAR, GOOD, NEAR, Line, Weather
from tests.faults.line_faults import run

pytestmark = [
    pytest.mark.asyncio,
    pytest.mark.timeout(300),
    pytest.mark.skipif(bool(Line.missing()), reason=Line.missing()),
]


async def test_over_a_bad_line_nothing_is_lost_doubled_or_late(
    tiny_models: Path, tmp_path: Path
) -> None:
    found = await run(tmp_path, tiny_models, seconds=15, seed=2)
    assert found.clean, found
    assert found.packets_lost > 0
    assert found.accepted > 0
    assert found.calls > 0


async def test_the_line_is_as_bad_as_it_says() -> None:
    ended = asyncio.Event()

    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(4096):
            writer.write(data)
        writer.close()
        await writer.wait_closed()
        ended.set()

    with Line(random.Random(1)) as line:  # noqa: S311
        async with await asyncio.start_server(echo, NEAR) as server:
            port = server.sockets[0].getsockname()[1]
            reader, writer = await asyncio.open_connection(FAR, port)

            async def answered_in_s(data: bytes) -> float:
                began = time.monotonic()
                writer.write(data)
                assert await reader.readexactly(len(data)) == data
                return time.monotonic() - began

            await answered_in_s(b"a")
            line.weather = Weather(delay_s=0.1)
            assert await answered_in_s(b"b") >= 2 * 0.1
            line.weather = Weather(bytes_per_s=10_000)
            assert await answered_in_s(bytes(2_000)) >= 2 * 2_000 / 10_000
            line.weather = CUT
            cut = asyncio.create_task(answered_in_s(b"c"))
            await asyncio.sleep(0.5)
            assert not cut.done()
            assert line.lost > 0
            line.weather = GOOD
            await asyncio.wait_for(cut, 30)
            writer.close()
            await asyncio.wait_for(ended.wait(), 30)
