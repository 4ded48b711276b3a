"""The locations of galleries."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias, get_args

from pydantic import SecretStr

from recognizer_service.gallery.storage import Database
from recognizer_service.gallery.storage.postgres import PostgresDatabase
from recognizer_service.gallery.storage.sqlite import SqliteDatabase
from shared.storage_key import KeySource

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


@dataclass(frozen=True, slots=True)
class EncryptedFile:
    """An encrypted SQLite file.

    Attributes:
        path: of the file.
        key: where its key is read from when it is opened.
    """

    path: Path
    key: KeySource


Location: TypeAlias = Path | EncryptedFile | Servers
"""A SQLite file, or servers."""


def parse_location(
    text: str, milvus: Milvus | None = None, key: KeySource | None = None
) -> Location:
    """Parse a location.

    Args:
        text: path or URL.
        milvus: holds the index.
        key: the key of an encrypted file.

    Raises:
        ValueError: a file cannot have its index in Milvus, and a server has no key.
    """
    if text.startswith(("postgresql://", "postgres://")):
        if key:
            raise ValueError(
                "gallery_key encrypts SQLite files only; encrypt the volumes of PostgreSQL and "
                "Milvus"
            )
        return Servers(SecretStr(text.replace("postgres://", "postgresql://", 1)), milvus)
    if milvus:
        raise ValueError(
            f"an index in Milvus is shared, and the file {text!r} cannot be; name a gallery "
            "postgresql://..."
        )
    return EncryptedFile(Path(text), key) if key else Path(text)


def file_of(location: Location) -> Path | None:
    """Return the file of a gallery; None: it is on servers."""
    match location:
        case Path():
            return location
        case EncryptedFile():
            return location.path
    return None


def open_database(location: Location, *, reserve: bool = False) -> Database:
    """Open the database file, created if missing, or the database on a server.

    Args:
        location: the file or servers.
        reserve: whether to keep disk space beside a file that only deletions may use.

    Raises:
        FailedPrecondition, Unavailable: as `SqliteDatabase`, `KeySource.read` and
            `PostgresDatabase`.
    """
    if isinstance(location, Path):
        return SqliteDatabase(location, reserve=reserve)
    if isinstance(location, EncryptedFile):
        return SqliteDatabase(location.path, key=location.key.read(), reserve=reserve)
    return PostgresDatabase(location.url.get_secret_value(), shared=location.milvus is not None)
