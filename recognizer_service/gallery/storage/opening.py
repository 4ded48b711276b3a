"""Where a gallery is kept, by what names it."""

from pathlib import Path

from recognizer_service.gallery.databases import Database
from recognizer_service.gallery.databases.location import Location
from recognizer_service.gallery.databases.postgres import PostgresDatabase
from recognizer_service.gallery.databases.sqlite import SqliteDatabase


def open_database(location: Location) -> Database:
    """The file of that path, made if missing, or the database on that server.

    Raises:
        FailedPrecondition, Unavailable: as `SqliteDatabase` and `PostgresDatabase`.
    """
    if isinstance(location, Path):
        return SqliteDatabase(location)
    return PostgresDatabase(location.url.get_secret_value(), shared=location.milvus is not None)
