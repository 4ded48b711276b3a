"""The locations of galleries."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias, get_args

from pydantic import SecretStr

from recognizer_service.gallery.storage import Database
from recognizer_service.gallery.storage.postgres import PostgresDatabase
from recognizer_service.gallery.storage.sqlite import SqliteDatabase

MilvusIndexType = Literal["FLAT", "HNSW", "DISKANN"]
"""Milvus's search method: exact, a graph in memory, or a graph on disk."""

MILVUS_INDEX_TYPES: tuple[MilvusIndexType, ...] = get_args(MilvusIndexType)


@dataclass(frozen=True, slots=True)
class Milvus:
    """A Milvus server or cluster.

    Attributes:
        uri: http://host:port, or https:// for TLS.
        token: "user:password" or an API key; None if not required.
        index_type: type of newly created collections.
    """

    uri: str
    token: SecretStr | None = None
    index_type: MilvusIndexType = "FLAT"


@dataclass(frozen=True, slots=True)
class Servers:
    """A database server, and the location of the search index.

    Attributes:
        url: postgresql://user:password@host:port/name?options, with libpq's options.
        milvus: holds the index for all recognizers that name it; None: the index is in memory and
            there can be only one recognizer.
    """

    url: SecretStr
    milvus: Milvus | None = None


Location: TypeAlias = Path | Servers
"""A SQLite file, or servers."""


def parse_location(text: str, milvus: Milvus | None = None) -> Location:
    """Parse a location.

    Raises:
        ValueError: a file cannot have its index in Milvus.
    """
    if text.startswith(("postgresql://", "postgres://")):
        return Servers(SecretStr(text.replace("postgres://", "postgresql://", 1)), milvus)
    if milvus:
        raise ValueError(
            f"an index in Milvus is shared, and the file {text!r} cannot be; name a gallery "
            "postgresql://..."
        )
    return Path(text)


def open_database(location: Location, *, reserve: bool = False) -> Database:
    """Open the database file, created if missing, or the database on a server.

    Args:
        location: the file or servers.
        reserve: whether to keep disk space beside a file that only deletions may use.

    Raises:
        FailedPrecondition, Unavailable: as `SqliteDatabase` and `PostgresDatabase`.
    """
    if isinstance(location, Path):
        return SqliteDatabase(location, reserve=reserve)
    return PostgresDatabase(location.url.get_secret_value(), shared=location.milvus is not None)
