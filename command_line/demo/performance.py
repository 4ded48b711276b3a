"""Run the demo scenario against running services and record the answers."""

import io
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from google.protobuf.message import Message
from PIL import Image

from command_line.demo.scenario import (
    COLLECTION,
    DIFFERENT,
    ENROLLMENTS,
    IDENTIFICATIONS,
    SAME,
    UNKNOWN,
    VERIFICATIONS,
    Enrollment,
    Identification,
    Verification,
)
from command_line.output import decision_text
from compactface.client import EncoderClient, Frame, RecognizerClient
from compactface.v1.encoder_pb2 import EncodeResponse, Face
from compactface.v1.recognizer_pb2 import (
    IDENTIFY_DECISION_MATCH,
    IDENTIFY_DECISION_NO_MATCH,
    VERIFY_DECISION_MATCH,
    VERIFY_DECISION_NO_MATCH,
    AppliedThreshold,
    IdentifyDecision,
    IdentifyResponse,
    VerifyDecision,
    VerifyResponse,
)
from shared.codec.compact_map import Layout, MapFormat
from shared.errors import InvalidInput, Unavailable

JPEG_QUALITY = 75
"""Quality of the JPEG for comparison: Pillow's default."""

_MAP_ROWS, _MAP_COLUMNS = 14, 12
_ACKNOWLEDGED_WITHIN_S = 30.0
_POLL_S = 0.01


@dataclass(frozen=True, slots=True)
class Sight:
    """The processing of one photo, for display.

    Attributes:
        photo: file name.
        image: file content.
        face: the encoded face: box, map, crop.
        reconstruction: the recognizer's reconstruction, as PNG.
        jpeg_bytes: size of the crop as JPEG.
        stages_ms: milliseconds per stage of the encoder.
    """

    photo: str
    image: bytes
    face: Face
    reconstruction: bytes
    jpeg_bytes: int
    stages_ms: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Outcome:
    """A question with its answer.

    Attributes:
        asked: question of the scenario.
        actual: a subject's id, "unknown", "same", "different" or "low quality".
        similarity: similarity of the probe to the best candidate or the reference.
        threshold: applied threshold.
        stages_ms: milliseconds per stage of the recognizer; and "streaming", from the photo to
            the recognizer's acknowledgement of its map.
    """

    asked: Identification | Verification
    actual: str
    similarity: float
    threshold: AppliedThreshold
    stages_ms: Mapping[str, float]

    @property
    def is_right(self) -> bool:
        """Whether the answer is the expected one."""
        return self.actual == self.asked.expected


@dataclass(frozen=True, slots=True)
class Performance:
    """All results, in the order of the scenario.

    Attributes:
        map_format: geometry, levels and layout of the maps.
        sights: processed photos by name.
        outcomes: one per question.
    """

    map_format: MapFormat
    sights: Mapping[str, Sight]
    outcomes: tuple[Outcome, ...]

    @property
    def is_right(self) -> bool:
        """Whether every answer is the expected one."""
        return all(outcome.is_right for outcome in self.outcomes)


def perform(encoder: EncoderClient, recognizer: RecognizerClient, photos: Path) -> Performance:
    """Enroll, identify and verify as in the scenario.

    Args:
        encoder: client of an encoder whose uplink leads to the recognizer.
        recognizer: client of a recognizer with the scenario's collection, which must be empty.
        photos: folder of the photographs.

    Raises:
        RequestFailed: a service rejected a request.
        InvalidInput: a photo shows no face.
        Unavailable: the recognizer did not acknowledge a streamed map in time.
    """
    stage = _Stage(encoder, recognizer, photos)
    for enrollment in ENROLLMENTS:
        stage.enroll(enrollment)
    identified = [stage.identify(asked) for asked in IDENTIFICATIONS]
    verified = [stage.verify(asked) for asked in VERIFICATIONS]
    return Performance(_map_format(encoder, recognizer), stage.sights, (*identified, *verified))


class _Stage:
    """The services, the photographs, and results so far."""

    def __init__(self, encoder: EncoderClient, recognizer: RecognizerClient, photos: Path) -> None:
        self.sights: dict[str, Sight] = {}
        self._encoder = encoder
        self._recognizer = recognizer
        self._photos = photos

    def enroll(self, who: Enrollment) -> None:
        self._recognizer.subjects.enroll(
            [self._see(who.photo).face.map],
            subject_id=who.subject_id,
            display_name=who.display_name,
            collection=COLLECTION,
        )

    def identify(self, asked: Identification) -> Outcome:
        if not asked.streamed:
            seen = self._see(asked.photo)
            answer = self._recognizer.identify(seen.face.map, collection=COLLECTION)
            return _identified(asked, answer, {})
        began = time.perf_counter()
        sighting_id = self._see_by_stream(asked.photo).face.sighting_id
        self._wait_until_acknowledged()
        streaming_ms = 1000 * (time.perf_counter() - began)
        answer = self._recognizer.identify(sighting_id, collection=COLLECTION)
        return _identified(asked, answer, {"streaming": streaming_ms})

    def verify(self, asked: Verification) -> Outcome:
        is_photo = asked.reference in self.sights
        reference = self.sights[asked.reference].face.map if is_photo else asked.reference
        probe = self._see(asked.photo).face.map
        answer = self._recognizer.verify(probe, reference, collection=COLLECTION)
        return _verified(asked, answer)

    def _see(self, photo: str) -> Sight:
        if photo not in self.sights:
            image = (self._photos / photo).read_bytes()
            answer = self._encoder.encode(image, max_faces=1, include_crops=True)
            self._remember(photo, image, answer)
        return self.sights[photo]

    def _see_by_stream(self, photo: str) -> Sight:
        image = (self._photos / photo).read_bytes()
        frames = [Frame(image, frame_id=photo)]
        (answer,) = self._encoder.encode_stream(
            frames, forward=True, max_faces=1, include_crops=True
        )
        self._remember(photo, image, answer.response)
        return self.sights[photo]

    def _remember(self, photo: str, image: bytes, answer: EncodeResponse) -> None:
        if not answer.faces:
            raise InvalidInput("NO_FACE", f"{photo}: no face was found")
        face = answer.faces[0]
        reconstruction = self._recognizer.reconstruct(face.map).png
        self.sights[photo] = Sight(
            photo, image, face, reconstruction, _jpeg_bytes(face.crop_png), _stages(answer.timings)
        )

    def _wait_until_acknowledged(self) -> None:
        deadline = time.monotonic() + _ACKNOWLEDGED_WITHIN_S
        while depth := self._encoder.info().uplink_depth:
            if time.monotonic() > deadline:
                raise Unavailable(
                    "UPLINK_SILENT",
                    f"{depth} maps are not acknowledged after {_ACKNOWLEDGED_WITHIN_S:.0f} s",
                )
            time.sleep(_POLL_S)


def _map_format(encoder: EncoderClient, recognizer: RecognizerClient) -> MapFormat:
    codec_id = encoder.info().codec_id
    codecs = recognizer.info().codecs
    codec = next(codec for codec in codecs if codec.codec_id == codec_id)
    layout: Layout = "rgb8" if codec.layout == "rgb8" else "row"
    return MapFormat(codec.channels, _MAP_ROWS, _MAP_COLUMNS, codec.levels, layout, codec.spared)


def _identified(
    asked: Identification, answer: IdentifyResponse, streaming: Mapping[str, float]
) -> Outcome:
    best = answer.candidates[0]
    actual = {
        IDENTIFY_DECISION_MATCH: best.subject_id,
        IDENTIFY_DECISION_NO_MATCH: UNKNOWN,
    }.get(answer.decision, decision_text(IdentifyDecision.Name(answer.decision)))
    stages = {**streaming, **_stages(answer.timings)}
    return Outcome(asked, actual, best.similarity, answer.threshold, stages)


def _verified(asked: Verification, answer: VerifyResponse) -> Outcome:
    actual = {
        VERIFY_DECISION_MATCH: SAME,
        VERIFY_DECISION_NO_MATCH: DIFFERENT,
    }.get(answer.decision, decision_text(VerifyDecision.Name(answer.decision)))
    return Outcome(asked, actual, answer.similarity, answer.threshold, _stages(answer.timings))


def _stages(timings: Message) -> dict[str, float]:
    """Milliseconds per stage, from a message's fields named "..._ms"."""
    names = [field.name for field in timings.DESCRIPTOR.fields]
    return {name.removesuffix("_ms"): getattr(timings, name) for name in names}


def _jpeg_bytes(crop_png: bytes) -> int:
    file = io.BytesIO()
    Image.open(io.BytesIO(crop_png)).save(file, format="JPEG", quality=JPEG_QUALITY)
    return file.tell()
