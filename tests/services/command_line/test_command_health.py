"""`compactface health`, the process that container engines run, against a real server."""

import asyncio
import sys

from tests.services.serving.plumbing_host import running, serving


async def ask(port: int, *options: str) -> tuple[int | None, str]:
    """Exit code and output of the command."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "command_line", "health", "--target", f"127.0.0.1:{port}"),
        *options,
        stdout=asyncio.subprocess.PIPE,
    )
    output, _ = await process.communicate()
    return process.returncode, output.decode()


async def test_a_serving_service_is_healthy() -> None:
    async with serving() as service:
        answer = await ask(service.port)
    assert answer == (0, f"127.0.0.1:{service.port}: SERVING\n")


async def test_a_service_that_is_not_ready_is_unhealthy() -> None:
    async with running() as service:
        answer = await ask(service.port)
    assert answer == (1, f"127.0.0.1:{service.port}: NOT_SERVING\n")


async def test_a_port_where_nobody_listens_is_unhealthy() -> None:
    async with running() as service:
        port = service.port
    exit_code, output = await ask(port, "--timeout", "0.5")
    assert exit_code == 1
    assert "SERVING" not in output
