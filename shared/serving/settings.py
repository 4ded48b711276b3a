"""Settings of a service: flags over environment over TOML file over defaults.

A service subclasses `ServiceSettings`, names its environment prefix and its table in the
file, and adds its own fields::

    class EncoderSettings(ServiceSettings):
        model_config = SettingsConfigDict(env_prefix="COMPACTFACE_ENCODER_")
        table = "encoder"
        port: Port = 50051
        metrics_port: Port = 9464

`load_settings` gathers the values and refuses whatever it does not know, naming every bad
key at once: a misspelt setting must not silently fall back to its default.
"""

import ipaddress
from pathlib import Path
from typing import Annotated, ClassVar, Literal, Self

from pydantic import Field, model_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from shared.model_directory.shipped import shipped_models

Port = Annotated[int, Field(ge=0, le=65535)]
"""A TCP port; 0 takes a free one, which the log line "listening" then names."""


class ServiceSettings(BaseSettings):
    """What both services share. Constructed directly it takes exactly the values given.

    A bind that other machines can reach is refused without TLS and an access file, unless
    `insecure` says that this is meant.
    """

    model_config = SettingsConfigDict(
        extra="forbid",
        frozen=True,
        env_ignore_empty=True,  # Compose passes unset variables as empty ones
    )
    table: ClassVar[str]  # the service's table in the TOML file

    host: str = Field("127.0.0.1", description="address to bind; loopback unless TLS is set up")
    port: Port
    metrics_host: str = Field("127.0.0.1", description="address of the Prometheus endpoint")
    metrics_port: Port
    models: Path = Field(
        default_factory=shipped_models,
        description="folder of model families; by default that of the shipped model",
    )
    family: str = Field("default", min_length=1, description="model family to serve")
    log_format: Literal["json", "console"] = "json"
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    reflection: bool = Field(False, description="answer gRPC server reflection")
    insecure: bool = Field(False, description="allow a non-loopback bind without TLS and access")
    access: Path | None = Field(
        None, description="TOML file of roles, certificates and tokens: who may do what"
    )
    tls_certificate: Path | None = Field(None, description="PEM chain; needs tls_key")
    tls_key: Path | None = Field(None, description="PEM private key of tls_certificate")
    tls_client_ca: Path | None = Field(None, description="PEM roots that client certificates need")
    max_in_flight: int = Field(64, ge=1, description="unary requests at once; more are refused")
    max_streams: int = Field(256, ge=1, description="streams at once; more are refused")
    # Container engines wait ten seconds before they kill.
    drain_seconds: float = Field(8.0, ge=0, le=3600, description="time to finish after SIGTERM")
    # Far above the domain's own limits: those answer with typed errors, for the item at fault
    # alone, while gRPC ends the whole call. Clients count on the least value.
    max_message_bytes: int = Field(64 << 20, ge=1 << 20, le=1 << 30, description="gRPC message cap")
    # Clients of ours ping every 30 s.
    min_ping_seconds: float = Field(
        20.0, gt=0, le=3600, description="clients that ping more often are cut off"
    )

    @property
    def mutual_tls(self) -> bool:
        """Whether clients must present a certificate of `tls_client_ca`."""
        return self.tls_certificate is not None and self.tls_client_ca is not None

    @model_validator(mode="after")
    def _check_tls(self) -> Self:
        if (self.tls_certificate is None) != (self.tls_key is None):
            raise ValueError("tls_certificate and tls_key go together; only one is set")
        if self.tls_client_ca is not None and self.tls_certificate is None:
            raise ValueError("tls_client_ca needs tls_certificate and tls_key")
        if self.insecure:
            return self
        if not is_loopback(self.host) and not (self.tls_certificate and self.access):
            raise ValueError(
                f"host {self.host!r} is reachable from other machines: set tls_certificate, "
                "tls_key and access, or insecure if the network in between is trusted"
            )
        if not (is_loopback(self.metrics_host) or self.access):
            raise ValueError(
                f"metrics_host {self.metrics_host!r} is reachable from other machines: set "
                "access, or insecure if the network in between is trusted"
            )
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
        """Leave gathering to `load_settings`, which knows where each value came from."""
        return (init_settings,)


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches `host`; names other than localhost count as reachable."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
