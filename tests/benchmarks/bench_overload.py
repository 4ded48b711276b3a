"""Goodput under overload: what is answered within two seconds, at twice and four times capacity.

    python -m tests.benchmarks.bench_overload --seconds 5

Both services run as processes of their own. For each kind of call capacity is measured by callers
who wait for each other; then calls come at a fixed rate, whatever becomes of those before, each
with a deadline. Goodput is what was answered in time, as a share of capacity. That is the mean of a
measurement before and one after, since a busy machine is not always equally fast. At last one
client floods the encoder at four times capacity, and another asks for 40 % of it: the share of
*its* calls that are answered in time.

Clients and services share the cores that this process may use, and the clients' work counts, too.
"""

import asyncio
import itertools
import json
import os
import tempfile
import time
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Annotated, Any

import grpc
import typer
from rich.console import Console
from rich.table import Table

from compactface.v1 import encoder_pb2, encoder_pb2_grpc, gallery_pb2, recognizer_pb2
from compactface.v1.compact_map_pb2 import CompactMap
from tests.services.processes import Process, process

PHOTOS = sorted((Path(__file__).parents[1] / "data").glob("*.jpg"))
DEADLINE_S = 2.0
WARM_UP_S = 1.0
CALLERS = 8
FRAMES = 2

Call = Callable[[float | None], Awaitable[float]]
"""One call with a deadline in seconds; gives the share of it that was answered."""


@dataclass(frozen=True, slots=True)
class Row:
    """What became of one kind of call."""

    what: str
    capacity: float
    goodput_at_2x: float
    goodput_at_4x: float


def main(
    models: Annotated[Path, typer.Option(help="Folder of model families.")] = Path("deploy/models"),
    seconds: Annotated[float, typer.Option(min=1, help="Of each measurement.")] = 5.0,
    json_file: Annotated[Path | None, typer.Option("--json", help="Write results here.")] = None,
) -> None:
    """Print goodput as a share of capacity."""
    rows, fair = asyncio.run(measured(models.absolute(), seconds))
    table = Table("call", "capacity / s", "goodput at 2x", "at 4x")
    for row in rows:
        shares = (f"{share:.0%}" for share in (row.goodput_at_2x, row.goodput_at_4x))
        table.add_row(row.what, f"{row.capacity:.1f}", *shares)
    console = Console()
    console.print(f"{os.cpu_count()} cores, of which {len(os.sched_getaffinity(0))} used")
    console.print(table)
    console.print(f"beside a flood at 4x another client is answered {fair:.0%} of its calls")
    if json_file:
        result = {
            "goodput_at_2x": {row.what: round(row.goodput_at_2x, 3) for row in rows},
            "goodput_at_4x": {row.what: round(row.goodput_at_4x, 3) for row in rows},
            "capacity_per_s": {row.what: round(row.capacity, 2) for row in rows},
            "beside_a_flood": round(fair, 3),
            "seconds": seconds,
        }
        json_file.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")


async def measured(models: Path, seconds: float) -> tuple[list[Row], float]:
    """A row for each kind of call, and the share of a client beside a flood."""
    rows = []
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        common = {"models": models, "log_level": "info"}
        encoder = await stack.enter_async_context(
            process("encoder", folder / "encoder.log", **common)
        )
        photos = [path.read_bytes() for path in PHOTOS]
        for what, call in (
            ("Encode", encode(encoder, photos)),
            ("EncodeStream", encode_stream(encoder, photos)),
        ):
            rows.append(await row_of(what, call, seconds))
        fair = await beside_a_flood(encoder, photos, rows[0].capacity, seconds)
        maps = [(await _encoded(encoder, photo)) for photo in photos]
        recognizer = await stack.enter_async_context(
            process(
                "recognizer",
                folder / "recognizer.log",
                gallery=folder / "gallery.sqlite",
                **common,
            )
        )
        for what, call in (
            ("Enroll", enroll(recognizer, maps)),
            ("Identify", identify(recognizer, maps)),
        ):
            rows.append(await row_of(what, call, seconds))
    return rows, fair


async def row_of(what: str, call: Call, seconds: float) -> Row:
    """Capacity and goodput of one kind of call."""
    rates = [await capacity(call, seconds)]
    shares = []
    for times in (2, 4):
        answered = await offered(call, rates[-1] * times, seconds)
        rates.append(await capacity(call, seconds))
        shares.append(2 * answered / (rates[-2] + rates[-1]))
    return Row(what, fmean(rates), *shares)


async def capacity(call: Call, seconds: float) -> float:
    """Calls a second of callers who each wait for an answer before they ask again."""
    await asyncio.gather(*(call(None) for _ in range(CALLERS)))
    done, started = 0.0, time.monotonic()

    async def keep_asking() -> None:
        nonlocal done
        while time.monotonic() < started + seconds:
            answered = await call(None)
            done += answered  # in one step: others add to it, too

    await asyncio.gather(*(keep_asking() for _ in range(CALLERS)))
    return done / (time.monotonic() - started)


async def offered(call: Call, rate: float, seconds: float) -> float:
    """Calls a second answered in time, of `rate` that come whatever becomes of them.

    The first second, in which the backlog fills, is left out.
    """
    started = time.monotonic()
    counted: list[asyncio.Task[float]] = []
    others: list[asyncio.Task[float]] = []
    for number in range(round(rate * (WARM_UP_S + seconds))):
        due = started + number / rate
        await asyncio.sleep(max(0.0, due - time.monotonic()))
        task = asyncio.ensure_future(call(DEADLINE_S))
        (counted if due >= started + WARM_UP_S else others).append(task)
    took = max(seconds, time.monotonic() - started - WARM_UP_S)
    await asyncio.gather(*others)
    return sum(await asyncio.gather(*counted)) / took


async def beside_a_flood(
    encoder: Process, photos: list[bytes], rate: float, seconds: float
) -> float:
    """Share of the calls of a client that are answered in time while another floods."""
    address = encoder.events("listening")[0]["address"]
    options = [("grpc.use_local_subchannel_pool", 1)]  # a connection of its own
    async with grpc.aio.insecure_channel(address, options=options) as channel:
        other = encoder_pb2_grpc.EncoderServiceStub(channel)  # type: ignore[no-untyped-call]
        flood = asyncio.create_task(offered(encode(encoder, photos), 4 * rate, seconds))
        answered = await offered(_encode(other, photos), 0.4 * rate, seconds)
        await flood
    return answered / (0.4 * rate)


def encode(encoder: Process, photos: list[bytes]) -> Call:
    """Encode one photograph."""
    return _encode(encoder.encoder, photos)


def _encode(stub: Any, photos: list[bytes]) -> Call:
    images = itertools.cycle(photos)

    async def call(within: float | None) -> float:
        request = encoder_pb2.EncodeRequest(image=next(images))
        return await _answered(stub.Encode(request, timeout=within))

    return call


def encode_stream(encoder: Process, photos: list[bytes]) -> Call:
    """A stream of a few photographs, all of them within the deadline."""
    images = itertools.cycle(photos)

    async def call(within: float | None) -> float:
        requests = [
            encoder_pb2.EncodeStreamRequest(request=encoder_pb2.EncodeRequest(image=next(images)))
            for _ in range(FRAMES)
        ]
        answered = 0
        try:
            async for answer in encoder.encoder.EncodeStream(iter(requests), timeout=within):
                answered += answer.HasField("response")
        except grpc.aio.AioRpcError:
            pass
        return answered / FRAMES

    return call


def identify(recognizer: Process, maps: list[CompactMap]) -> Call:
    """Identify one face."""
    probes = itertools.cycle(maps)

    async def call(within: float | None) -> float:
        request = recognizer_pb2.IdentifyRequest(probe=recognizer_pb2.Probe(map=next(probes)))
        return await _answered(recognizer.recognizer.Identify(request, timeout=within))

    return call


def enroll(recognizer: Process, maps: list[CompactMap]) -> Call:
    """Enrol a subject of one face."""
    faces = itertools.cycle(maps)

    async def call(within: float | None) -> float:
        request = gallery_pb2.EnrollRequest(
            maps=[next(faces)], on_duplicate=gallery_pb2.ON_DUPLICATE_ALLOW
        )
        return await _answered(recognizer.gallery.Enroll(request, timeout=within))

    return call


async def _answered(call: Awaitable[Any]) -> float:
    try:
        await call
    except grpc.aio.AioRpcError:
        return 0.0
    return 1.0


async def _encoded(encoder: Process, photo: bytes) -> CompactMap:
    answer = await encoder.encoder.Encode(encoder_pb2.EncodeRequest(image=photo))
    face: CompactMap = answer.faces[0].map
    return face


if __name__ == "__main__":
    typer.run(main)
