"""The encoder: from a picture file to one compact map per face."""

import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from enum import Enum

import numpy as np
from numpy.typing import NDArray

from shared.faces.align import align, fit_crop
from shared.faces.detect import Box, Detection, Detector, Landmarks
from shared.faces.picture import Photo, PictureLimits, decode_photo, require_photo_size
from shared.faces.quality import quality
from shared.inference.crop_encoder import CropEncoder
from shared.timings import StageTimings

Picture = NDArray[np.uint8]


class PictureKind(Enum):
    """A scene with 0 to n faces, or one aligned face."""

    PHOTO = "photo"
    CROP = "crop"


@dataclass(frozen=True, slots=True)
class EncodedFace:
    """One face of a picture.

    Attributes:
        png: the compact map.
        crop: the aligned face, (112, 96, 3) uint8 RGB.
        quality: fitness for recognition in [0, 1].
        score: the detector's confidence in [0, 1]; 1 for a crop.
        box: box of the face; None for a crop.
        landmarks: landmarks used for alignment; None for a crop.
        sighting_id: id under which the map is forwarded, a UUID.
    """

    png: bytes
    crop: Picture
    quality: float
    score: float
    box: Box | None
    landmarks: Landmarks | None
    sighting_id: str


@dataclass(slots=True)
class EncodeTimings(StageTimings):
    """Wall-clock milliseconds per stage for one picture."""

    decode_ms: float = 0.0
    detect_ms: float = 0.0
    align_ms: float = 0.0
    compnet_ms: float = 0.0
    pack_ms: float = 0.0


@dataclass(frozen=True, slots=True)
class EncodedPicture:
    """Faces of one picture, most prominent first, with timings.

    Attributes:
        faces: encoded faces, at most the requested number.
        faces_found: number of detected faces.
        timings: milliseconds per stage.
    """

    faces: tuple[EncodedFace, ...]
    faces_found: int
    timings: EncodeTimings = field(default_factory=EncodeTimings)


@dataclass(frozen=True, slots=True)
class _AlignedFace:
    crop: Picture
    quality: float
    detection: Detection | None


class Encoder:
    """Detects, aligns and encodes faces. Thread-safe."""

    def __init__(
        self,
        *,
        detector: Detector,
        crop_encoder: CropEncoder,
        limits: PictureLimits,
        max_faces: int,
        new_id: Callable[[], str] = lambda: str(uuid.uuid4()),
    ) -> None:
        """Build an encoder from its parts.

        Args:
            detector: finds faces and landmarks.
            crop_encoder: CompNet, quantizer and PNG of the operating point.
            limits: limits on pictures.
            max_faces: largest number of faces to encode per picture, most prominent first.
            new_id: generates ids of sightings.
        """
        self.crop_encoder = crop_encoder
        self.limits = limits
        self.max_faces = max_faces
        self._detector = detector
        self._new_id = new_id

    def encode(
        self, image: bytes, *, kind: PictureKind = PictureKind.PHOTO, max_faces: int = 0
    ) -> EncodedPicture:
        """Encode every face of a picture as a compact map.

        Args:
            image: a picture file, or an aligned crop as a picture file.
            kind: which of the two.
            max_faces: largest number of faces to encode; 0 for the encoder's limit.

        Raises:
            InvalidImage: the picture cannot be read, or is too large or too small.
        """
        timings = EncodeTimings()
        with timings.measure("decode_ms"):
            photo = decode_photo(image, self.limits)
        if kind is PictureKind.CROP:
            crop = self._take_crop(photo.pixels, timings)
            return EncodedPicture(self._to_maps([crop], timings), 1, timings)
        require_photo_size(photo.pixels)
        with timings.measure("detect_ms"):
            detections = self._detector.detect(photo.pixels)
        limit = min(max_faces or self.max_faces, self.max_faces)
        aligned = self._align(photo, detections[:limit], timings)
        return EncodedPicture(self._to_maps(aligned, timings), len(detections), timings)

    def _take_crop(self, picture: Picture, timings: EncodeTimings) -> _AlignedFace:
        with timings.measure("align_ms"):
            crop = fit_crop(picture)
            return _AlignedFace(crop, quality(crop, None), None)

    def _align(
        self, photo: Photo, detections: Sequence[Detection], timings: EncodeTimings
    ) -> list[_AlignedFace]:
        """Align a detection, with coordinates in pixels of the file."""
        faces = []
        with timings.measure("align_ms"):
            for detection in detections:
                crop = align(photo.pixels, detection.landmarks, template=self._detector.template)
                fitness = quality(crop, detection.landmarks)
                faces.append(_AlignedFace(crop, fitness, detection.magnified(photo.reduction)))
        return faces

    def _to_maps(
        self, faces: list[_AlignedFace], timings: EncodeTimings
    ) -> tuple[EncodedFace, ...]:
        if not faces:
            return ()
        with timings.measure("compnet_ms"):
            latents = self.crop_encoder.latents(np.stack([face.crop for face in faces]))
        with timings.measure("pack_ms"):
            pngs = self.crop_encoder.pack(latents)
        return tuple(
            EncodedFace(
                png=png,
                crop=face.crop,
                quality=face.quality,
                score=face.detection.score if face.detection else 1.0,
                box=face.detection.box if face.detection else None,
                landmarks=face.detection.landmarks if face.detection else None,
                sighting_id=self._new_id(),
            )
            for face, png in zip(faces, pngs, strict=True)
        )
