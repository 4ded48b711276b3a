"""What names a gallery: a file, or a database on a server."""

from pathlib import Path

from pydantic import SecretStr

Location = Path | SecretStr
"""A SQLite file, or a postgresql:// URL, which may hold a password and so does not print."""


def parse_location(text: str) -> Location:
    """A location as people write it."""
    is_url = text.startswith(("postgresql://", "postgres://"))
    return SecretStr(text.replace("postgres://", "postgresql://", 1)) if is_url else Path(text)
