"""Limits of stored values, and checks whose errors name the value and the limit.

Names need more than ASCII letters and spaces: the ideographic space of Japanese, the no-break
spaces of French, the joiners of Persian, Sinhala and Malayalam. Characters that could deceive
readers are refused: control characters, line ends and bidirectional overrides.
"""

import math
import unicodedata
from collections.abc import Mapping, Sequence
from datetime import datetime

import numpy as np
from numpy.typing import NDArray

from recognizer_service.gallery.types import Embedding, Enrolment, NewFace, SubjectChanges
from shared.codec.png_reader import MAX_PNG_BYTES
from shared.errors import InvalidInput

LENGTH_TOLERANCE = 1e-3
MAX_FACES_PER_SUBJECT = 32
MAX_ID_CHARACTERS = 128
MAX_NAME_CHARACTERS = 256
MAX_PAGE_SIZE = 1000
MAX_SUBJECTS_PER_SEARCH = 100
MAX_RETENTION_S = 366 * 24 * 3600
MAX_SUBJECT_RETENTION_S = 100 * MAX_RETENTION_S
MAX_QUOTA = 10**12
MAX_REVISION = 2**53  # never reached by counting, and far from integer overflow
MAX_TAGS = 32
MAX_TAG_CHARACTERS = 64
_SHOWN_CHARACTERS = 80
_JOINERS = "\u200c\u200d\u180e"  # non-joiner, joiner, and the Mongolian vowel separator
_IDEOGRAPHS = range(0x20000, 0x3FFFE)
"""Reserved for Chinese characters, which most versions of Unicode extend."""
_NONCHARACTERS = (0xFFFE, 0xFFFF)


def shown(text: str) -> str:
    """Return a caller's text for a message: quoted, escaped and truncated."""
    return repr(text if len(text) <= _SHOWN_CHARACTERS else text[:_SHOWN_CHARACTERS] + "…")


def check_rate(rate: float, field: str) -> None:
    """Check that an error rate is in (0, 1)."""
    if not 0 < rate < 1:
        raise InvalidInput("INVALID_RATE", f"{field} is {rate}; it must be in (0, 1)", field=field)


def check_share(share: float, field: str) -> None:
    """Check that a number is in [0, 1]."""
    if not 0 <= share <= 1:
        raise InvalidInput(
            "OUT_OF_RANGE", f"{field} is {share:g}; it must be in [0, 1]", field=field
        )


def check_range(value: int, least: int, most: int, field: str) -> None:
    """Check that an integer is in [least, most]."""
    if not least <= value <= most:
        raise InvalidInput(
            "OUT_OF_RANGE", f"{field} is {value}; it must be {least} to {most}", field=field
        )


def check_text(text: str, field: str, *, least: int = 1, most: int = MAX_ID_CHARACTERS) -> None:
    """Check the length and characters of a text."""
    if not least <= len(text) <= most:
        raise InvalidInput(
            "INVALID_LENGTH",
            f"{field} has {len(text)} characters; it must have {least} to {most}",
            field=field,
        )
    if character := unwanted(text):
        raise InvalidInput(
            "UNPRINTABLE_TEXT",
            f"{field} holds U+{ord(character):04X}, a character that is not printable",
            field=field,
        )


def checked_id(text: str, field: str) -> str:
    """Return the normalized form of a caller's id; errors as `check_text`, and SPACE_AT_END."""
    check_text(text, field)
    if not is_bare(text):
        raise InvalidInput(
            "SPACE_AT_END",
            f"{field} {shown(text)} begins or ends with a space, or shows nothing",
            field=field,
        )
    return canonical(text)


def check_map(
    codec_id: str, png: bytes, quality: float | None, captured_at: datetime | None
) -> None:
    """Check the fields of a map; the codec checks whether it decodes."""
    check_text(codec_id, "codec_id")
    if not 0 < len(png) <= MAX_PNG_BYTES:
        raise InvalidInput(
            "INVALID_MAP_SIZE",
            f"map is {len(png)} bytes; 1 to {MAX_PNG_BYTES} are accepted",
            field="png",
        )
    if quality is not None and not 0 <= quality <= 1:
        raise InvalidInput(
            "INVALID_QUALITY", f"quality is {quality}; it must be in [0, 1]", field="quality"
        )
    if captured_at is not None and captured_at.tzinfo is None:
        raise InvalidInput("INVALID_TIME", "capture time has no time zone", field="capture_time")


def check_changes(changes: SubjectChanges) -> None:
    """Check the changes to a subject."""
    name = changes.get("display_name", "")
    check_text(name, "display_name", least=0, most=MAX_NAME_CHARACTERS)
    check_labels(changes.get("labels", ()))
    _check_metadata(changes.get("metadata", {}))
    expires_at = changes.get("expires_at")
    if expires_at is not None and expires_at.tzinfo is None:
        raise InvalidInput("INVALID_TIME", "expiry has no time zone", field="expire_time")


def check_labels(labels: Sequence[str]) -> None:
    """Check the number of labels and their texts."""
    check_range(len(labels), 0, MAX_TAGS, "labels.size")
    for position, label in enumerate(labels):
        check_text(label, f"labels[{position}]", most=MAX_TAG_CHARACTERS)


def _check_metadata(metadata: Mapping[str, str]) -> None:
    check_range(len(metadata), 0, MAX_TAGS, "metadata.size")
    for key, value in metadata.items():
        check_text(key, "metadata.key", most=MAX_TAG_CHARACTERS)
        check_text(value, f"metadata[{shown(key)}]", least=0, most=MAX_NAME_CHARACTERS)


def check_enrolment(enrolment: Enrolment, size: int) -> None:
    """Check an enrollment against limits that do not depend on the gallery's content.

    Args:
        enrolment: the subject and its faces.
        size: dimension of an embedding.
    """
    if enrolment.subject_id is not None:
        checked_id(enrolment.subject_id, "subject_id")
    check_changes(enrolment.about())
    if not 1 <= len(enrolment.faces) <= MAX_FACES_PER_SUBJECT:
        raise InvalidInput(
            "INVALID_FACE_COUNT",
            f"{len(enrolment.faces)} faces given; 1 to {MAX_FACES_PER_SUBJECT} are accepted",
            field="maps",
        )
    for position, face in enumerate(enrolment.faces):
        try:
            _check_new_face(face, size)
        except InvalidInput as error:
            raise error.in_field(f"maps[{position}].{error.field}") from None


def _check_new_face(face: NewFace, size: int) -> None:
    check_map(face.codec_id, face.png, face.quality, face.captured_at)
    as_embedding(face.embedding, size)


def as_embedding(values: NDArray[np.floating] | Sequence[float], size: int) -> Embedding:
    """Return the values as a (size,) float32 embedding; refuse other shapes, NaN and lengths."""
    embedding = np.ascontiguousarray(values, dtype=np.float32)
    if embedding.shape != (size,):
        raise InvalidInput(
            "INVALID_EMBEDDING",
            f"embedding has shape {embedding.shape}; it must be ({size},)",
            field="embedding",
        )
    with np.errstate(over="ignore", invalid="ignore"):  # the check refuses what comes of it
        length = float(np.linalg.norm(embedding))
    if not math.isclose(length, 1, abs_tol=LENGTH_TOLERANCE):
        raise InvalidInput(
            "INVALID_EMBEDDING",
            f"embedding has length {length:.6g}; it must be finite and of length 1",
            field="embedding",
        )
    return embedding


def unwanted(text: str) -> str:
    """Return the first forbidden character of a text; "" if there is none."""
    if text.isprintable():
        return ""
    return next((character for character in text if not _is_wanted(character)), "")


def _is_wanted(character: str) -> bool:
    code = ord(character)
    return (
        character.isprintable()
        or unicodedata.category(character) == "Zs"
        or character in _JOINERS
        or (code in _IDEOGRAPHS and code & 0xFFFF not in _NONCHARACTERS)
    )


def is_bare(text: str) -> bool:
    """Return whether a text has no space at its ends and a visible character."""
    return text == text.strip() and bool(text.strip(_JOINERS))


def canonical(text: str) -> str:
    """One spelling (NFC) of those that Unicode calls the same, as "e\u0301" and "\u00e9" are."""
    return unicodedata.normalize("NFC", text)


def folded(text: str) -> str:
    """Return the form that a search compares: without case, joiners and compatibility variants."""
    if text.isascii():
        return text.lower()
    plain = text.translate(_WITHOUT_JOINERS)
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", plain).casefold())


_WITHOUT_JOINERS = dict.fromkeys(map(ord, _JOINERS))
