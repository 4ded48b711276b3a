"""The access file, and the commands that write it."""

import json
import ssl
import stat
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from command_line.main import app
from shared.errors import Unauthenticated
from shared.serving.access_file import Access, AccessFile, identify
from shared.serving.settings_loader import SettingsError


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "access.toml"


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, [*map(str, arguments)])


def create(path: Path, *more: str) -> str:
    result = run("token", "create", "desk", "--access", path, "--role", "desk", *more)
    assert result.exit_code == 0, result.output
    return result.stdout.strip()


def bearer(token: str) -> dict[str, str]:
    return {"authorization": f"Bearer {token}"}


def test_a_new_token_has_the_role_that_was_stated(path: Path) -> None:
    token = create(path, "--scope", "verify", "--collection", "lobby")
    caller = identify(AccessFile.read(path), bearer(token), None)
    assert caller.name == "desk"
    assert caller.role.grants("verify")
    assert not caller.role.grants("identify")
    assert caller.role.includes("lobby")
    assert not caller.role.includes("vault")
    assert not caller.role.includes("*")


def test_the_file_holds_no_token_and_is_its_owners_alone(path: Path) -> None:
    token = create(path, "--scope", "verify")
    assert token.rpartition("_")[2] not in path.read_text(encoding="utf-8")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_what_a_person_wrote_stays(path: Path) -> None:
    path.write_text('# the door\n[roles.desk]\nscopes = ["verify"]\ncollections = ["*"]\n')
    path.chmod(0o640)
    create(path)
    assert path.read_text(encoding="utf-8").startswith("# the door\n[roles.desk]")
    assert stat.S_IMODE(path.stat().st_mode) == 0o640


def test_a_token_expires(path: Path) -> None:
    token = create(path, "--scope", "verify", "--expires-in", "90d")
    file, now = AccessFile.read(path), datetime.now(UTC)
    identify(file, bearer(token), None, now + timedelta(days=89))
    with pytest.raises(Unauthenticated, match="expired"):
        identify(file, bearer(token), None, now + timedelta(days=91))


def test_a_revoked_token_is_listed_and_refused(path: Path) -> None:
    token = create(path, "--scope", "verify")
    assert run("token", "revoke", token[:11], "--access", path).exit_code == 0
    listed = json.loads(run("token", "list", "--json", "--access", path).stdout)
    assert [(entry["token"], entry["state"]) for entry in listed] == [(token[:11], "revoked")]
    with pytest.raises(Unauthenticated, match="revoked"):
        identify(AccessFile.read(path), bearer(token), None)


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (["--expires-in", "soon"], "90d, 12h or 30m"),
        (["--scope", "everything"], "roles.desk.scopes"),
        ([], "no role 'desk'"),
    ],
)
def test_a_token_that_cannot_be_is_not_made(path: Path, more: list[str], words: str) -> None:
    result = run("token", "create", "desk", "--access", path, "--role", "desk", *more)
    assert result.exit_code == 2
    assert words in result.output
    assert not path.exists()
    assert not list(path.parent.iterdir())


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("[roles", "not TOML"),
        ("[role.desk]", "role: Extra inputs"),
        ('[roles.a]\nscopes = ["all"]\ncollections = ["*"]', "roles.a.scopes.0"),
        ('[roles.a]\nscopes = ["verify"]', "roles.a.collections"),
        ('[certificates]\ngate = "a"', "certificates.gate: no role 'a'; defined: none"),
    ],
)
def test_a_file_that_says_something_impossible_is_refused(
    path: Path, content: str, words: str
) -> None:
    path.write_text(content)
    with pytest.raises(SettingsError, match=r"access\.toml") as refused:
        Access(path)
    assert words in str(refused.value)


@pytest.mark.parametrize("header", ["", "Basic eHg6eQ==", "cf_abcdefgh_x", "Bearer", "Bearer cf_"])
def test_a_malformed_header_is_nobodys(path: Path, header: str) -> None:
    create(path, "--scope", "verify")
    with pytest.raises(Unauthenticated):
        identify(AccessFile.read(path), {"authorization": header}, "desk")


def test_certificates_of_the_command_fit_each_other(tmp_path: Path) -> None:
    assert run("certs", "authority", "--out", tmp_path).exit_code == 0
    assert run("certs", "issue", "gate", "--host", "gate.lan", "--out", tmp_path).exit_code == 0
    assert stat.S_IMODE((tmp_path / "gate.key").stat().st_mode) == 0o600
    context = ssl.create_default_context(cafile=str(tmp_path / "ca.pem"))
    context.load_cert_chain(tmp_path / "gate.pem", tmp_path / "gate.key")
    again = run("certs", "issue", "gate", "--out", tmp_path)
    assert again.exit_code == 1
    assert "gate.key: File exists" in again.output


def test_an_authority_is_not_given_another_key(tmp_path: Path) -> None:
    assert run("certs", "authority", "--out", tmp_path).exit_code == 0
    (tmp_path / "ca.key").rename(tmp_path / "kept.key")
    assert run("certs", "authority", "--out", tmp_path).exit_code == 1
    assert not (tmp_path / "ca.key").exists()
    assert run("certs", "authority", "--out", tmp_path / "other").exit_code == 0
    (tmp_path / "other" / "ca.key").rename(tmp_path / "ca.key")
    assert run("certs", "issue", "gate", "--out", tmp_path).exit_code == 2
    assert not (tmp_path / "gate.key").exists()
