"""Settings of the encoder service, in addition to those in `shared.serving`."""

from pathlib import Path
from typing import ClassVar, Literal, Self

from pydantic import Field, field_validator, model_validator
from pydantic_settings import SettingsConfigDict

from compactface.client.channel import KEEPALIVE_S, Tls
from shared.faces.detect import DetectorName, DetectorOptions, Region
from shared.faces.picture import PictureLimits
from shared.serving.process_settings import Port
from shared.serving.settings import KeySetting, ServiceSettings

_LIMITS = PictureLimits()


class EncoderSettings(ServiceSettings):
    """Settings of an encoder."""

    model_config = SettingsConfigDict(env_prefix="COMPACTFACE_ENCODER_")
    table: ClassVar[str] = "encoder"

    port: Port = Field(50051, description="gRPC port; 0 takes a free one")
    metrics_port: Port = Field(9464, description="Prometheus port; 0 takes a free one")
    operating_point: str = Field("", description="codec to use; empty: the model's default")
    runtime: Literal["onnx", "torch"] = Field("onnx", description="what runs CompNet")
    threads: int = Field(1, ge=1, le=256, description="pictures encoded at once, a core each")
    max_image_bytes: int = Field(_LIMITS.max_bytes, ge=1 << 10, description="largest picture file")
    max_image_pixels: int = Field(_LIMITS.max_pixels, ge=1 << 10, description="width times height")
    max_decode_bytes: int = Field(
        _LIMITS.max_memory, ge=1 << 20, description="memory to decode a picture, for each thread"
    )
    max_faces: int = Field(64, ge=1, le=1024, description="most faces of one picture")
    detector: DetectorName = Field("mtcnn", description="what finds faces: mtcnn or fast")
    min_face_size: int = Field(24, ge=12, le=1024, description="smallest face sought, in pixels")
    region_of_interest: str = Field(
        "", description="left,top,right,bottom as fractions of the picture; empty: all of it"
    )
    turned_faces: bool = Field(
        default=False, description="find faces lying and upside down, too; takes four times as long"
    )
    max_stream_in_flight: int = Field(8, ge=1, le=256, description="waiting pictures per stream")
    uplink_target: str = Field("", description="host:port of the recognizer; empty: no uplink")
    uplink_ca: Path | None = Field(None, description="PEM roots of the recognizer's certificate")
    uplink_certificate: Path | None = Field(None, description="PEM chain shown to the recognizer")
    uplink_key: Path | None = Field(None, description="PEM private key of uplink_certificate")
    uplink_token_file: Path | None = Field(
        None, description="file of the bearer token shown to the recognizer"
    )
    uplink_proxy: str = Field("", description="URL of an HTTP proxy on the way; empty: none")
    uplink_keepalive_seconds: float = Field(
        KEEPALIVE_S, ge=0.1, le=3600, description="silence after which the uplink sends a ping"
    )
    uplink_spool: Path = Field(
        Path("spool"),
        description="folder of maps that wait for the recognizer, made if missing",
    )
    uplink_spool_key: KeySetting = Field(
        "",
        repr=False,  # a command may hold a secret, or somebody the key itself
        description="key that encrypts the spool: file:PATH, env:NAME or command:COMMAND",
    )
    uplink_spool_bytes: int = Field(
        256 << 20, ge=16 << 20, description="of the maps that wait; the oldest are dropped beyond"
    )
    uplink_spool_hours: float = Field(
        168.0, gt=0, le=8784, description="how long maps wait before they are dropped"
    )
    uplink_durability: Literal["power", "process"] = Field(
        "power", description="what maps that wait outlive: loss of power, or the process alone"
    )
    # Follows the drain; both fit the ten seconds that container engines wait.
    uplink_flush_seconds: float = Field(2.0, ge=0, le=3600, description="last chance on stopping")

    @property
    def picture_limits(self) -> PictureLimits:
        """Size limits of pictures."""
        return PictureLimits(
            max_bytes=self.max_image_bytes,
            max_pixels=self.max_image_pixels,
            max_memory=self.max_decode_bytes,
        )

    @property
    def detector_options(self) -> DetectorOptions:
        """Options of the face detector."""
        return DetectorOptions(
            name=self.detector,
            min_face_size=self.min_face_size,
            region=Region.parse(self.region_of_interest) if self.region_of_interest else None,
            turned_faces=self.turned_faces,
        )

    @property
    def uplink_tls(self) -> Tls | None:
        """TLS files of the uplink; None: no TLS."""
        if self.uplink_ca is None:
            return None
        return Tls(self.uplink_ca, self.uplink_certificate, self.uplink_key)

    @field_validator("region_of_interest")
    @classmethod
    def _check_region(cls, text: str) -> str:
        if text:
            Region.parse(text)
        return text

    @model_validator(mode="after")
    def _check_uplink(self) -> Self:
        if (self.uplink_certificate is None) != (self.uplink_key is None):
            raise ValueError("uplink_certificate and uplink_key go together; only one is set")
        if self.uplink_certificate is not None and self.uplink_ca is None:
            raise ValueError("uplink_certificate needs uplink_ca")
        if 2 * self.max_image_bytes > self.max_message_bytes:
            raise ValueError(
                f"max_image_bytes {self.max_image_bytes} must be at most half of "
                f"max_message_bytes {self.max_message_bytes}"
            )
        return self
