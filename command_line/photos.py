"""From photo files to encoded faces, by a service or in this process; both answer alike."""

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
    """Whatever finds and encodes the faces of a photo; `EncoderClient` is one."""

    def encode(self, image: bytes) -> "EncodeResponse":
        """Every face of a picture file, the most prominent first."""
        ...


_MAX_FILE_BYTES = 64 * 1024 * 1024
"""Largest file that is read. A service takes less: what is sent must fit a message."""
_ENROLMENT_POINT = "fine"
"""What is enrolled is compared for years: it is worth the most bytes a model family offers."""


@contextmanager
def open_encoder(
    options: EncoderOptions, tls: TlsOptions, *, enrolling: bool = False
) -> Iterator[PhotoEncoder]:
    """The encoder service that the options name, or else one in this process.

    Args:
        options: which of the two.
        tls: certificates for the service.
        enrolling: encode in this process at the operating point "fine" if the model has it. A
            service has a point of its own.
    """
    if options.encoder is None:
        yield LocalEncoder(options.models, options.family, enrolling=enrolling)
        return
    from compactface.client import EncoderClient

    with EncoderClient(options.encoder, tls=tls.load(), token=tls.token, proxy=tls.proxy) as client:
        yield client


class LocalEncoder:
    """The encoder service's domain in this process, with the service's settings.

    But for `max_image_bytes`, which is at least 64 MiB: a file in this process is no message.
    """

    def __init__(self, models: Path, family: str, *, enrolling: bool = False) -> None:
        """Load the model and the detector; `enrolling` as in `open_encoder`.

        Raises:
            InvalidModel: the model directory is missing or damaged.
            SettingsError: COMPACTFACE_ENCODER_... variables cannot be used.
            ModuleNotFoundError: the extra `encoder` is not installed.
        """
        from encoder_service.core.encoder import Encoder
        from encoder_service.settings import EncoderSettings
        from shared.faces.detectors import open_detector
        from shared.inference.crop_encoder import OnnxCropEncoder
        from shared.inference.quality_head import QualityHead
        from shared.model_directory import ModelDirectory
        from shared.serving.settings_loader import load_settings

        model = ModelDirectory.load(models, family)
        fine = enrolling and _ENROLMENT_POINT in model.manifest.codecs
        settings = load_settings(EncoderSettings, models=models, family=family)
        self._encoder = Encoder(
            detector=open_detector(settings.detector_options),
            crop_encoder=OnnxCropEncoder(model, _ENROLMENT_POINT if fine else None),
            limits=replace(
                settings.picture_limits,
                max_bytes=max(settings.max_image_bytes, _MAX_FILE_BYTES),
            ),
            max_faces=settings.max_faces,
            head=QualityHead.of_model(model, _ENROLMENT_POINT if fine else None),
        )

    def encode(self, image: bytes) -> "EncodeResponse":
        """Every face of a picture file, the most prominent first.

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
    """The content of a file, unless it is too large for any photo.

    Raises:
        InvalidImage: IMAGE_TOO_LARGE.
        OSError: it cannot be read.
    """
    size = photo.stat().st_size
    if size > _MAX_FILE_BYTES:
        raise InvalidImage(
            "IMAGE_TOO_LARGE",
            f"{photo}: file is {size} bytes; at most {_MAX_FILE_BYTES} are accepted",
        )
    return photo.read_bytes()


def encode_photo(encoder: PhotoEncoder, photo: Path) -> "EncodeResponse":
    """Every face of a photo, taken when its EXIF says; errors name the file."""
    from compactface.client import RequestFailed
    from shared.faces.picture import capture_time
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
            face.map.ClearField("capture_time")  # the time of encoding; the photo's is unknown
        else:
            face.map.capture_time.CopyFrom(timestamp(taken))
    return answer


@dataclass(frozen=True, slots=True)
class TakenFace:
    """The face of a photo that was taken.

    Attributes:
        photo: where it is from.
        face: the only one, or the most prominent.
        faces_found: how many there are in the photo.
    """

    photo: Path
    face: "Face"
    faces_found: int

    @property
    def note(self) -> str:
        """That there were others, and which was taken; "" where there were none."""
        if self.faces_found == 1:
            return ""
        where = box_text(self.face.box)
        return f"{self.faces_found} faces were found; the most prominent was taken, {where}"


def take_one_face(encoder: PhotoEncoder, photo: Path, *, most_prominent: bool) -> TakenFace:
    """The only face of a photo, or with `most_prominent` that one of several.

    Raises:
        InvalidInput: NO_FACE or SEVERAL_FACES.
    """
    answer = encode_photo(encoder, photo)
    if not answer.faces:
        raise InvalidInput("NO_FACE", f"{photo}: no face was found")
    found = max(answer.faces_found, len(answer.faces))  # an older service does not say
    if found > 1 and not most_prominent:
        raise InvalidInput(
            "SEVERAL_FACES",
            f"{photo}: {found} faces were found where one is expected; "
            "--largest takes the most prominent",
        )
    return TakenFace(photo, answer.faces[0], found)


def tell_of_others(*taken: TakenFace) -> None:
    """Say on the standard error which photos show more than the face that was taken."""
    for one in taken:
        if one.note:
            typer.echo(f"note: {one.photo}: {one.note}", err=True)
