"""Settings of the two services; `process_settings` has those of every process."""

from pathlib import Path
from typing import Annotated, Self

from pydantic import AfterValidator, Field, model_validator

from shared.hosts import is_loopback
from shared.model_directory import ModelDirectory, shipped_models
from shared.model_directory.signature import Signer
from shared.serving.process_settings import ProcessSettings
from shared.storage_key import KeySource


def _checked_source(text: str) -> str:
    if text:
        KeySource.parse(text)
    return text


KeySetting = Annotated[str, AfterValidator(_checked_source)]
"""Where a key is read from, as `KeySource.parse` takes it; "": there is none."""


class ServiceSettings(ProcessSettings):
    """Common settings of both services.

    A bind address that other machines can reach requires TLS and an access file, unless `insecure`
    is set.
    """

    models: Path = Field(
        default_factory=shipped_models,
        description="folder of model families; by default that of the shipped model",
    )
    family: str = Field("default", min_length=1, description="model family to serve")
    model_public_key: Path | None = Field(
        None, description="PEM file of the Ed25519 key that models must be signed with"
    )
    reflection: bool = Field(False, description="answer gRPC server reflection")
    insecure: bool = Field(False, description="allow a non-loopback bind without TLS and access")
    access: Path | None = Field(
        None, description="TOML file of roles, certificates and tokens: who may do what"
    )
    tls_client_ca: Path | None = Field(None, description="PEM roots that client certificates need")
    # A single client gets at most four fifths: 64 and 256.
    max_in_flight: int = Field(80, ge=1, description="unary requests at once; more are refused")
    max_streams: int = Field(320, ge=1, description="streams at once; more are refused")
    max_receiving: int = Field(
        640, ge=1, description="unary requests on their way at once; more are refused"
    )
    # With 1024 file descriptors, the usual limit, half remain for other uses.
    max_connections: int = Field(512, ge=1, description="connections at once; more are closed")
    receive_seconds: float = Field(
        10.0, gt=0, le=3600, description="a unary request not complete by then is refused"
    )
    handshake_seconds: float = Field(
        10.0, gt=0, le=3600, description="connections not set up by then are closed"
    )
    idle_seconds: float = Field(
        600.0, gt=0, le=86400, description="connections without a call for so long are closed"
    )
    # Far above the domain's own limits, which produce typed errors for the item at fault, while
    # gRPC ends the whole call. Clients rely on the minimum.
    max_message_bytes: int = Field(64 << 20, ge=1 << 20, le=1 << 30, description="gRPC message cap")
    # The compactface clients ping every 30 s.
    min_ping_seconds: float = Field(
        20.0, gt=0, le=3600, description="clients that ping more often are cut off"
    )

    def load_model(self) -> ModelDirectory:
        """Load the current model of the family, signed if `model_public_key` is set.

        Raises:
            InvalidModel: as `ModelDirectory.load` and `Signer.read`.
        """
        signer = Signer.read(self.model_public_key) if self.model_public_key else None
        return ModelDirectory.load(self.models, self.family, signer=signer)

    @property
    def mutual_tls(self) -> bool:
        """Whether clients must present a certificate of `tls_client_ca`."""
        return self.tls_certificate is not None and self.tls_client_ca is not None

    @model_validator(mode="after")
    def _check_tls(self) -> Self:
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
