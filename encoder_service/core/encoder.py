"""The encoder: from a picture file to one compact map per face."""

import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum

import numpy as np
from numpy.typing import NDArray

from shared.errors import DeadlineExceeded, InvalidImage
from shared.faces.align import align, fit_crop
from shared.faces.detect import Box, Detection, Detector, Landmarks
from shared.faces.fitness import UNFIT_QUALITY, is_unfit, outside_share, sure_flaws
from shared.faces.picture import Photo, PictureLimits, decode_photo, require_photo_size
from shared.faces.quality import quality
from shared.inference.crop_encoder import CropEncoder
from shared.inference.quality_head import FLAWED, NOT_A_FACE, QualityHead
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
        flaws: the quality head's probabilities of flaws, in [0, 1], by name; empty for a model
            without a head.
    """

    png: bytes
    crop: Picture
    quality: float
    score: float
    box: Box | None
    landmarks: Landmarks | None
    sighting_id: str
    flaws: Mapping[str, float] = field(default_factory=dict)


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
    quality: float  # 1 where a head judges the map instead
    detection: Detection | None
    flaws: Mapping[str, float]


class Encoder:
    """Detects, aligns and encodes faces. Thread-safe."""

    def __init__(
        self,
        *,
        detector: Detector,
        crop_encoder: CropEncoder,
        limits: PictureLimits,
        max_faces: int,
        head: QualityHead | None = None,
        new_id: Callable[[], str] = lambda: str(uuid.uuid4()),
    ) -> None:
        """Create an encoder from its parts.

        Args:
            detector: detects faces and landmarks.
            crop_encoder: CompNet, quantizer and PNG of the operating point.
            limits: maximum picture size in bytes and pixels.
            max_faces: maximum number of faces per picture, most prominent first.
            head: quality head for maps of that operating point; None: quality is computed from
                size, sharpness and pose, and every detection is accepted.
            new_id: generates ids of sightings.
        """
        self.crop_encoder = crop_encoder
        self.limits = limits
        self.max_faces = max_faces
        self._detector = detector
        self._head = head
        self._new_id = new_id

    def encode(
        self,
        image: bytes,
        *,
        kind: PictureKind = PictureKind.PHOTO,
        max_faces: int = 0,
        deadline: float | None = None,
    ) -> EncodedPicture:
        """Encode every face of a picture as a compact map.

        Args:
            image: a picture file, or an aligned crop as a picture file.
            kind: which of the two.
            max_faces: maximum number of faces; 0: the encoder's limit.
            deadline: on the clock of `time.monotonic`; no stage starts after it.

        Raises:
            InvalidImage: the picture is unreadable, too large or too small, or takes too long to
                decode; NOT_A_FACE, a crop that shows no face.
            DeadlineExceeded: GIVEN_UP.
        """
        timings = EncodeTimings()
        with timings.measure("decode_ms"):
            photo = decode_photo(image, self.limits, patience_s=_left(deadline))
        _left(deadline)
        if kind is PictureKind.CROP:
            (face,) = self._to_maps([self._take_crop(photo.pixels, timings)], timings)
            _check_face(face)
            return EncodedPicture((face,), 1, timings)
        require_photo_size(photo.pixels)
        with timings.measure("detect_ms"):
            detections = self._detector.detect(photo.pixels)
        _left(deadline)
        limit = min(max_faces or self.max_faces, self.max_faces)
        faces: list[EncodedFace] = []
        refused = 0
        for start in range(0, len(detections), limit):
            aligned = self._align(photo, detections[start : start + limit], timings)
            encoded = self._to_maps(aligned, timings)
            kept = [face for face in encoded if not _is_no_face(face)]
            refused += len(encoded) - len(kept)
            faces += kept
            if len(faces) >= limit:
                break
        return EncodedPicture(tuple(faces[:limit]), len(detections) - refused, timings)

    def _take_crop(self, picture: Picture, timings: EncodeTimings) -> _AlignedFace:
        with timings.measure("align_ms"):
            crop = fit_crop(picture)
            return _AlignedFace(crop, self._measured(crop, None), None, sure_flaws(crop))

    def _measured(self, crop: Picture, landmarks: Landmarks | None) -> float:
        return 1.0 if self._head else quality(crop, landmarks)

    def _align(
        self, photo: Photo, detections: Sequence[Detection], timings: EncodeTimings
    ) -> list[_AlignedFace]:
        """Align a detection, with coordinates in pixels of the file."""
        faces = []
        with timings.measure("align_ms"):
            for detection in detections:
                crop = align(photo.pixels, detection.landmarks, template=self._detector.template)
                fitness = self._measured(crop, detection.landmarks)
                height, width = photo.pixels.shape[:2]
                outside = outside_share(
                    height, width, detection.landmarks, template=self._detector.template
                )
                placed = detection.magnified(photo.reduction)
                flaws = sure_flaws(crop, outside=outside)
                faces.append(_AlignedFace(crop, fitness, placed, flaws))
        return faces

    def _to_maps(
        self, faces: list[_AlignedFace], timings: EncodeTimings
    ) -> tuple[EncodedFace, ...]:
        if not faces:
            return ()
        with timings.measure("compnet_ms"):
            symbols = self.crop_encoder.symbols(np.stack([face.crop for face in faces]))
        with timings.measure("pack_ms"):
            pngs = self.crop_encoder.pack(symbols)
            qualities, flaws = self._judge(symbols, faces)
        return tuple(
            EncodedFace(
                png=png,
                crop=face.crop,
                quality=quality,
                score=face.detection.score if face.detection else 1.0,
                box=face.detection.box if face.detection else None,
                landmarks=face.detection.landmarks if face.detection else None,
                sighting_id=self._new_id(),
                flaws=found,
            )
            for face, png, quality, found in zip(faces, pngs, qualities, flaws, strict=True)
        )

    def _judge(
        self, symbols: NDArray[np.uint8], faces: Sequence[_AlignedFace]
    ) -> tuple[list[float], list[dict[str, float]]]:
        """Compute quality and flaws of each face, as a receiver of its map would.

        What the picture tells for sure is added: a map tells less of it.
        """
        qualities = [face.quality for face in faces]
        flaws: list[dict[str, float]] = [{} for _ in faces]
        if self._head is not None:
            judged = self._head.judge(symbols, self.crop_encoder.map_format)
            qualities = judged.quality.tolist()
            for face, found, parts in zip(faces, flaws, judged.parts.tolist(), strict=True):
                found |= dict(zip(judged.names, parts, strict=True))
                found |= {part: max(found.get(part, 0.0), how) for part, how in face.flaws.items()}
        for position, face in enumerate(faces):
            if is_unfit(face.flaws):
                qualities[position] = min(qualities[position], UNFIT_QUALITY)
        return qualities, flaws


def _is_no_face(face: EncodedFace) -> bool:
    return face.flaws.get(NOT_A_FACE, 0) >= FLAWED


def _check_face(face: EncodedFace) -> None:
    if _is_no_face(face):
        raise InvalidImage(
            "NOT_A_FACE",
            f"the crop shows no face ({face.flaws[NOT_A_FACE]:.2f} sure, {FLAWED} is the limit)",
        )


def _left(deadline: float | None) -> float | None:
    """Seconds until the deadline."""
    if deadline is None:
        return None
    left = deadline - time.monotonic()
    if left <= 0:
        raise DeadlineExceeded("GIVEN_UP", "the deadline has passed before the picture was encoded")
    return left
