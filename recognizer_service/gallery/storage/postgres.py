"""A gallery in PostgreSQL: opening, transactions, and who may have it open.

The tables are those of SQLite, and so are the rules: changes come one after the other, and one
process owns a gallery whose search indexes are a cache in its memory. An advisory lock on a
connection of its own makes it the owner. Should that connection break while the process goes on,
another may take over; every transaction therefore looks whether its owner is still the last one.
Where the index is shared, so is that lock: all those processes together are the owner.
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
    text,
    update,
)
from sqlalchemy.engine import ExceptionContext, make_url
from sqlalchemy.exc import ArgumentError, OperationalError

from recognizer_service.gallery.storage import Prune, faults, schema, write_and_undo
from recognizer_service.gallery.storage.schema import migrate
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
# PostgreSQL's error codes. A server that has become a standby has two: for a write, and for a
# transaction that is begun as one that may write.
_DISK_FULL, _READ_ONLY, _LOCK_NOT_AVAILABLE = "53100", ("25006", "0A000"), "55P03"
_CONNECT_TIMEOUT_S = 5
_IDLE_CONNECTIONS = 8

_own = MetaData()
_versions = Table("schema_version", _own, Column("version", Integer, nullable=False))
_owners = Table("owner", _own, Column("number", BigInteger, nullable=False))


SHARED_INDEX_TABLE = "shared_index"
"""Is there where an index outside of the process follows the database."""


class PostgresDatabase:
    """A gallery in the database that a URL names; see `Database`."""

    def __init__(self, url: str, *, shared: bool = False) -> None:
        """Open or create the tables in the schema that the user's search path begins with.

        Args:
            url: postgresql://user:password@host:port/name?options, options as libpq knows them.
            shared: whether other processes that say so too may have it open.

        Raises:
            FailedPrecondition: another process has it (GALLERY_IN_USE), its index is shared and
                this process would not keep to it (INDEX_IN_MILVUS), it is of another
                version (GALLERY_TOO_NEW), it is no gallery (NOT_A_GALLERY), the URL is none
                (GALLERY_URL_INVALID), or the client library is missing (EXTRA_MISSING).
            Unavailable: the server does not answer, or not to us (GALLERY_UNAVAILABLE).
        """
        self._shared = shared
        self._lock = threading.Lock()
        self._fault = faults.WriteFault()
        self._engine = _engine(url)
        # Autocommit, or the lock's transaction would keep every deleted row alive for good.
        self._owner = self._engine.connect().execution_options(isolation_level="AUTOCOMMIT")
        try:
            self._number = self._become_owner()
        except BaseException:
            self.close()
            raise

    def _become_owner(self) -> int:
        """The number of this ownership: one more than the last one's, or the common one."""
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
        """Among all processes that have it open; see `Database`."""
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
        """One snapshot; see `Database`."""
        options = {"isolation_level": "REPEATABLE READ", "postgresql_readonly": True}
        with self._engine.execution_options(**options).begin() as connection:
            self._check_ownership(connection)
            yield connection

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        """One transaction; see `Database`. Others wait, so that keys come in one order."""
        with self._fault.noted(), self._engine.begin() as connection:
            connection.execute(select(func.pg_advisory_xact_lock(_CHANGES)))
            self._check_ownership(connection)
            yield connection

    @property
    def fault(self) -> faults.StorageFault | None:
        """What kept the last writes from succeeding; see `Database`."""
        return self._fault.current

    def try_writing(self) -> None:
        """See `Database`."""
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
        """Whether no other process has it open; under `exclusive`."""
        if not self._shared:
            return True
        alone = bool(self._owner.scalar(select(func.pg_try_advisory_lock(_OWNER))))
        if alone:  # the lock is ours twice now, shared and not
            self._owner.execute(select(func.pg_advisory_unlock(_OWNER)))
        return alone

    def _require_alone(self) -> None:
        """Older programs would go on writing to the tables as they were."""
        if not self.is_alone():
            raise FailedPrecondition(
                "GALLERY_IN_USE",
                f"other processes have the gallery {self._engine.url.database!r} open, and it has "
                "to be upgraded: stop them first",
            )

    @property
    def erases(self) -> bool:
        """It does not: SQL cannot tell what is left on the disk.

        Deleted rows stay in their pages until a vacuum, and in the write-ahead log, replicas and
        backups after that.
        """
        return False

    def begin_erasing(self, prune: Prune) -> None:
        """Nothing to begin."""

    def mark_erasure(self, connection: Connection) -> int:
        """No number: nobody could say when it is done."""
        del connection
        return 0

    def erased(self, erasure: int, *, wait_s: float = 0) -> bool:
        """There is no erasure to ask for; see `Database`."""
        del wait_s
        raise NotFound("ERASURE_NOT_FOUND", f"there is no erasure {erasure}", field="erasure")

    def erasures_pending(self) -> int:
        """None that would end."""
        return 0

    def problems(self) -> list[str]:
        """What page checksums have shown, if the server keeps them."""
        with self.reading() as connection:
            failures = connection.scalar(
                text(
                    "SELECT checksum_failures FROM pg_stat_database "
                    "WHERE datname = current_database()"
                )
            )
        return [f"{failures} pages failed their checksums"] if failures else []

    def close(self) -> None:
        """Close all connections and let others open the gallery."""
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
    except (ArgumentError, ValueError):  # whose messages would show the password
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
            return  # a dead connection of the pool is replaced, and nobody need know
        if fault := _fault(context):
            raise fault from context.original_exception

    return engine


def _fault(context: ExceptionContext) -> faults.StorageFault | None:
    """What an error of the server says of the storage; None: it is about the statement."""
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
    """What the server or its client says, which names hosts and users but no password."""
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
    # An older version may lack tables that its migration makes.
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
    if version > schema.VERSION:
        raise FailedPrecondition(
            "GALLERY_TOO_NEW",
            f"the gallery has schema version {version}; this program knows version "
            f"{schema.VERSION}: run a newer program",
        )


def _check_index_is_ours(connection: Connection) -> None:
    if inspect(connection).has_table(SHARED_INDEX_TABLE):
        raise FailedPrecondition(
            "INDEX_IN_MILVUS",
            "the gallery's index is in Milvus and would not follow what is changed without it; "
            "name the Milvus server too",
        )
