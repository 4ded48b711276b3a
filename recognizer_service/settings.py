"""Settings of the recognizer service; those shared with the encoder are in `shared`."""

from pathlib import Path
from typing import Annotated, ClassVar, Literal, Self

from pydantic import (
    AwareDatetime,
    BeforeValidator,
    Field,
    SecretStr,
    model_validator,
)
from pydantic_settings import SettingsConfigDict

from recognizer_service.core.alerts.mqtt import check_broker_url
from recognizer_service.gallery.index.local_cache import IndexForm
from recognizer_service.gallery.storage.locations import (
    Location,
    Milvus,
    MilvusIndexType,
    parse_location,
)
from shared.serving.process_settings import Port
from shared.serving.settings import KeySetting, ServiceSettings
from shared.storage_key import KeySource


class RecognizerSettings(ServiceSettings):
    """Settings of the recognizer service."""

    model_config = SettingsConfigDict(env_prefix="COMPACTFACE_RECOGNIZER_")
    table: ClassVar[str] = "recognizer"

    port: Port = Field(50052, description="gRPC port; 0 takes a free one")
    metrics_port: Port = Field(9465, description="Prometheus port; 0 takes a free one")
    gallery: Annotated[str, BeforeValidator(str)] = Field(
        "gallery.sqlite",
        repr=False,  # a URL may hold a password
        description="SQLite file, made if missing, or postgresql:// URL",
    )
    gallery_key: KeySetting = Field(
        "",
        repr=False,  # a command may hold a secret, or somebody the key itself
        description="key of an encrypted SQLite file: file:PATH, env:NAME or command:COMMAND",
    )
    gallery_reserve: bool = Field(
        True, description="keep 16 MiB beside a SQLite file, for deletions on a full disk"
    )
    milvus: str = Field("", description="URI of Milvus, to share a PostgreSQL gallery's index")
    milvus_token: SecretStr | None = Field(None, description="user:password, or an API key")
    milvus_index: MilvusIndexType = Field("FLAT", description="of indexes made from now on")
    audit_days: int = Field(365, ge=1, le=36500, description="how long audit events are kept")
    clock_confirmed: AwareDatetime | None = Field(
        None, description="the right time, to confirm a system clock that jumped"
    )
    device: Literal["cpu", "cuda"] = Field("cpu", description="where inference runs")
    precision: Literal["auto", "float32", "bfloat16"] = Field(
        "auto", description="number format of inference"
    )
    torch_threads: int = Field(1, ge=1, le=256, description="cores for inference on the CPU")
    index: IndexForm = Field("auto", description="how the gallery keeps faces in memory")
    faiss_threads: int = Field(1, ge=1, le=256, description="cores for one search")
    gallery_threads: int = Field(16, ge=1, le=64, description="reads of the gallery at once")
    max_batch: int = Field(32, ge=1, le=1024, description="maps in one pass of the networks")
    max_batch_wait_ms: float = Field(2.0, ge=0, le=1000, description="wait for company, in ms")
    max_queue: int = Field(512, ge=1, description="maps that may wait for inference")
    max_batch_items: int = Field(64, ge=1, le=1024, description="items of one BatchIdentify")
    min_quality: float = Field(0.15, ge=0, le=1, description="below: nothing is concluded")
    # Limits for callers without the scope admin; see docs/access.md.
    failed_verifications: int = Field(
        20, ge=1, description="that a caller may fail against one subject, at once"
    )
    failed_verification_seconds: float = Field(
        600.0, gt=0, description="until a caller may fail once more"
    )
    near_misses: int = Field(
        200, ge=1, description="identifications of a caller that nearly match, at once"
    )
    near_miss_seconds: float = Field(6.0, gt=0, description="until there may be one more")
    stream_collection: str = Field("default", description="where streamed maps are stored")
    watch_patience_seconds: float = Field(
        30.0, gt=0, le=3600, description="watchers that take longer to read a sighting are dropped"
    )
    webhook_timeout_seconds: float = Field(
        10.0, gt=0, le=300, description="how long a webhook may take to answer"
    )
    webhook_ca: Path | None = Field(None, description="PEM roots of webhooks, for the system's")
    mqtt: str = Field("", description="broker for alerts: mqtts://user@host:port")
    mqtt_password: SecretStr | None = Field(None, description="of the user at the broker")
    mqtt_ca: Path | None = Field(None, description="PEM roots of the broker")

    def location(self) -> Location:
        """The location of the gallery."""
        milvus = Milvus(self.milvus, self.milvus_token, self.milvus_index) if self.milvus else None
        key = KeySource.parse(self.gallery_key) if self.gallery_key else None
        return parse_location(self.gallery, milvus, key)

    @model_validator(mode="after")
    def _check_location(self) -> Self:
        self.location()
        return self

    @model_validator(mode="after")
    def _check_broker(self) -> Self:
        if self.mqtt:
            check_broker_url(self.mqtt, insecure=self.insecure)
        return self
