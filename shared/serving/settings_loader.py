"""Collect the values of a `ProcessSettings` and report all of their errors."""

import difflib
import os
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

import pydantic
import pydantic_settings
from pydantic_core import ErrorDetails

from shared.serving.process_settings import ProcessSettings

CONFIG_VARIABLE = "COMPACTFACE_CONFIG"
"""Environment variable with the path of the TOML file, if `--config` is not given."""

TABLES = frozenset({"encoder", "recognizer", "web"})
"""Tables that a file may have: one file can configure all processes."""

Settings = TypeVar("Settings", bound=ProcessSettings)


class SettingsError(Exception):
    """The settings are invalid. The command line prints the error and exits with 2.

    Attributes:
        problems: one line each, with the key as it was set and the error.
    """

    def __init__(self, problems: Iterable[str]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n  ".join(["these settings cannot be used:", *self.problems]))


def load_settings(cls: type[Settings], *, config: Path | None = None, **flags: Any) -> Settings:
    """Load settings from flags, the environment, the TOML file and defaults, in this order.

    Args:
        cls: the process's settings.
        config: the TOML file; None uses the one named by `CONFIG_VARIABLE`, if any.
        flags: field values from the command line; None means not given.

    Raises:
        SettingsError: there are unknown keys or invalid values; the error names all of them.
    """
    flags = {name: value for name, value in flags.items() if value is not None}
    path = config or _path_from_environment()
    table = _read_table(path, cls.table)
    environment = _read_environment(cls)
    problems = [*_unknown_variables(cls)]
    try:
        settings = cls(**{**table, **environment, **flags})
    except pydantic.ValidationError as error:
        origins = {
            **{key: f"[{cls.table}] {key} in {path}" for key in table},
            **{key: f"{_prefix(cls)}{key}".upper() for key in environment},
            **{key: f"--{key}".replace("_", "-") for key in flags},
        }
        problems += [_describe(cls, detail, origins) for detail in error.errors()]
        raise SettingsError(problems) from None
    if problems:
        raise SettingsError(problems)
    return settings


def _path_from_environment() -> Path | None:
    name = os.environ.get(CONFIG_VARIABLE)
    return Path(name) if name else None


def _read_table(path: Path | None, name: str) -> dict[str, Any]:
    if path is None:
        return {}
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise SettingsError([f"{path}: {error.strerror}"]) from None
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise SettingsError([f"{path}: not TOML: {error}"]) from None
    strangers = document.keys() - TABLES
    if strangers:
        known = ", ".join(f"[{table}]" for table in sorted(TABLES))
        raise SettingsError(
            f"{key} in {path}: unknown; known: {known}" for key in sorted(strangers)
        )
    table = document.get(name, {})
    if not isinstance(table, dict):
        raise SettingsError([f"{name} in {path}: must be a table, [{name}]"])
    return table


def _read_environment(cls: type[ProcessSettings]) -> dict[str, Any]:
    try:
        return pydantic_settings.EnvSettingsSource(cls)()
    except pydantic_settings.SettingsError as error:  # for example, a list that is not JSON
        raise SettingsError([str(error)]) from None


def _prefix(cls: type[ProcessSettings]) -> str:
    return cls.model_config["env_prefix"]


def _unknown_variables(cls: type[ProcessSettings]) -> Iterator[str]:
    prefix = _prefix(cls).lower()
    for name in sorted(os.environ):
        key = name.lower().removeprefix(prefix)
        if name.lower().startswith(prefix) and key not in cls.model_fields:
            yield f"{name}: {_unknown(cls, key)}"


def _unknown(cls: type[ProcessSettings], key: str) -> str:
    near = difflib.get_close_matches(key, cls.model_fields, n=1)
    return f"unknown setting; did you mean {near[0]}?" if near else "unknown setting"


def _describe(cls: type[ProcessSettings], detail: ErrorDetails, origins: Mapping[str, str]) -> str:
    """Describe one problem: where the value was set, the value, the error."""
    if not detail["loc"]:  # a rule over several fields
        return str(detail["ctx"]["error"])
    key = str(detail["loc"][0])
    origin = origins.get(key, key)
    if detail["type"] == "extra_forbidden":
        return f"{origin}: {_unknown(cls, key)}"
    if detail["type"] == "missing":
        return f"{origin}: not set"
    # Secret fields have repr=False.
    shown = f" is {detail['input']!r:.80}" if cls.model_fields[key].repr else ""
    message = detail["msg"].removeprefix("Value error, ")
    return f"{origin}{shown}: {message[0].lower()}{message[1:]}"
