"""The questions of the demo about the sample photographs, with expected answers."""

from dataclasses import dataclass

COLLECTION = "demo"
CAMERA = "door"
UNKNOWN = "unknown"
SAME, DIFFERENT = "same", "different"


@dataclass(frozen=True, slots=True)
class Enrollment:
    """Enrollment of a person with one photo."""

    subject_id: str
    display_name: str
    photo: str


@dataclass(frozen=True, slots=True)
class Identification:
    """Who is in `photo`?

    Attributes:
        photo: a photo that the recognizer has not seen before.
        expected: a subject's id, or `UNKNOWN`.
        streamed: whether the encoder's uplink sends the map, so that the request names only the
            sighting.
    """

    photo: str
    expected: str
    streamed: bool = False


@dataclass(frozen=True, slots=True)
class Verification:
    """Does `photo` show the same person as `reference`?

    Attributes:
        photo: the probe.
        reference: another photo, or the id of an enrolled subject.
        expected: `SAME` or `DIFFERENT`.
    """

    photo: str
    reference: str
    expected: str


@dataclass(frozen=True, slots=True)
class Passer:
    """Somebody who walks past the camera.

    Attributes:
        photo: a photo of the person.
        expected: a subject's id, or `UNKNOWN`.
    """

    photo: str
    expected: str


_OBAMA = "barack_obama_portrait_2012.jpg"
_OBAMA_SPEAKING = "barack_obama_congress.jpg"
_OBAMA_STANDING = "barack_obama_blue_room.jpg"
_BIDEN = "joe_biden_blue_room.jpg"
_COLLINS = "eileen_collins_portrait.jpg"

LABELS = {
    _OBAMA: "Obama, portrait",
    _OBAMA_SPEAKING: "Obama, Congress",
    _OBAMA_STANDING: "Obama, Blue Room",
    _BIDEN: "Biden, Blue Room",
    _COLLINS: "Collins, portrait",
}
"""Short names of the photos."""

ENROLLMENTS = (
    Enrollment("barack-obama", "Barack Obama", _OBAMA),
    Enrollment("eileen-collins", "Eileen Collins", _COLLINS),
)
IDENTIFICATIONS = (
    Identification(_OBAMA_SPEAKING, expected="barack-obama"),
    Identification(_OBAMA_STANDING, expected="barack-obama", streamed=True),
    Identification(_BIDEN, expected=UNKNOWN),
)
VERIFICATIONS = (
    Verification(_OBAMA, _OBAMA_SPEAKING, expected=SAME),
    Verification(_OBAMA_STANDING, "barack-obama", expected=SAME),
    Verification(_OBAMA, _BIDEN, expected=DIFFERENT),
    Verification(_COLLINS, _OBAMA, expected=DIFFERENT),
)
PASSERS = (
    Passer(_OBAMA_SPEAKING, expected="barack-obama"),
    Passer(_BIDEN, expected=UNKNOWN),
)
ALERT_FOR = "barack-obama"
