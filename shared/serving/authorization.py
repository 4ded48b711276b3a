"""Authorization of every method of every service, before its handler runs."""

import asyncio
from collections.abc import AsyncIterator, Callable, Collection
from contextlib import asynccontextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field

import structlog
from google.protobuf.message import Message
from prometheus_client import CollectorRegistry, Counter

from shared.errors import CompactfaceError, PermissionDenied, Unauthenticated
from shared.serving.access_file import ALL_COLLECTIONS, Access, Caller, Role, identify
from shared.serving.client_ca import ClientAuthorities
from shared.serving.interceptor import AroundInterceptor, Context, Method
from shared.serving.rights import collections_in, need, scopes_of_fields

_ANYBODY_KNOWN = "any"
_EVERYTHING = Role(
    scopes=frozenset({"admin", "watch", "reconstruct", "embed", "export", "metrics"}),
    collections=frozenset({ALL_COLLECTIONS}),
)
_MAX_NAME_CHARACTERS = 128
_CHECK_STREAMS_EVERY_S = 5.0

_log = structlog.get_logger(__name__)


@dataclass(slots=True)
class _Call:
    """A call and what its permission rests on.

    Attributes:
        caller: the caller; renewed while a stream is open.
        scopes: the scopes that the method and its first message require.
        collections: the collections that the first message or the method refers to.
    """

    caller: Caller
    scopes: set[str | None] = field(default_factory=set)
    collections: set[str] = field(default_factory=set)

    def check_again(self, caller: Caller) -> None:
        """Check everything for a caller whose role may have changed, and take it over."""
        for scope in self.scopes:
            _check_scope(caller, scope)
        for collection in self.collections:
            _check_collection(caller, collection)
        self.caller = caller


_call: ContextVar[_Call] = ContextVar("call")


def current_caller() -> Caller:
    """The caller of the RPC that this task serves."""
    return _call.get().caller


def is_trusted() -> bool:
    """Whether the caller has the scope `admin`; unauthenticated callers have no scope."""
    call = _call.get(None)
    return call is not None and call.caller.role.grants("admin")


def client_of(context: Context) -> tuple[str, ...]:
    """The keys that identify a client for fair sharing of resources.

    Returns:
        The caller's name; without one, its connection, then the connection's address.
    """
    call = _call.get(None)
    if call is not None and call.caller.name:
        return (call.caller.name,)
    connection = context.peer()
    return (connection, connection.rpartition(":")[0])


def check_collection(collection: str) -> None:
    """Check that the caller's role includes a collection, as long as the call lasts.

    Raises:
        PermissionDenied: it does not. The error does not reveal whether the collection exists.
    """
    call = _call.get()
    call.collections.add(collection)
    _check_collection(call.caller, collection)


def _check_collection(caller: Caller, collection: str) -> None:
    if not caller.role.includes(collection):
        which = "all collections" if collection == ALL_COLLECTIONS else repr(collection)[:80]
        raise PermissionDenied(
            "COLLECTION_FORBIDDEN",
            f"the role of {caller.name!r} does not extend to {which}",
            field="collection",
        )


class AuthorizationInterceptor(AroundInterceptor):
    """Rejects unauthenticated callers, and calls that the caller's role does not permit.

    Checks the scope before the request is read, and collections after it has arrived.

    Args:
        access: the access file; None: every caller may do everything, and its name is that in the
            client certificate, if there is one.
        authorities: of client certificates; None: clients have no certificates.
        exempt: full names of services without authentication, since health probes have no
            credentials.
        registry: registry for the counter of rejected calls.
    """

    def __init__(
        self,
        access: Access | None,
        *,
        authorities: ClientAuthorities | None,
        exempt: Collection[str],
        registry: CollectorRegistry,
    ) -> None:
        self._access = access
        self._authorities = authorities
        self._exempt = frozenset(exempt)
        self._problem = ""
        self._denied = Counter(
            "compactface_denied_calls",
            "Calls refused for want of rights",
            ["method", "reason"],
            registry=registry,
        )

    @asynccontextmanager
    async def around(self, method: Method, context: Context) -> AsyncIterator[None]:
        """Authenticate the caller and check the method's scope.

        Raises:
            Unauthenticated: the credentials are missing or invalid.
            PermissionDenied: the role lacks the scope.
        """
        if method.service in self._exempt:
            yield
            return
        try:
            call = _Call(self._identify(context))
            structlog.contextvars.bind_contextvars(caller=call.caller.name)
            _call.set(call)
            if self._access is not None:
                scope = need(method.service, method.name).scope
                call.scopes.add(scope)
                _check_scope(call.caller, scope)
            if not method.streams or (self._access is None and self._authorities is None):
                yield
                return
            async with _while_it_holds(lambda: call.check_again(self._identify(context))):
                yield
        except (Unauthenticated, PermissionDenied) as error:
            self._denied.labels(method.name, error.reason).inc()
            raise

    def received(self, method: Method, message: Message, *, first: bool) -> None:
        """Check the message's collections, and the scopes that its fields require."""
        if self._access is None or method.service in self._exempt:
            return
        call, needs = _call.get(), need(method.service, method.name)
        collections, scopes = set[str](), set(scopes_of_fields(message))
        if first or not needs.spans_collections:
            collections.update(collections_in(message, needs))
        if first:  # later messages are checked on arrival, for the caller as it is then
            call.collections |= collections
            call.scopes |= scopes
        for collection in sorted(collections):
            _check_collection(call.caller, collection)
        for scope in sorted(scopes):
            _check_scope(call.caller, scope)

    def _identify(self, context: Context) -> Caller:
        if self._authorities is not None:
            self._authorities.check(context)
        certificate = _certified_name(context)
        if self._access is None:
            return Caller(certificate or "", _EVERYTHING)
        file = self._access.current()
        if self._access.problem != self._problem:
            self._problem = self._access.problem
            if self._problem:
                _log.error("access_file_not_reloaded", problem=self._problem)
            else:
                _log.info("access_file_reloaded")
        metadata = {
            key: value
            for key, value in context.invocation_metadata() or ()
            if isinstance(value, str)
        }
        return identify(file, metadata, certificate)


@asynccontextmanager
async def _while_it_holds(check: Callable[[], None]) -> AsyncIterator[None]:
    """Repeat `check` every few seconds; if it raises, cancel the body and raise the same error.

    A stream may last for weeks, during which its token can be revoked.
    """
    body = asyncio.current_task()
    assert body is not None
    refusal: CompactfaceError | None = None

    async def watch() -> None:
        nonlocal refusal
        while refusal is None:
            await asyncio.sleep(_CHECK_STREAMS_EVERY_S)
            try:
                check()
            except CompactfaceError as error:
                refusal = error
                body.cancel()

    watcher = asyncio.create_task(watch())
    try:
        yield
    except asyncio.CancelledError:
        if refusal is None:
            raise
        body.uncancel()
        raise refusal from None
    finally:
        watcher.cancel()


def _check_scope(caller: Caller, scope: str | None) -> None:
    if scope == _ANYBODY_KNOWN:
        return
    if scope is None or not caller.role.grants(scope):
        raise PermissionDenied(
            "SCOPE_MISSING",
            f"the role of {caller.name!r} does not include the scope {scope or 'of this method'}",
            metadata={"scope": scope or ""},
        )


def _certified_name(context: Context) -> str | None:
    """The common name in the client certificate, truncated to 128 characters; None without one."""
    names = list(context.auth_context().get("x509_common_name", []))
    return names[0].decode(errors="replace")[:_MAX_NAME_CHARACTERS] if names else None
