"""From photo files to encoded faces, by a service or in this process; both answer alike."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from command_line.options import EncoderOptions, TlsOptions
from shared.errors import CompactfaceError, InvalidInput

if TYPE_CHECKING:
    from compactface.v1.encoder_pb2 import EncodeResponse, Face


class PhotoEncoder(Protocol):
    """Whatever finds and encodes the faces of a photo; `EncoderClient` is one."""

    def encode(self, image: bytes) -> "EncodeResponse":
        """Every face of a picture file, largest first."""
        ...


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

    with EncoderClient(options.encoder, tls=tls.load(), proxy=tls.proxy) as client:
        yield client


class LocalEncoder:
    """The encoder service's domain in this process, with the service's settings."""

    def __init__(self, models: Path, family: str, *, enrolling: bool = False) -> None:
        """Load the model and the detector; `enrolling` as in `open_encoder`.

        Raises:
            InvalidModel: the model directory is missing or damaged.
            SettingsError: COMPACTFACE_ENCODER_... variables cannot be used.
            ModuleNotFoundError: the extra `encoder` is not installed.
        """
        from encoder_service.encoder import Encoder
        from encoder_service.settings import EncoderSettings
        from shared.face.detect import MtcnnDetector
        from shared.inference.crop_encoder import OnnxCropEncoder
        from shared.model_directory import ModelDirectory
        from shared.service.settings_loader import load_settings

        model = ModelDirectory.load(models, family)
        fine = enrolling and _ENROLMENT_POINT in model.manifest.codecs
        settings = load_settings(EncoderSettings, models=models, family=family)
        self._encoder = Encoder(
            detector=MtcnnDetector(min_face_size=settings.min_face_size),
            crop_encoder=OnnxCropEncoder(model, _ENROLMENT_POINT if fine else None),
            limits=settings.picture_limits,
            max_faces=settings.max_faces,
        )

    def encode(self, image: bytes) -> "EncodeResponse":
        """Every face of a picture file, largest first.

        Raises:
            InvalidImage: the picture cannot be read, or is too large or too small.
        """
        from compactface.v1 import encoder_pb2
        from encoder_service import conversions

        picture = self._encoder.encode(image)
        taken = datetime.now(UTC)
        codec_id = self._encoder.crop_encoder.codec_id
        return encoder_pb2.EncodeResponse(
            faces=[
                conversions.face_message(
                    face, codec_id=codec_id, taken=taken, forwarded=False, with_crop=False
                )
                for face in picture.faces
            ],
            timings=conversions.timings_message(picture.timings),
        )


def encode_photo(encoder: PhotoEncoder, photo: Path) -> "EncodeResponse":
    """Every face of a photo; errors name the file."""
    from compactface.client import RequestFailed

    try:
        return encoder.encode(photo.read_bytes())
    except (CompactfaceError, RequestFailed) as error:
        error.message = f"{photo}: {error.message}"
        raise


def encode_one_face(encoder: PhotoEncoder, photo: Path, *, largest: bool) -> "Face":
    """The only face of a photo, or with `largest` the largest one.

    Raises:
        InvalidInput: NO_FACE or SEVERAL_FACES.
    """
    faces = encode_photo(encoder, photo).faces
    if not faces:
        raise InvalidInput("NO_FACE", f"{photo}: no face was found")
    if len(faces) > 1 and not largest:
        raise InvalidInput(
            "SEVERAL_FACES",
            f"{photo}: {len(faces)} faces were found where one is expected; "
            "--largest takes the largest",
        )
    return faces[0]
