"""A gallery in PostgreSQL: opening, transactions and ownership.

Tables and rules are those of SQLite: changes are serialized, and one process owns a gallery whose
search indexes are in its memory. An advisory lock on a dedicated connection marks the owner. If
that connection breaks while the process continues, another process may take over; therefore every
transaction checks that its owner is still the latest. If the index is shared, the lock is shared
too: all those processes together are the owner.
"""

import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

from sqlalchemy import (
    BigInteger,
    Column,
    Connection,
    Engine,
    Integer,
    MetaData,
    Table,
    create_engine,
    event,
    func,
    insert,
    inspect,
    select,
    update,
)
from sqlalchemy.engine import ExceptionContext, make_url
from sqlalchemy.exc import ArgumentError, OperationalError

from recognizer_service.gallery.storage import Prune, faults, schema, write_and_undo
from recognizer_service.gallery.storage.migrations import check_version, migrate
from recognizer_service.gallery.storage.schema import SHARED_INDEX_TABLE
from shared.errors import FailedPrecondition, NotFound, Unavailable

_OWNER = 0x636F6D70616374  # advisory locks are numbers: "compact", and the next one
_CHANGES = _OWNER + 1
_EXCLUSIVE = _OWNER + 2
_SESSION = {
    "statement_timeout": "60s",
    "lock_timeout": "10s",
    "idle_in_transaction_session_timeout": "60s",
    "timezone": "UTC",
}
# PostgreSQL's error codes. A server that has become a standby reports one for a write, and another
# for starting a read-write transaction.
_DISK_FULL, _READ_ONLY, _LOCK_NOT_AVAILABLE = "53100", ("25006", "0A000"), "55P03"
_CONNECT_TIMEOUT_S = 5
_IDLE_CONNECTIONS = 8

_own = MetaData()
_versions = Table("schema_version", _own, Column("version", Integer, nullable=False))
_owners = Table("owner", _own, Column("number", BigInteger, nullable=False))


class PostgresDatabase:
    """A gallery in a PostgreSQL database; see `Database`."""

    def __init__(self, url: str, *, shared: bool = False) -> None:
        """Open or create the tables in the first schema of the user's search path.

        Args:
            url: postgresql://user:password@host:port/name?options, with libpq's options.
            shared: whether other processes that also set this may have it open.

        Raises:
            FailedPrecondition: another process has it open (GALLERY_IN_USE), its index is in Milvus
                and this process would not use it (INDEX_IN_MILVUS), it has another version
                (GALLERY_TOO_NEW), it is not a gallery (NOT_A_GALLERY), the URL is invalid
                (GALLERY_URL_INVALID), or the client library is missing (EXTRA_MISSING).
            Unavailable: the server does not answer or refuses the connection (GALLERY_UNAVAILABLE).
        """
        self._shared = shared
        self._lock = threading.Lock()
        self._fault = faults.WriteFault()
        self._engine = _engine(url)
        # Autocommit, as an open transaction would keep every deleted row alive.
        self._owner = self._engine.connect().execution_options(isolation_level="AUTOCOMMIT")
        try:
            self._number = self._become_owner()
        except BaseException:
            self.close()
            raise

    def _become_owner(self) -> int:
        """Take the lock; return the ownership number: the previous plus one, or the shared one."""
        lock = func.pg_try_advisory_lock_shared if self._shared else func.pg_try_advisory_lock
        if not self._owner.scalar(select(lock(_OWNER))):
            raise FailedPrecondition(
                "GALLERY_IN_USE",
                f"another process has the gallery {self._engine.url.database!r} open",
            )
        with self._engine.begin() as connection:
            connection.execute(select(func.pg_advisory_xact_lock(_CHANGES)))
            _bring_up_to_date(connection, self._require_alone)
            if not self._shared:
                _check_index_is_ours(connection)
                connection.execute(update(_owners).values(number=_owners.c.number + 1))
            number: int = connection.execute(select(_owners.c.number)).scalar_one()
            return number

    @property
    def exclusive(self) -> AbstractContextManager[object]:
        """Hold the lock across all processes that have it open; see `Database`."""
        return self._exclusive_everywhere() if self._shared else self._lock

    @contextmanager
    def _exclusive_everywhere(self) -> Iterator[None]:
        with self._lock, self._engine.connect() as connection:
            held = connection.execution_options(isolation_level="AUTOCOMMIT")
            with self._fault.noted():
                held.execute(select(func.pg_advisory_lock(_EXCLUSIVE)))
            try:
                yield
            finally:
                held.execute(select(func.pg_advisory_unlock(_EXCLUSIVE)))

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """Open one read snapshot; see `Database`."""
        options = {"isolation_level": "REPEATABLE READ", "postgresql_readonly": True}
        with self._engine.execution_options(**options).begin() as connection:
            self._check_ownership(connection)
            yield connection

    @contextmanager
    def writing(self, *, deleting: bool = False) -> Iterator[Connection]:
        """Open one transaction; see `Database`. Writers wait, so that keys rise in commit order.

        The server's disk has no reserve, and `deleting` has no effect.
        """
        del deleting
        with self._fault.noted(), self._engine.begin() as connection:
            connection.execute(select(func.pg_advisory_xact_lock(_CHANGES)))
            self._check_ownership(connection)
            yield connection

    @property
    def fault(self) -> faults.StorageFault | None:
        """The fault of the last writes; see `Database`."""
        return self._fault.current

    def try_writing(self) -> None:
        """Test whether writes succeed; see `Database`."""
        with self.exclusive:
            with self.writing() as connection:
                write_and_undo(connection)
            self._fault.current = None

    def _check_ownership(self, connection: Connection) -> None:
        if connection.execute(select(_owners.c.number)).scalar_one() != self._number:
            raise Unavailable(
                "GALLERY_TAKEN_OVER",
                "another process has taken the gallery over since the connection to the database "
                "broke; restart this one",
            )

    def is_alone(self) -> bool:
        """Return whether no other process has it open; call it under `exclusive`."""
        if not self._shared:
            return True
        alone = bool(self._owner.scalar(select(func.pg_try_advisory_lock(_OWNER))))
        if alone:  # the lock is now held twice, shared and exclusively
            self._owner.execute(select(func.pg_advisory_unlock(_OWNER)))
        return alone

    def _require_alone(self) -> None:
        """Refuse a migration while older programs could still write to the old tables."""
        if not self.is_alone():
            raise FailedPrecondition(
                "GALLERY_IN_USE",
                f"other processes have the gallery {self._engine.url.database!r} open, and it has "
                "to be upgraded: stop them first",
            )

    @property
    def erases(self) -> bool:
        """False: SQL cannot tell what remains on disk.

        Deleted rows stay in their pages until a vacuum, and longer in the write-ahead log, replicas
        and backups.
        """
        return False

    def begin_erasing(self, prune: Prune) -> None:
        """Do nothing: there is no background erasure."""

    def mark_erasure(self, connection: Connection) -> int:
        """Return 0: the completion of erasures is unknown."""
        del connection
        return 0

    def erased(self, erasure: int, *, wait_s: float = 0) -> bool:
        """Raise NotFound: no erasure has a number; see `Database`."""
        del wait_s
        raise NotFound("ERASURE_NOT_FOUND", f"there is no erasure {erasure}", field="erasure")

    def erasures_pending(self) -> int:
        """Return 0: no erasure is tracked."""
        return 0

    def problems(self) -> list[str]:
        """Return checksum failures of pages, if the server uses checksums."""
        with self.reading() as connection:
            failures = connection.exec_driver_sql(
                "SELECT checksum_failures FROM pg_stat_database WHERE datname = current_database()"
            ).scalar()
        return [f"{failures} pages failed their checksums"] if failures else []

    def close(self) -> None:
        """Close all connections and release the gallery to other processes."""
        self._owner.close()
        self._engine.dispose()


def _engine(url: str) -> Engine:
    try:
        engine = create_engine(
            make_url(url).set(drivername="postgresql+psycopg"),
            pool_size=_IDLE_CONNECTIONS,
            max_overflow=-1,
            pool_pre_ping=True,
            hide_parameters=True,
            connect_args={
                "connect_timeout": _CONNECT_TIMEOUT_S,
                "options": " ".join(f"-c {name}={value}" for name, value in _SESSION.items()),
            },
        )
    except (ArgumentError, ValueError):  # their messages would show the password
        raise FailedPrecondition(
            "GALLERY_URL_INVALID",
            "the gallery's URL cannot be read; expected postgresql://user:password@host:port/name",
        ) from None
    except ModuleNotFoundError as error:
        raise FailedPrecondition(
            "EXTRA_MISSING",
            "a gallery in PostgreSQL needs psycopg; install compactface[cluster]",
        ) from error

    @event.listens_for(engine, "handle_error")
    def translate(context: ExceptionContext) -> None:
        if context.is_pre_ping:
            return  # the pool replaces the dead connection
        if fault := _fault(context):
            raise fault from context.original_exception

    return engine


def _fault(context: ExceptionContext) -> faults.StorageFault | None:
    """Return the storage fault of a server error; None if the statement is at fault."""
    state = getattr(context.original_exception, "sqlstate", None)
    if state == _DISK_FULL:
        return faults.disk_full(_first_line(context))
    if state in _READ_ONLY:
        return faults.read_only(_first_line(context))
    if state == _LOCK_NOT_AVAILABLE:
        return faults.locked(_first_line(context))
    if isinstance(context.sqlalchemy_exception, OperationalError):
        return faults.unavailable(_first_line(context))
    return None


def _first_line(context: ExceptionContext) -> str:
    """Return the first line of the error, which may name hosts and users but no password."""
    return str(context.original_exception).partition("\n")[0].strip()


def _bring_up_to_date(connection: Connection, require_alone: Callable[[], None]) -> None:
    present = set(inspect(connection).get_table_names())
    if not present:
        schema.metadata.create_all(connection)
        _own.create_all(connection)
        connection.execute(insert(_versions).values(version=schema.VERSION))
        connection.execute(insert(_owners).values(number=0))
        return
    version = connection.scalar(select(_versions.c.version)) if _versions.name in present else None
    # An older version may lack tables that its migration creates.
    if version is None or (
        version >= schema.VERSION and not {*schema.metadata.tables, *_own.tables} <= present
    ):
        raise FailedPrecondition(
            "NOT_A_GALLERY", "the database holds tables, but not those of a gallery"
        )
    if version < schema.VERSION:
        require_alone()
        migrate(connection, version)
        connection.execute(update(_versions).values(version=schema.VERSION))
    check_version(version)


def _check_index_is_ours(connection: Connection) -> None:
    if inspect(connection).has_table(SHARED_INDEX_TABLE):
        raise FailedPrecondition(
            "INDEX_IN_MILVUS",
            "the gallery's index is in Milvus and would not follow what is changed without it; "
            "name the Milvus server too",
        )
