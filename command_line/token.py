"""`compactface token`: manage bearer tokens in an access file, which services reload on change."""

import os
import tempfile
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from command_line.options import Json
from command_line.output import show_json, show_table
from command_line.spans import parse_span

if TYPE_CHECKING:
    from tomlkit import TOMLDocument

app = typer.Typer(no_args_is_help=True, help="Bearer tokens of an access file.")

Access = Annotated[
    Path,
    typer.Option(
        envvar="COMPACTFACE_ACCESS", dir_okay=False, help="The access file of the services."
    ),
]
_ACCESS = Path("access.toml")
_LONGEST = timedelta(days=1_000_000)


@app.command()
def create(
    name: Annotated[
        str, typer.Argument(help="Owner of the token, shown in logs and audit events.")
    ],
    *,
    role: Annotated[str, typer.Option(help="Role of the token.")],
    scope: Annotated[
        list[str],
        typer.Option(help="Scope of a new role; may be repeated."),
    ] = [],  # noqa: B006 - required by Typer
    collection: Annotated[
        list[str],
        typer.Option(help="Collection of a new role; may be repeated. Default: all."),
    ] = [],  # noqa: B006
    expires_in: Annotated[
        str, typer.Option(metavar="90d|12h|30m", help="Lifetime. Default: unlimited.")
    ] = "",
    access: Access = _ACCESS,
) -> None:
    """Create a token and print it once; the file keeps only its SHA-256."""
    import tomlkit

    from shared.serving.access_file import ALL_COLLECTIONS, digest, new_token, token_id

    lifetime = _lifetime(expires_in)
    document = _read(access)
    if scope or collection:
        if role in document.get("roles", {}):
            raise typer.BadParameter(
                f"{access} has a role {role!r}; --scope and --collection are for new ones"
            )
        roles = document.setdefault("roles", tomlkit.table(is_super_table=True))
        roles[role] = {"scopes": scope, "collections": collection or [ALL_COLLECTIONS]}
    token, now = new_token(), datetime.now(UTC).replace(microsecond=0)
    entry = tomlkit.table()
    entry.update({"name": name, "role": role, "sha256": digest(token), "created": now})
    if lifetime is not None:
        entry["expires"] = now + lifetime
    document.setdefault("tokens", tomlkit.table(is_super_table=True))[token_id(token)] = entry
    _write(access, document)
    typer.echo(token)


@app.command("list")
def list_tokens(*, to_json: Json = False, access: Access = _ACCESS) -> None:
    """List tokens by their prefix."""
    from shared.serving.access_file import TOKEN_PREFIX, AccessFile

    now = datetime.now(UTC)
    tokens = AccessFile.read(access).tokens
    if to_json:
        show_json(
            [
                {"token": TOKEN_PREFIX + key, "state": token.state(now)}
                | token.model_dump(mode="json", exclude={"sha256"})
                for key, token in tokens.items()
            ]
        )
        return
    rows = [
        [
            TOKEN_PREFIX + key,
            token.name,
            token.role,
            token.state(now),
            f"{token.expires:%Y-%m-%d %H:%M}Z" if token.expires else "never",
        ]
        for key, token in tokens.items()
    ]
    show_table(["token", "name", "role", "state", "expires"], rows)


@app.command()
def revoke(
    token: Annotated[str, typer.Argument(help="The token, or its prefix from `list`.")],
    *,
    access: Access = _ACCESS,
) -> None:
    """Revoke a token; services reject it from the next call on."""
    from shared.serving.access_file import token_id

    document = _read(access)
    entry = document.get("tokens", {}).get(token_id(token))
    if entry is None:
        raise typer.BadParameter(f"{access} has no such token")
    if "revoked" not in entry:
        entry["revoked"] = datetime.now(UTC).replace(microsecond=0)
        _write(access, document)
    typer.echo(f"revoked: {entry['name']}")


def _lifetime(text: str) -> timedelta | None:
    if not text:
        return None
    span = parse_span(text)
    if not span or span >= _LONGEST:
        raise typer.BadParameter(f"--expires-in is {text!r}; expected e.g. 90d, 12h or 30m")
    return span


def _read(path: Path) -> "TOMLDocument":
    """Read the file with its comments; an empty document if it is missing."""
    import tomlkit

    from shared.serving.access_file import AccessFile

    if not path.exists():
        return tomlkit.document()
    AccessFile.read(path)
    return tomlkit.parse(path.read_text(encoding="utf-8"))


def _write(path: Path, document: "TOMLDocument") -> None:
    """Validate the document and replace the file atomically."""
    import tomlkit

    from shared.serving.access_file import AccessFile

    text = tomlkit.dumps(document)
    AccessFile.parse(text, path)
    # A temporary file is private; a replaced file keeps its mode.
    handle, name = tempfile.mkstemp(dir=path.resolve().parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        with suppress(FileNotFoundError):
            stat = path.stat()
            Path(name).chmod(stat.st_mode & 0o777)
            with suppress(PermissionError):
                os.chown(name, stat.st_uid, stat.st_gid)
        Path(name).replace(path.resolve())
    except BaseException:
        Path(name).unlink()
        raise
