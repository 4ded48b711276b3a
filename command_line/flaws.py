"""What is wrong with a face, in words that a person can act on."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from compactface.v1.compact_map_pb2 import Flaws
    from compactface.v1.encoder_pb2 import Face

_SURE = 0.5
_TURNED_DEGREES = 35
_FEW_PIXELS = 24  # between the eyes; a crop has 35
_WORDS = {
    "blur": "blurred",
    "noise": "grainy",
    "dark": "too dark",
    "uneven_light": "lit from behind",
    "eyes_covered": "eyes covered",
    "mouth_covered": "mouth covered",
    "outside": "partly outside the picture",
    "rolled": "upside down or tilted",
    "odd_colours": "colours of no daylight",
    "not_a_face": "not a face",
}


def flaw_words(flaws: "Flaws") -> list[str]:
    """What the model is sure of, e.g. ["too dark", "eyes covered"]."""
    return [words for name, words in _WORDS.items() if getattr(flaws, name) >= _SURE]


def face_words(face: "Face") -> str:
    """What is wrong with a face that was encoded, e.g. "blurred, turned away by 50°"."""
    words = flaw_words(face.flaws)
    if abs(face.yaw_degrees) >= _TURNED_DEGREES:
        words.append(f"turned away by {abs(face.yaw_degrees):.0f}°")
    if face.HasField("eye_distance") and face.eye_distance < _FEW_PIXELS:
        words.append(f"only {face.eye_distance:.0f} pixels between the eyes")
    return ", ".join(words)


def decision_words(decision: str, flaws: "Flaws") -> str:
    """A decision, and where it is for low quality what is wrong with the probe."""
    words = flaw_words(flaws) if decision == "low quality" else []
    return f"{decision} ({', '.join(words)})" if words else decision
