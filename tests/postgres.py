"""A PostgreSQL server of the tests' own, on a Unix socket in a temporary folder."""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any, LiteralString
from urllib.parse import quote

import psycopg
from psycopg import sql
from pydantic import SecretStr

from recognizer_service.gallery.storage.locations import Milvus, Servers

_DEBIAN = Path("/usr/lib/postgresql")
_USER = "postgres"
# What a crash of the machine would lose is no loss to a test.
_OPTIONS = "-c fsync=off -c full_page_writes=off -c max_connections=200 -c listen_addresses="


@cache
def server_programs() -> Path | None:
    """The folder of initdb, pg_ctl and the like; None where there is no server."""
    found = shutil.which("pg_ctl")
    if found:
        return Path(found).resolve().parent
    versions = sorted(_DEBIAN.glob("*/bin/pg_ctl"), key=lambda path: int(path.parts[-3]))
    return versions[-1].parent if versions else None


class PostgresServer:
    """A running server.

    Attributes:
        folder: holds its socket and, in `data`, its data.
    """

    def __init__(self, programs: Path, folder: Path) -> None:
        self.folder = folder
        self._programs = programs
        # The server refuses to run as root.
        self._as: dict[str, Any] = {"user": _USER} if os.geteuid() == 0 else {}

    def run(self, program: str, *arguments: str) -> None:
        """Run one of its programs and wait."""
        subprocess.run(
            [self._programs / program, *arguments],
            check=True,
            capture_output=True,
            cwd=self.folder,
            **self._as,
        )

    def start(self) -> None:
        """Start it, and wait until it answers."""
        log = str(self.folder / "log")
        options = f"{_OPTIONS} -k {self.folder}"
        self.run("pg_ctl", "-D", "data", "-w", "-l", log, "-o", options, "start")

    def stop(self) -> None:
        """Stop it as a crash would."""
        self.run("pg_ctl", "-D", "data", "-m", "immediate", "stop")

    def create_database(self, name: str, milvus: Milvus | None = None) -> Servers:
        """The location of a new gallery."""
        self._execute("CREATE DATABASE {}", name)
        url = f"postgresql://{_USER}@/{name}?host={quote(str(self.folder))}"
        return Servers(SecretStr(url), milvus)

    def drop_database(self, name: str) -> None:
        """Delete a gallery, whoever may have it open: it is three hundred files."""
        self._execute("DROP DATABASE {} WITH (FORCE)", name)

    def _execute(self, statement: LiteralString, name: str) -> None:
        """Without a program of PostgreSQL's: hundreds of tests ask for this."""
        with psycopg.connect(
            host=str(self.folder), user=_USER, dbname="postgres", autocommit=True
        ) as connection:
            connection.execute(sql.SQL(statement).format(sql.Identifier(name)))


@contextmanager
def running_postgres(programs: Path) -> Iterator[PostgresServer]:
    """A fresh server, gone with all its data at the end."""
    with tempfile.TemporaryDirectory(prefix="postgres.") as name:
        folder = Path(name)
        if os.geteuid() == 0:
            shutil.chown(folder, _USER)
        server = PostgresServer(programs, folder)
        server.run("initdb", "-D", "data", "-U", _USER, "-A", "trust", "-E", "UTF8", "--no-sync")
        server.start()
        try:
            yield server
        finally:
            server.stop()
