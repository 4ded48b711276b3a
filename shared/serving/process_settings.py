"""Settings of a process: flags override the environment, then the TOML file, then defaults.

A process subclasses `ProcessSettings`, sets its environment prefix and its table in the file, and
adds its own fields::

    class WebSettings(ProcessSettings):
        model_config = SettingsConfigDict(env_prefix="COMPACTFACE_WEB_")
        table = "web"
        port: Port = 8080
        metrics_port: Port = 9466

`load_settings` collects the values. It rejects unknown keys and reports all errors together,
since a misspelled setting must not silently use its default.
"""

from pathlib import Path
from typing import Annotated, ClassVar, Literal, Self

from pydantic import Field, model_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

Port = Annotated[int, Field(ge=0, le=65535)]
"""A TCP port; 0 selects a free one, which the log event "listening" reports."""


class ProcessSettings(BaseSettings):
    """Common settings of services and gateways. The constructor uses only the values passed."""

    model_config = SettingsConfigDict(
        extra="forbid",
        frozen=True,
        env_ignore_empty=True,  # Compose passes unset variables as empty ones
    )
    table: ClassVar[str]  # the process's table in the TOML file

    host: str = Field("127.0.0.1", description="address to bind; loopback unless TLS is set up")
    port: Port
    metrics_host: str = Field("127.0.0.1", description="address of the Prometheus endpoint")
    metrics_port: Port
    log_format: Literal["json", "console"] = "json"
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    tls_certificate: Path | None = Field(None, description="PEM chain; needs tls_key")
    tls_key: Path | None = Field(None, description="PEM private key of tls_certificate")
    max_in_flight: int = Field(64, ge=1, description="unary requests at once; more are refused")
    # Container engines send SIGKILL after ten seconds.
    drain_seconds: float = Field(8.0, ge=0, le=3600, description="time to finish after SIGTERM")

    @model_validator(mode="after")
    def _check_certificate(self) -> Self:
        if (self.tls_certificate is None) != (self.tls_key is None):
            raise ValueError("tls_certificate and tls_key go together; only one is set")
        return self

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],  # noqa: ARG003 - the library's signature
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Disable pydantic's sources: `load_settings` collects values and tracks their origins."""
        return (init_settings,)
