import os
from pathlib import Path

import pytest

from shared.model_directory import shipped_models
from shared.serving.settings_loader import SettingsError, load_settings
from tests.services.serving.plumbing_service import PlumbingSettings


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in os.environ:
        if name.startswith("COMPACTFACE_"):
            monkeypatch.delenv(name)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "compactface.toml"
    path.write_text("[encoder]\nport = 1000\nmetrics_port = 1001\nfamily = 'file'\n")
    return path


def problems(**options: object) -> tuple[str, ...]:
    with pytest.raises(SettingsError) as caught:
        load_settings(PlumbingSettings, **options)
    assert all(problem in str(caught.value) for problem in caught.value.problems)
    return caught.value.problems


def test_defaults_bind_loopback_only() -> None:
    settings = load_settings(PlumbingSettings)
    assert (settings.host, settings.metrics_host) == ("127.0.0.1", "127.0.0.1")
    assert settings.models == shipped_models()


def test_flags_win_over_environment_over_file_over_defaults(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COMPACTFACE_PLUMBING_PORT", "2000")
    monkeypatch.setenv("COMPACTFACE_PLUMBING_METRICS_PORT", "2001")
    settings = load_settings(PlumbingSettings, config=file, port=3000, family=None)
    assert (settings.port, settings.metrics_port) == (3000, 2001)
    assert (settings.family, settings.log_format) == ("file", "json")


def test_the_file_may_be_named_by_the_environment(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COMPACTFACE_CONFIG", str(file))
    assert load_settings(PlumbingSettings).port == 1000


def test_one_file_may_configure_both_services(file: Path) -> None:
    file.write_text("[recognizer]\nwhatever = 1\n[encoder]\nport = 7\n")
    assert load_settings(PlumbingSettings, config=file).port == 7


def test_an_empty_variable_is_not_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COMPACTFACE_PLUMBING_TLS_KEY", "")
    assert load_settings(PlumbingSettings).tls_key is None


def test_every_bad_key_is_named_where_it_was_set(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file.write_text("[encoder]\nprot = 1\nmax_streams = 0\n")
    monkeypatch.setenv("COMPACTFACE_PLUMBING_PORT", "many")
    monkeypatch.setenv("COMPACTFACE_PLUMBING_REFLECTON", "true")
    found = problems(config=file, max_in_flight=0, log_level="loud")
    expected = [
        ("COMPACTFACE_PLUMBING_REFLECTON", "unknown setting; did you mean reflection?"),
        ("COMPACTFACE_PLUMBING_PORT is 'many'", "integer"),
        ("--log-level is 'loud'", "'debug'"),
        ("--max-in-flight is 0", "greater than or equal to 1"),
        (f"[encoder] max_streams in {file} is 0", "greater than or equal to 1"),
        (f"[encoder] prot in {file}", "unknown setting; did you mean port?"),
    ]
    assert len(found) == len(expected)
    for start, reason in expected:
        assert any(line.startswith(start) and reason in line for line in found), start


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("[encoder\n", "not TOML"),
        ("[encodr]\nport = 1\n", "encodr in"),
        ("port = 1\n", "port in"),
        ("encoder = 1\n", "must be a table"),
    ],
)
def test_a_file_of_another_shape_is_refused(file: Path, text: str, problem: str) -> None:
    file.write_text(text)
    assert problem in problems(config=file)[0]


def test_a_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    missing = tmp_path / "missing.toml"
    assert problems(config=missing) == (f"{missing}: No such file or directory",)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.4", "camera.example"])  # noqa: S104
def test_a_reachable_bind_needs_tls_and_an_access_file_or_insecure(host: str) -> None:
    (problem,) = problems(host=host)
    assert host in problem
    assert "insecure" in problem
    assert load_settings(PlumbingSettings, host=host, insecure=True).host == host
    tls = {"tls_certificate": Path("c"), "tls_key": Path("k")}
    assert host in problems(host=host, **tls)[0]
    assert host in problems(host=host, tls_client_ca=Path("ca"), **tls)[0]
    assert host in problems(host=host, access=Path("a"))[0]
    assert load_settings(PlumbingSettings, host=host, access=Path("a"), **tls).host == host


def test_reachable_metrics_need_an_access_file_or_insecure() -> None:
    host = "192.168.1.4"
    (problem,) = problems(metrics_host=host)
    assert host in problem
    assert "access" in problem
    assert load_settings(PlumbingSettings, metrics_host=host, insecure=True).metrics_host == host
    told = load_settings(PlumbingSettings, metrics_host=host, access=Path("a"))
    assert told.metrics_host == host


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.8.8", "::1", "localhost"])
def test_loopback_needs_no_tls(host: str) -> None:
    assert load_settings(PlumbingSettings, host=host).host == host


def test_half_a_tls_configuration_is_refused() -> None:
    assert "go together" in problems(tls_certificate=Path("c"))[0]
    assert "go together" in problems(tls_key=Path("k"))[0]
    assert "needs tls_certificate" in problems(tls_client_ca=Path("ca"))[0]
