"""Files with biometric data, readable only by their owner whatever the umask."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import structlog

PRIVATE = 0o600
"""Permissions of every file with faces, maps or embeddings."""

_log = structlog.get_logger(__name__)


def make_private(path: Path) -> None:
    """Remove other users' permissions from one of our files, if it exists."""
    try:
        if path.stat().st_mode & 0o777 != PRIVATE:
            path.chmod(PRIVATE)
    except FileNotFoundError:
        pass
    except PermissionError:  # the file has another owner
        _log.warning("file_not_private", file=path.name)


@contextmanager
def private_file(path: Path) -> Iterator[IO[bytes]]:
    """Open a file for writing, created or truncated."""
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT, PRIVATE), "wb") as file:
        os.fchmod(file.fileno(), PRIVATE)
        file.truncate()  # only after its permissions are set
        yield file
