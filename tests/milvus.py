"""A Milvus server of the tests' own: milvus-lite, on a port of this machine.

It keeps one process's data on one disk. What a cluster adds it cannot show: that strong
consistency holds across query nodes, that replicas of a segment take over, that an index built
elsewhere is loaded.
"""

import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from recognizer_service.gallery.storage.locations import Milvus

_STARTS_WITHIN_S = 60


def server_program() -> Path | None:
    """Of milvus-lite; None where it is not installed."""
    beside = Path(sys.executable).with_name("milvus-lite")
    found = shutil.which("milvus-lite")
    return beside if beside.exists() else Path(found) if found else None


@contextmanager
def running_milvus(program: Path) -> Iterator[Milvus]:
    """A fresh server, gone with all its data at the end."""
    with tempfile.TemporaryDirectory(prefix="milvus.") as folder:
        port = _free_port()
        server = subprocess.Popen(
            [program, "server", "--data-dir", folder, "--port", str(port)],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            _wait_for(port, server)
            yield Milvus(f"http://127.0.0.1:{port}")
        finally:
            server.kill()
            server.wait()


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


def _wait_for(port: int, server: subprocess.Popen[bytes]) -> None:
    until = time.monotonic() + _STARTS_WITHIN_S
    while server.poll() is None and time.monotonic() < until:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
        except OSError:
            time.sleep(0.1)
        else:
            return
    raise RuntimeError("milvus-lite did not start")
