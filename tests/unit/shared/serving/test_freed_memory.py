"""What the C library keeps of freed memory goes back to the system."""

import asyncio
import subprocess
import sys
from pathlib import Path

from shared.serving.freed_memory import FreedMemory

ROOT = Path(__file__).parents[4]
_BLOCK = 64 << 10  # small enough to lie among others
_BLOCKS = 1000


def resident() -> int:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * 4096


def test_memory_between_blocks_in_use_is_given_back_after_work() -> None:
    """In a process of its own: in that of other tests, blocks lie where others were freed."""
    program = f"import asyncio; from {__name__} import give_back; asyncio.run(give_back())"
    subprocess.run([sys.executable, "-c", program], check=True, cwd=ROOT)


async def give_back() -> None:
    before = resident()
    blocks: list[bytes | None] = [b"\1" * _BLOCK for _ in range(_BLOCKS)]
    blocks[:-1] = [None if number % 50 else one for number, one in enumerate(blocks[:-1])]
    kept = resident()
    assert kept - before > _BLOCK * _BLOCKS / 2  # or there is nothing to give back
    memory = FreedMemory()
    returning = asyncio.create_task(memory.keep_returning())
    await asyncio.sleep(1.2)
    assert resident() > kept - _BLOCK * _BLOCKS / 4  # nobody has worked
    memory.used()
    async with asyncio.timeout(10):
        while resident() - before > _BLOCK * _BLOCKS / 4:  # noqa: ASYNC110
            await asyncio.sleep(0.05)
    returning.cancel()
