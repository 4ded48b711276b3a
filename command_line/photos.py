"""Encode photo files, with a service or in this process."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import typer

from command_line.options import EncoderOptions, TlsOptions
from command_line.output import box_text
from shared.errors import CompactfaceError, InvalidImage, InvalidInput

if TYPE_CHECKING:
    from compactface.v1.encoder_pb2 import EncodeResponse, Face


class PhotoEncoder(Protocol):
    """Finds and encodes the faces of a photo; `EncoderClient` is an implementation."""

    def encode(self, image: bytes) -> "EncodeResponse":
        """Encode every face of a picture file, most prominent first."""
        ...


_MAX_FILE_BYTES = 64 * 1024 * 1024
"""Limit of files to read. A service accepts less, since a file must fit into a message."""
_ENROLLMENT_POINT = "fine"
"""Enrolled maps are used for years, so they get the finest operating point of the family."""


@contextmanager
def open_encoder(
    options: EncoderOptions, tls: TlsOptions, *, enrolling: bool = False
) -> Iterator[PhotoEncoder]:
    """Open the encoder service that the options name, or one in this process.

    Args:
        options: which of the two.
        tls: credentials for the service.
        enrolling: encode in this process at the operating point "fine" if the model has it. A
            service uses its configured point.
    """
    if options.encoder is None:
        yield LocalEncoder(options.models, options.family, enrolling=enrolling)
        return
    from compactface.client import EncoderClient

    with EncoderClient(options.encoder, tls=tls.load(), token=tls.token, proxy=tls.proxy) as client:
        yield client


class LocalEncoder:
    """The encoder in this process, with the service's settings.

    Except for `max_image_bytes`, which is at least 64 MiB, since no message limits it.
    """

    def __init__(self, models: Path, family: str, *, enrolling: bool = False) -> None:
        """Load the model and the detector; `enrolling` as in `open_encoder`.

        Raises:
            InvalidModel: the model directory is missing or damaged.
            SettingsError: COMPACTFACE_ENCODER_... variables cannot be used.
            SettingsError: COMPACTFACE_ENCODER_... variables are invalid.
        """
        from encoder_service.core.encoder import Encoder
        from encoder_service.settings import EncoderSettings
        from shared.faces.detectors import open_detector
        from shared.inference.crop_encoder import OnnxCropEncoder
        from shared.inference.quality_head import QualityHead
        from shared.model_directory import ModelDirectory
        from shared.serving.settings_loader import load_settings

        model = ModelDirectory.load(models, family)
        fine = enrolling and _ENROLLMENT_POINT in model.manifest.codecs
        settings = load_settings(EncoderSettings, models=models, family=family)
        self._encoder = Encoder(
            detector=open_detector(settings.detector_options),
            crop_encoder=OnnxCropEncoder(model, _ENROLLMENT_POINT if fine else None),
            limits=replace(
                settings.picture_limits,
                max_bytes=max(settings.max_image_bytes, _MAX_FILE_BYTES),
            ),
            max_faces=settings.max_faces,
            head=QualityHead.of_model(model, _ENROLLMENT_POINT if fine else None),
        )

    def encode(self, image: bytes) -> "EncodeResponse":
        """Encode every face of a picture file, most prominent first.

        Raises:
            InvalidImage: the picture cannot be read, or is too large or too small.
        """
        from compactface.v1 import encoder_pb2
        from encoder_service.api import conversions

        picture = self._encoder.encode(image)
        taken = datetime.now(UTC)
        codec_id = self._encoder.crop_encoder.codec_id
        return encoder_pb2.EncodeResponse(
            faces=[
                conversions.face_message(face, codec_id=codec_id, taken=taken, with_crop=False)
                for face in picture.faces
            ],
            timings=conversions.timings_message(picture.timings),
            faces_found=picture.faces_found,
        )


def read_photo(photo: Path) -> bytes:
    """Read a file, unless it is too large for a photo.

    Raises:
        InvalidImage: IMAGE_TOO_LARGE.
        OSError: the file cannot be read.
    """
    size = photo.stat().st_size
    if size > _MAX_FILE_BYTES:
        raise InvalidImage(
            "IMAGE_TOO_LARGE",
            f"{photo}: file is {size} bytes; at most {_MAX_FILE_BYTES} are accepted",
        )
    return photo.read_bytes()


def encode_photo(encoder: PhotoEncoder, photo: Path) -> "EncodeResponse":
    """Encode a photo with its EXIF time as capture time; errors name the file."""
    from compactface.client import RequestFailed
    from shared.faces.picture_file import capture_time
    from shared.serving.timestamps import timestamp

    image = read_photo(photo)
    try:
        answer = encoder.encode(image)
    except (CompactfaceError, RequestFailed) as error:
        error.message = f"{photo}: {error.message}"
        raise
    taken = capture_time(image)
    for face in answer.faces:
        if taken is None:
            face.map.ClearField("capture_time")  # it would be the time of encoding
        else:
            face.map.capture_time.CopyFrom(timestamp(taken))
    return answer


@dataclass(frozen=True, slots=True)
class TakenFace:
    """The selected face of a photo.

    Attributes:
        photo: path of the photo.
        face: the only face, or the most prominent.
        faces_found: number of faces in the photo.
    """

    photo: Path
    face: "Face"
    faces_found: int

    @property
    def note(self) -> str:
        """A note if there were other faces, else ""."""
        if self.faces_found == 1:
            return ""
        where = box_text(self.face.box)
        return f"{self.faces_found} faces were found; the most prominent was used, {where}"


def take_one_face(encoder: PhotoEncoder, photo: Path, *, most_prominent: bool) -> TakenFace:
    """Select the only face of a photo, or with `most_prominent` the most prominent of several.

    Raises:
        InvalidInput: NO_FACE or SEVERAL_FACES.
    """
    answer = encode_photo(encoder, photo)
    if not answer.faces:
        raise InvalidInput("NO_FACE", f"{photo}: no face was found")
    found = max(answer.faces_found, len(answer.faces))  # older services do not report the former
    if found > 1 and not most_prominent:
        raise InvalidInput(
            "SEVERAL_FACES",
            f"{photo}: {found} faces were found where one is expected; "
            "--largest uses the most prominent",
        )
    return TakenFace(photo, answer.faces[0], found)


def tell_of_others(*taken: TakenFace) -> None:
    """Print on standard error which photos show other faces, too."""
    for one in taken:
        if one.note:
            typer.echo(f"note: {one.photo}: {one.note}", err=True)
