"""Publishable faces in every form (the paper's figure 10)."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from shared.errors import FailedPrecondition
from shared.evaluation.conventional import CODECS, compress_to
from shared.faces.align import align
from shared.faces.detect import DetectorOptions
from shared.faces.detectors import open_detector
from shared.faces.picture import PictureLimits, decode_picture
from shared.inference.crop_encoder import OnnxCropEncoder
from shared.inference.map_decoder import MapDecoder
from shared.model_directory import UNCOMPRESSED, ModelDirectory


@dataclass(frozen=True, slots=True)
class SampleFaces:
    """The same N faces in one form.

    Attributes:
        form: "uncompressed", an operating point, or the name of a conventional codec.
        crops: (N, 112, 96, 3) RGB.
        sizes: (N,) bytes of the files; for uncompressed crops, of their pixels.
    """

    form: str
    crops: NDArray[np.uint8]
    sizes: NDArray[np.int64]


def find_faces(photos: Path) -> NDArray[np.uint8]:
    """Find the most prominent face of each JPEG file in a folder: (N, 112, 96, 3) RGB, by name.

    Raises:
        FailedPrecondition: EVALUATION_DATA_MISSING; there is no photograph with a face.
    """
    detector = open_detector(DetectorOptions("mtcnn"))
    crops = []
    for file in sorted(photos.glob("*.jpg")):
        photo = decode_picture(file.read_bytes(), PictureLimits())
        crops += [
            align(photo, found.landmarks, template=detector.template)
            for found in detector.detect(photo)[:1]
        ]
    if not crops:
        raise FailedPrecondition(
            "EVALUATION_DATA_MISSING", f"{photos} holds no photographs (*.jpg) with a face"
        )
    return np.stack(crops)


def render_faces(
    model: ModelDirectory, crops: NDArray[np.uint8], points: Sequence[str] | None = None
) -> list[SampleFaces]:
    """Render crops (N, 112, 96, 3) uncompressed, at operating points and in other codecs.

    Conventional codecs get the size of the default point. `points` must have it; None takes all.
    """
    decoder = MapDecoder(model)
    rows = [SampleFaces(UNCOMPRESSED, crops, np.array([crop.nbytes for crop in crops]))]
    for point in points or model.manifest.encodable:
        encoder = OnnxCropEncoder(model, point)
        files = encoder.encode(crops)
        maps = [(encoder.codec_id, decoder.unpack(encoder.codec_id, png)) for png in files]
        sizes = np.array([len(png) for png in files])
        rows.append(SampleFaces(point, decoder.reconstruct(maps), sizes))
        if point == model.manifest.default_point:
            target = round(sizes.mean())
    for codec in CODECS:
        compressed = [compress_to(codec, crop, target, measure="file") for crop in crops]
        rows.append(
            SampleFaces(
                codec.name,
                np.stack([one.crop for one in compressed]),
                np.array([one.file_bytes for one in compressed]),
            )
        )
    return rows
