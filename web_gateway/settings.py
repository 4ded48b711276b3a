"""Settings of the web gateway, in addition to those in `shared.serving`."""

from pathlib import Path
from typing import ClassVar, Self

from pydantic import Field, SecretStr, model_validator
from pydantic_settings import SettingsConfigDict

from compactface.client import Tls
from shared.hosts import is_loopback
from shared.serving.process_settings import Port, ProcessSettings


class WebSettings(ProcessSettings):
    """Settings of a web gateway."""

    model_config = SettingsConfigDict(env_prefix="COMPACTFACE_WEB_")
    table: ClassVar[str] = "web"

    port: Port = Field(8080, description="HTTP port; 0 takes a free one")
    metrics_port: Port = Field(9466, description="Prometheus port; 0 takes a free one")
    insecure: bool = Field(False, description="allow a non-loopback bind without TLS")
    names: str = Field(
        "",
        description="host names that browsers may call this gateway by, with commas in between; "
        "empty: those of loopback while bound to it, else all",
    )
    encoder_target: str = Field("localhost:50051", description="host:port of the encoder")
    encoder_ca: Path | None = Field(None, description="PEM roots of the encoder's certificate")
    # An edge encoder often has its own access file, without the tokens of callers here.
    encoder_token: SecretStr | None = Field(
        None,
        description="bearer token for photographs of callers that the recognizer knows; empty: "
        "the caller's own",
    )
    recognizer_target: str = Field("localhost:50052", description="host:port of the recognizer")
    recognizer_ca: Path | None = Field(None, description="PEM roots of the recognizer")
    tls_client_certificate: Path | None = Field(None, description="PEM chain shown to both")
    tls_client_key: Path | None = Field(None, description="PEM key of tls_client_certificate")
    max_watchers: int = Field(64, ge=1, description="readers of live sightings at once")
    max_requests_per_second: float = Field(
        50.0, gt=0, le=1e6, description="of each caller; ten seconds' worth may come at once"
    )
    timeout_seconds: float = Field(
        10.0, gt=0, le=600, description="deadline of each call of a service"
    )
    max_upload_bytes: int = Field(
        16 << 20, ge=1 << 10, le=1 << 29, description="largest body with a photograph"
    )
    upload_seconds: float = Field(30.0, gt=0, le=3600, description="time for a body to arrive")
    session_hours: float = Field(
        12.0, gt=0, le=720, description="after which the console asks for the token again"
    )

    @property
    def encoder_tls(self) -> Tls | None:
        """TLS files for the encoder; None: plaintext."""
        return self._tls(self.encoder_ca)

    @property
    def recognizer_tls(self) -> Tls | None:
        """TLS files for the recognizer; None: plaintext."""
        return self._tls(self.recognizer_ca)

    @property
    def known_names(self) -> frozenset[str]:
        """The accepted host names; empty: all."""
        if self.names or not is_loopback(self.host):
            return frozenset(name.strip().lower() for name in self.names.split(",") if name.strip())
        return frozenset({"localhost", "127.0.0.1", "[::1]", self.host})

    def _tls(self, ca: Path | None) -> Tls | None:
        if ca is None:
            return None
        return Tls(ca, self.tls_client_certificate, self.tls_client_key)

    @model_validator(mode="after")
    def _check(self) -> Self:
        if (self.tls_client_certificate is None) != (self.tls_client_key is None):
            raise ValueError("tls_client_certificate and tls_client_key go together")
        if self.insecure:
            return self
        if not is_loopback(self.host) and self.tls_certificate is None:
            raise ValueError(
                f"host {self.host!r} is reachable from other machines: set tls_certificate and "
                "tls_key, or insecure if the network in between is trusted"
            )
        if not is_loopback(self.metrics_host):
            raise ValueError(
                f"metrics_host {self.metrics_host!r} is reachable from other machines: set "
                "insecure if the network in between is trusted"
            )
        return self
