"""Access files for tests, and the tokens that they know."""

from collections.abc import Collection
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import tomlkit

from shared.serving.access_file import digest, new_token, token_id


@dataclass
class AccessFolder:
    """A file that grows by what a test needs."""

    path: Path
    _roles: dict[str, dict[str, list[str]]] = field(default_factory=dict)
    _tokens: dict[str, dict[str, object]] = field(default_factory=dict)
    _certificates: dict[str, str] = field(default_factory=dict)

    def role(self, scopes: Collection[str], collections: Collection[str]) -> str:
        """The name of a role, made if need be."""
        name = "+".join(sorted(scopes)) + "@" + "+".join(sorted(collections))
        self._roles[name] = {"scopes": sorted(scopes), "collections": sorted(collections)}
        self._write()
        return name

    def token(
        self,
        *scopes: str,
        collections: Collection[str] = ("*",),
        expires_in: timedelta | None = None,
        revoked: bool = False,
        name: str = "tester",
    ) -> str:
        """A token of a role with these rights."""
        token, now = new_token(), datetime.now(UTC)
        entry = {
            "name": name,
            "role": self.role(scopes, collections),
            "sha256": digest(token),
            "created": now,
        }
        if expires_in is not None:
            entry["expires"] = now + expires_in
        if revoked:
            entry["revoked"] = now
        self._tokens[token_id(token)] = entry
        self._write()
        return token

    def certificate(self, name: str, *scopes: str, collections: Collection[str] = ("*",)) -> None:
        """Give a role to whoever shows a certificate of this name."""
        self._certificates[name] = self.role(scopes, collections)
        self._write()

    def revoke(self, token: str) -> None:
        """Withdraw a token."""
        self._tokens[token_id(token)]["revoked"] = datetime.now(UTC)
        self._write()

    def change(self, token: str, *scopes: str, collections: Collection[str] = ("*",)) -> None:
        """Give a token other rights."""
        self._tokens[token_id(token)]["role"] = self.role(scopes, collections)
        self._write()

    def _write(self) -> None:
        document = {
            "roles": self._roles,
            "certificates": self._certificates,
            "tokens": self._tokens,
        }
        self.path.write_text(tomlkit.dumps(document), encoding="utf-8")


def bearer(token: str) -> tuple[tuple[str, str], ...]:
    """The metadata of a call that shows a token."""
    return (("authorization", f"Bearer {token}"),)
