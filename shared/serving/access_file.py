"""The access file: roles, certificates and tokens.

Users write roles; `compactface token` adds tokens.

::

    [roles.door]
    scopes = ["stream"]
    collections = ["lobby"]

    [roles.backend]
    scopes = ["identify", "verify", "enroll"]
    collections = ["*"]

    [certificates]  # common name of a client certificate -> role
    "door-1" = "door"

    [tokens.k3m9x0ab]  # only the SHA-256 of a token is stored
    name = "ticket office"
    role = "backend"
    sha256 = "..."
    created = 2026-11-26T12:00:00Z
    expires = 2027-02-24T12:00:00Z
"""

import hashlib
import hmac
import secrets
import string
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError, model_validator

from shared.errors import Unauthenticated
from shared.serving.settings_loader import SettingsError

ALL_COLLECTIONS = "*"
TOKEN_PREFIX = "cf_"  # noqa: S105 - a prefix by which secret scanners recognize tokens
_ID_CHARACTERS = string.ascii_lowercase + string.digits
_ID_LENGTH = 8

ScopeName = Literal[
    "encode",
    "stream",
    "identify",
    "verify",
    "enroll",
    "watch",
    "reconstruct",
    "embed",
    "export",
    "admin",
    "metrics",
]
"""Names of `compactface.v1.Scope` in lower case, except those that need no grant."""

_OF_ADMIN: frozenset[ScopeName] = frozenset({"encode", "stream", "identify", "verify", "enroll"})


class _Table(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Role(_Table):
    """A set of permissions.

    Attributes:
        scopes: permitted operations. `admin` includes encode, stream, identify, verify and enroll.
        collections: accessible collections; "*" means all.
    """

    scopes: frozenset[ScopeName]
    collections: frozenset[str]

    def grants(self, scope: str) -> bool:
        """Whether the role includes a scope."""
        return scope in self.scopes or ("admin" in self.scopes and scope in _OF_ADMIN)

    def includes(self, collection: str) -> bool:
        """Whether the role includes a collection; `ALL_COLLECTIONS` asks for all of them."""
        return ALL_COLLECTIONS in self.collections or collection in self.collections


class Token(_Table):
    """The stored record of a bearer token.

    Attributes:
        name: name of the holder in logs and audit events.
        role: name of its role.
        sha256: SHA-256 of the whole token, in hexadecimal.
        created: creation time.
        expires: time from which the token is rejected; None: never.
        revoked: time of revocation; None: not revoked.
    """

    name: str = Field(min_length=1, max_length=128)
    role: str
    sha256: str = Field(pattern="^[0-9a-f]{64}$")
    created: AwareDatetime
    expires: AwareDatetime | None = None
    revoked: AwareDatetime | None = None

    def state(self, now: datetime) -> Literal["valid", "expired", "revoked"]:
        """The token's state at `now`."""
        if self.revoked is not None:
            return "revoked"
        return "expired" if self.expires is not None and self.expires <= now else "valid"


@dataclass(frozen=True, slots=True)
class Caller:
    """The authenticated caller of an RPC.

    Attributes:
        name: name from the token or certificate; "" if authentication is off.
        role: the caller's permissions.
    """

    name: str
    role: Role


class AccessFile(_Table):
    """The contents of the access file."""

    roles: dict[Annotated[str, Field(min_length=1)], Role] = {}
    certificates: dict[str, str] = {}
    tokens: dict[Annotated[str, Field(pattern=f"^[a-z0-9]{{{_ID_LENGTH}}}$")], Token] = {}

    @classmethod
    def read(cls, path: Path) -> Self:
        """Parse and validate the file.

        Raises:
            SettingsError: the file is unreadable or invalid; the message names file and location.
        """
        try:
            return cls.parse(path.read_text(encoding="utf-8"), path)
        except OSError as error:
            raise SettingsError([f"{path}: {error.strerror}"]) from None
        except UnicodeDecodeError as error:
            raise SettingsError([f"{path}: not UTF-8: {error}"]) from None

    @classmethod
    def parse(cls, text: str, path: Path) -> Self:
        """Parse and validate `text`; `path` is for messages. Raises as `read`."""
        try:
            return cls.model_validate(tomllib.loads(text))
        except tomllib.TOMLDecodeError as error:
            raise SettingsError([f"{path}: not TOML: {error}"]) from None
        except ValidationError as error:
            first = error.errors()[0]
            place = ".".join(map(str, first["loc"])) or "file"
            message = first["msg"].removeprefix("Value error, ")
            raise SettingsError([f"{path}: {place}: {message}"]) from None

    @model_validator(mode="after")
    def _check_roles(self) -> Self:
        used = [(f"certificates.{name}", role) for name, role in self.certificates.items()]
        used += [(f"tokens.{key}", token.role) for key, token in self.tokens.items()]
        for place, role in used:
            if role not in self.roles:
                known = ", ".join(sorted(self.roles)) or "none"
                raise ValueError(f"{place}: no role {role!r:.80}; defined: {known}")
        return self

    def caller_with_token(self, secret: str, now: datetime) -> Caller:
        """Return the caller that a token identifies.

        Raises:
            Unauthenticated: the token is unknown, expired or revoked.
        """
        token = self.tokens.get(token_id(secret))
        if token is None or not hmac.compare_digest(token.sha256, digest(secret)):
            raise Unauthenticated("TOKEN_UNKNOWN", "the bearer token is not known here")
        match token.state(now):
            case "expired":
                assert token.expires is not None
                raise Unauthenticated(
                    "TOKEN_EXPIRED", f"the bearer token expired at {token.expires:%Y-%m-%dT%H:%MZ}"
                )
            case "revoked":
                raise Unauthenticated("TOKEN_REVOKED", "the bearer token was revoked")
            case "valid":
                return Caller(token.name, self.roles[token.role])

    def caller_with_certificate(self, name: str) -> Caller:
        """Return the caller that a certificate's common name identifies.

        Raises:
            Unauthenticated: the file assigns no role to the name.
        """
        role = self.certificates.get(name)
        if role is None:
            raise Unauthenticated(
                "CERTIFICATE_UNKNOWN", f"the access file has no role for certificate {name!r:.80}"
            )
        return Caller(name, self.roles[role])


def new_token() -> str:
    """Generate a random token: `cf_`, an id of eight characters, 256 random bits."""
    name = "".join(secrets.choice(_ID_CHARACTERS) for _ in range(_ID_LENGTH))
    return f"{TOKEN_PREFIX}{name}_{secrets.token_urlsafe(32)}"


def token_id(token: str) -> str:
    """Return the id part of a token; "" if the token is malformed."""
    if not token.startswith(TOKEN_PREFIX):
        return ""
    return token.removeprefix(TOKEN_PREFIX).partition("_")[0]


def digest(token: str) -> str:
    """SHA-256 of a token. Tokens are random, so a slow hash would add no protection."""
    return hashlib.sha256(token.encode()).hexdigest()


class Access:
    """An access file that is reloaded when it changes.

    If the changed file is invalid, the last valid contents remain in effect and `problem` holds the
    error.
    """

    def __init__(self, path: Path) -> None:
        """Read the file.

        Raises:
            SettingsError: the file is unreadable or invalid.
        """
        self._path = path
        self._stamp = _stamp(path)
        self._now = AccessFile.read(path)
        self.problem = ""

    def current(self) -> AccessFile:
        """The current contents of the file."""
        stamp = _stamp(self._path)
        if stamp != self._stamp:
            self._stamp = stamp
            try:
                self._now = AccessFile.read(self._path)
                self.problem = ""
            except SettingsError as error:
                self.problem = "; ".join(error.problems)
        return self._now


def _stamp(path: Path) -> tuple[int, int, int]:
    try:
        stat = path.stat()
    except OSError:
        return (0, 0, 0)
    return (stat.st_mtime_ns, stat.st_ino, stat.st_size)


def identify(
    file: AccessFile,
    metadata: Mapping[str, str],
    certificate: str | None,
    now: datetime | None = None,
) -> Caller:
    """Authenticate a caller. A token takes precedence over a certificate.

    Args:
        file: the access file.
        metadata: metadata of the call.
        certificate: common name in the client certificate; None: no certificate.
        now: current time, for token expiry.

    Raises:
        Unauthenticated: the credentials are missing, unknown, expired or revoked.
    """
    header = metadata.get("authorization")
    if header is not None:
        kind, _, secret = header.partition(" ")
        if kind.lower() != "bearer":
            raise Unauthenticated(
                "NOT_A_BEARER_TOKEN", "the metadata `authorization` must be `Bearer TOKEN`"
            )
        return file.caller_with_token(secret.strip(), now or datetime.now(UTC))
    if certificate is not None:
        return file.caller_with_certificate(certificate)
    raise Unauthenticated(
        "NO_CREDENTIAL", "neither a bearer token nor a client certificate was shown"
    )
