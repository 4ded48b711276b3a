"""Files with faces in them: for their owner's eyes only, whatever the umask."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import structlog

PRIVATE = 0o600
"""The permissions of every file that holds faces, maps or embeddings."""

_log = structlog.get_logger(__name__)


def make_private(path: Path) -> None:
    """Take from others what rights they have to a file of ours; nothing if it is not there."""
    try:
        if path.stat().st_mode & 0o777 != PRIVATE:
            path.chmod(PRIVATE)
    except FileNotFoundError:
        pass
    except PermissionError:  # of another owner, who decides
        _log.warning("file_not_private", file=path.name)


@contextmanager
def private_file(path: Path) -> Iterator[IO[bytes]]:
    """A file to write, made if missing and emptied if not."""
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT, PRIVATE), "wb") as file:
        os.fchmod(file.fileno(), PRIVATE)
        file.truncate()  # only now: nobody else reads what comes
        yield file
