"""The key that encrypts a database file, and where it is read from."""

import base64
import binascii
import hmac
import os
import shlex
import stat
import subprocess
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from shared.errors import FailedPrecondition

KEY_BYTES = 32
COMMAND_PATIENCE_S = 30.0
_FORMS = "file:PATH, env:NAME or command:COMMAND"
_MARK = b"cfE1"
_SALT_BYTES = 16
_PLAIN = b"SQLite format 3\0"


@dataclass(frozen=True, slots=True)
class StorageKey:
    """A key of AES-256.

    Attributes:
        secret: 32 random bytes.
    """

    secret: bytes = field(repr=False)

    @property
    def salt(self) -> bytes:
        """The first 16 bytes of every file with this key; they tell nothing about it.

        SQLCipher stores its salt there. It protects weak passwords, which these keys are not, so
        that it can tell whether the key is the right one.
        """
        return (
            _MARK + hmac.digest(self.secret, b"compactface", "sha256")[: _SALT_BYTES - len(_MARK)]
        )

    @classmethod
    def parse(cls, text: str, *, source: str) -> Self:
        """Parse a key in hex or base64.

        Raises:
            FailedPrecondition: STORAGE_KEY_INVALID; the message does not contain the text.
        """
        text = text.strip()
        try:
            hexadecimal = len(text) == 2 * KEY_BYTES
            secret = bytes.fromhex(text) if hexadecimal else base64.b64decode(text, validate=True)
        except (ValueError, binascii.Error):
            secret = b""
        if len(secret) != KEY_BYTES:
            raise FailedPrecondition(
                "STORAGE_KEY_INVALID",
                f"{source} gives {len(text)} characters, which are not a key: it must be "
                f"{KEY_BYTES} bytes as hex or base64, as of `openssl rand -hex {KEY_BYTES}`",
            )
        return cls(secret)


@dataclass(frozen=True, slots=True)
class KeySource:
    """Where a key is read from.

    Attributes:
        kind: "file", "env" or "command".
        name: path of the file, name of the environment variable, or the command line.
    """

    kind: str
    name: str

    @classmethod
    def parse(cls, text: str) -> Self:
        """Parse "file:PATH", "env:NAME" or "command:COMMAND".

        Raises:
            ValueError: another form; the message does not contain the text, which may be a key.
        """
        kind, _, name = text.partition(":")
        if kind not in {"file", "env", "command"} or not name.strip():
            raise ValueError(f"must be {_FORMS}, and never the key itself")
        return cls(kind, name)

    def __str__(self) -> str:
        """The source without the arguments of a command, which may be secret."""
        return f"{self.kind}:{self.name.split()[0] if self.kind == 'command' else self.name}"

    def read(self) -> StorageKey:
        """Read the key.

        A command is executed without a shell; it prints the key within 30 s and exits with 0.

        Raises:
            FailedPrecondition: STORAGE_KEY_UNAVAILABLE, STORAGE_KEY_NOT_PRIVATE (others can read
                the file), or STORAGE_KEY_INVALID.
        """
        match self.kind:
            case "file":
                text = self._from_file()
            case "env":
                text = self._from_environment()
            case _:
                text = self._from_command()
        return StorageKey.parse(text, source=str(self))

    def _from_file(self) -> str:
        try:
            with Path(self.name).open("rb") as file:
                mode = os.fstat(file.fileno()).st_mode
                if mode & stat.S_IRWXO:
                    raise FailedPrecondition(
                        "STORAGE_KEY_NOT_PRIVATE",
                        f"every user of the machine can open {self} (mode {mode & 0o777:o}): "
                        "remove the permissions of others (chmod o= FILE)",
                    )
                return file.read(1024).decode("ascii", errors="replace")
        except OSError as error:
            raise self._unavailable(error.strerror or str(error)) from None

    def _from_environment(self) -> str:
        try:
            return os.environ[self.name]
        except KeyError:
            raise self._unavailable("the variable is not set") from None

    def _from_command(self) -> str:
        try:
            done = subprocess.run(  # noqa: S603 - the operator's own command
                shlex.split(self.name),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                timeout=COMMAND_PATIENCE_S,
                check=True,
            )
        except subprocess.CalledProcessError as error:
            raise self._unavailable(f"it exited with {error.returncode}") from None
        except subprocess.TimeoutExpired:
            raise self._unavailable(f"it took longer than {COMMAND_PATIENCE_S:g} s") from None
        except (OSError, ValueError) as error:
            raise self._unavailable(str(error)) from None
        return done.stdout.decode("ascii", errors="replace")

    def _unavailable(self, reason: str) -> FailedPrecondition:
        return FailedPrecondition(
            "STORAGE_KEY_UNAVAILABLE", f"the key cannot be read from {self}: {reason}"
        )


def is_encrypted(header: bytes) -> bool:
    """Return whether the first 16 bytes of a file are those of an encrypted one."""
    return header.startswith(_MARK)


def check_key(header: bytes, key: StorageKey | None, *, name: str) -> None:
    """Check that a key is the one of a file, before the file is opened.

    A file that is neither encrypted nor a database is left to SQLite, as an empty one is.

    Args:
        header: the first 16 bytes of the file, fewer if it is shorter.
        key: the key; None if none is set.
        name: of the file, for messages.

    Raises:
        FailedPrecondition: STORAGE_KEY_MISSING, STORAGE_KEY_WRONG or STORAGE_NOT_ENCRYPTED.
    """
    if key is None:
        if is_encrypted(header):
            raise FailedPrecondition(
                "STORAGE_KEY_MISSING", f"{name} is encrypted, and no key is set"
            )
    elif is_encrypted(header) and header[:_SALT_BYTES] != key.salt:
        raise FailedPrecondition("STORAGE_KEY_WRONG", f"{name} is encrypted with another key")
    elif header.startswith(_PLAIN):
        raise FailedPrecondition(
            "STORAGE_NOT_ENCRYPTED", f"a key is set, and {name} is not encrypted"
        )
