"""Settings of the gateway and its cameras: flags override the TOML file, then defaults.

A file for several cameras::

    encoder = "localhost:50051"

    [[cameras]]
    name = "door"
    source = "rtsp://user:password@192.168.1.20/stream1"
    min_face_size = 60

    [[cameras]]
    name = "hall"
    source = "/dev/video0"
"""

import difflib
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, Self

import pydantic
from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator
from pydantic_core import ErrorDetails

from shared.faces.detect import DetectorName, DetectorOptions, Region
from shared.hosts import is_loopback
from shared.serving.process_settings import Port
from shared.serving.settings_loader import SettingsError


class CameraSettings(BaseModel):
    """Settings of one camera."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    source: str = Field(min_length=1, repr=False, description="see `parse_source`")
    name: str = Field(
        "",
        pattern=r"^[A-Za-z0-9._-]{0,64}$",
        description="in sightings, metrics, logs and file names",
    )
    every: int = Field(
        0, ge=0, le=1000, description="look at every n-th frame; 0: 3 of video, 1 of pictures"
    )
    interval_seconds: float = Field(
        0, ge=0, le=86400, description="pictures: look again after so long; 0: once"
    )
    detector: DetectorName = Field("fast", description="what finds faces: fast or mtcnn")
    min_face_size: int = Field(40, ge=12, le=1024, description="smallest face sought, in pixels")
    region_of_interest: str = Field(
        "", description="left,top,right,bottom as fractions of the frame; empty: all of it"
    )
    turned_faces: bool = Field(
        default=False, description="find faces lying and upside down, too; takes four times as long"
    )
    min_quality: float = Field(0.2, ge=0, le=1, description="faces below are not forwarded")
    good_quality: float = Field(0.75, ge=0, le=1, description="a face as good is forwarded at once")
    settle_seconds: float = Field(
        1.0, ge=0, le=3600, description="of a visit, before its best face so far is forwarded"
    )
    better_by: float = Field(
        0.2, gt=0, le=1, description="of a visit already forwarded: quality that a better face adds"
    )
    again_seconds: float = Field(
        60.0, gt=0, le=86400, description="of a visit already forwarded: forwarded again after"
    )
    lost_seconds: float = Field(
        2.0, gt=0, le=3600, description="without the face, after which a visit has ended"
    )
    stall_seconds: float = Field(
        10.0, gt=0, le=3600, description="without a frame, after which a stream is opened anew"
    )
    retry: bool = Field(
        default=False, description="wait for a source that is not there at the start"
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

    @field_validator("region_of_interest")
    @classmethod
    def _check_region(cls, text: str) -> str:
        if text:
            Region.parse(text)
        return text


class GatewaySettings(BaseModel):
    """Settings of the process."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    encoder: str = Field("127.0.0.1:50051", description="host:port of the encoder service")
    ca: Path | None = Field(None, description="PEM roots of the encoder's certificate; TLS")
    certificate: Path | None = Field(None, description="PEM chain shown to the encoder")
    key: Path | None = Field(None, description="PEM private key of certificate")
    proxy: str = Field("", description="URL of an HTTP proxy to the encoder")
    token: str = Field("", repr=False, description="bearer token for the encoder")
    show_to: Path | None = Field(
        None, description="folder for one annotated frame a camera, NAME.jpg, always the newest"
    )
    show_seconds: float = Field(1.0, gt=0, le=3600, description="between two annotated frames")
    max_waiting: int = Field(
        1000, ge=1, le=1_000_000, description="faces that wait for the encoder; the oldest give way"
    )
    flush_seconds: float = Field(
        5.0, ge=0, le=3600, description="last chance of what waits on stopping"
    )
    metrics_host: str = Field("127.0.0.1", description="address of the Prometheus endpoint")
    metrics_port: Port = Field(9467, description="Prometheus port; 0 takes a free one")
    insecure: bool = Field(default=False, description="allow a metrics_host that others can reach")
    log_format: Literal["json", "console"] = Field("json", description="json or console")
    log_level: Literal["debug", "info", "warning", "error"] = Field("info", description="least")
    cameras: tuple[CameraSettings, ...] = Field(min_length=1, description="at least one")

    @field_validator("cameras")
    @classmethod
    def _name_all(cls, cameras: tuple[CameraSettings, ...]) -> tuple[CameraSettings, ...]:
        named = tuple(
            camera if camera.name else camera.model_copy(update={"name": f"camera{number}"})
            for number, camera in enumerate(cameras, start=1)
        )
        names = [camera.name for camera in named]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"two cameras have the name {twice[0]!r}")
        return named

    @model_validator(mode="after")
    def _check(self) -> Self:
        if (self.certificate is None) != (self.key is None):
            raise ValueError("certificate and key go together; only one is set")
        if self.certificate is not None and self.ca is None:
            raise ValueError("certificate needs ca")
        if not (self.insecure or is_loopback(self.metrics_host)):
            raise ValueError(
                f"metrics_host {self.metrics_host!r} is reachable from other machines: set "
                "insecure if the network in between is trusted"
            )
        return self


def load_settings(
    sources: Sequence[str], *, config: Path | None = None, **flags: Any
) -> GatewaySettings:
    """Load settings from flags, the TOML file and defaults, in this order.

    Args:
        sources: one camera each. Flags of camera settings apply to all cameras and override the
            file.
        config: the TOML file, which may define further cameras.
        flags: values of either kind of settings; None means not given.

    Raises:
        SettingsError: there are unknown keys or invalid values; the error names all of them.
    """
    given = {name: value for name, value in flags.items() if value is not None}
    of_cameras = {name: given.pop(name) for name in list(given) if _is_of_camera(name)}
    table = _read(config) if config else {}
    listed = table.pop("cameras", [])
    if not (isinstance(listed, list) and all(isinstance(item, dict) for item in listed)):
        raise SettingsError([f"cameras in {config}: must be tables, [[cameras]]"])
    cameras = [*listed, *({"source": source} for source in sources)]
    if not cameras:
        raise SettingsError(["no camera: name a SOURCE, or a file with [[cameras]]"])
    try:
        merged = [{**camera, **of_cameras} for camera in cameras]
        return GatewaySettings.model_validate({**table, **given, "cameras": tuple(merged)})
    except pydantic.ValidationError as error:
        raise SettingsError(
            _problems(error, config, {*given, *of_cameras}, in_file=len(listed))
        ) from None


def _is_of_camera(name: str) -> bool:
    return name in CameraSettings.model_fields


def _read(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise SettingsError([f"{path}: {error.strerror}"]) from None
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise SettingsError([f"{path}: not TOML: {error}"]) from None


def _problems(
    error: pydantic.ValidationError, config: Path | None, flags: set[str], *, in_file: int
) -> Iterator[str]:
    seen = set()
    for detail in error.errors():
        if detail["type"] == "too_short":  # invalid cameras were left out
            continue
        problem = _describe(detail, config, flags, in_file)
        if problem not in seen:  # an invalid camera flag is reported for every camera
            seen.add(problem)
            yield problem


def _describe(detail: ErrorDetails, config: Path | None, flags: set[str], in_file: int) -> str:
    """Describe one problem: where the value was set, the value, the error."""
    place = detail["loc"]
    message = detail["msg"].removeprefix("Value error, ")
    if not place or place == ("cameras",):  # a rule over several settings
        return message
    key, fields = str(place[-1]), _fields(place)
    where = key
    if len(place) > 1 and isinstance(place[1], int):
        where = f"cameras[{place[1] + 1}].{key}" if place[1] < in_file else "SOURCE"
    origin = f"--{key}".replace("_", "-") if key in flags else f"{where} in {config}"
    if where == "SOURCE" and key == "source":
        origin = where
    if detail["type"] == "extra_forbidden":
        near = difflib.get_close_matches(key, fields, n=1)
        return f"{origin}: unknown setting" + (f"; did you mean {near[0]}?" if near else "")
    if detail["type"] == "missing":
        return f"{origin}: not set"
    shown = f" is {detail['input']!r:.80}" if key not in fields or fields[key].repr else ""
    return f"{origin}{shown}: {message[0].lower()}{message[1:]}"


def _fields(place: tuple[int | str, ...]) -> Mapping[str, Any]:
    return (CameraSettings if place[0] == "cameras" else GatewaySettings).model_fields
