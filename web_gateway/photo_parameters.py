"""Query parameters of endpoints for photographs."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Final

from starlette.requests import Request

from web_gateway.photos import Threshold
from web_gateway.problems import Problem
from web_gateway.transcoding import unknown_parameter

_MAX_WHOLE: Final = 10_000
_WHOLE: Final = re.compile(r"[0-9]{1,9}")


@dataclass(frozen=True, slots=True)
class Parameter:
    """A query parameter.

    Attributes:
        name: name of the parameter.
        schema: JSON Schema of its value.
        description: description for users.
        required: whether it is required.
    """

    name: str
    schema: dict[str, Any]
    description: str
    required: bool = False


_TEXT: Final = {"type": "string"}
_FLAG: Final = {"type": "boolean", "default": False}
_RATE: Final = {"type": "number", "exclusiveMinimum": 0, "exclusiveMaximum": 1}
_COSINE: Final = {"type": "number", "minimum": -1, "maximum": 1}
_INDEX: Final = {"type": "integer", "minimum": 0, "maximum": _MAX_WHOLE}
_MIN_SIMILARITY: Final = Parameter(
    "minSimilarity", _COSINE, "Cosine that a match must reach, in place of a rate."
)

COLLECTION: Final = (Parameter("collection", _TEXT, 'The collection; absent: "default".'),)
CROPS: Final = (Parameter("includeCrops", _FLAG, "Whether to return each aligned face, a PNG."),)
FACE: Final = (
    Parameter("face", _INDEX, "Which face of the photograph, from 0. Absent: there must be one."),
)
LIVENESS: Final = (
    Parameter(
        "liveness",
        {"type": "number", "minimum": 0, "maximum": 1},
        "How sure the client is that the photograph shows live people, where the collection has a "
        "`minLiveness`.",
    ),
)
IDENTIFY: Final = (
    Parameter(
        "maxFpir",
        _RATE,
        "Largest tolerable share of strangers that match anybody; else that of the collection.",
    ),
    _MIN_SIMILARITY,
    Parameter("maxSubjects", _INDEX, "Candidates for each face; 0: 1."),
)
VERIFY: Final = (
    Parameter("subjectId", _TEXT, "The subject; or send a second photograph as `reference`."),
    Parameter(
        "maxFmr",
        _RATE,
        "Largest tolerable share of pairs of strangers that match; else that of the collection.",
    ),
    _MIN_SIMILARITY,
    Parameter("referenceFace", _INDEX, "Which face of `reference`. Absent: there must be one."),
)
ENROLLMENT: Final = (
    Parameter("displayName", _TEXT, "For people; kept as it is where absent."),
    Parameter("labels", {"type": "array", "items": _TEXT}, "Words to list by; may be repeated."),
    Parameter(
        "onDuplicate",
        {"type": "string", "enum": ["ON_DUPLICATE_REJECT", "ON_DUPLICATE_ALLOW"]},
        "What to do when another subject looks the same.",
    ),
    Parameter("createOnly", _FLAG, "Whether to refuse a known subject."),
    Parameter("allowLowQuality", _FLAG, "Whether to take a face below the service's minimum."),
    Parameter("requestId", _TEXT, "Makes the call safe to repeat, for 7 days."),
    Parameter(
        "expireTime", {"type": "string", "format": "date-time"}, "When to delete the subject."
    ),
)


class Parameters:
    """The parsed query parameters of a request.

    Raises:
        Problem: a parameter is unknown or repeated; methods raise it for values out of range.
    """

    def __init__(self, request: Request, *known: Iterable[Parameter]) -> None:
        self._known = {each.name: each for group in known for each in group}
        self._items = request.query_params.multi_items()
        self._given: dict[str, str] = {}
        for name, value in self._items:
            if name not in self._known:
                raise unknown_parameter(name, self._known)
            if name in self._given and self._known[name].schema["type"] != "array":
                raise _bad(name, "PARAMETER_REPEATED", f"the parameter {name} is given twice")
            self._given[name] = value

    def only(self, group: Iterable[Parameter]) -> list[tuple[str, str]]:
        """Names and values of the parameters in a group."""
        names = {each.name for each in group}
        return [(name, value) for name, value in self._items if name in names]

    def text(self, name: str) -> str:
        """A string; "" if absent."""
        return self._given.get(name, "")

    def flag(self, name: str) -> bool:
        """A boolean; false if absent."""
        value = self._given.get(name, "false").lower()
        if value not in {"true", "false"}:
            raise _bad(name, "OUT_OF_RANGE", f"{name} is {value!r:.80}; it must be true or false")
        return value == "true"

    def whole(self, name: str) -> int | None:
        """An integer; None if absent."""
        value = self._given.get(name)
        if value is None:
            return None
        if not _WHOLE.fullmatch(value) or int(value) > _MAX_WHOLE:
            raise _bad(
                name,
                "OUT_OF_RANGE",
                f"{name} is {value!r:.80}; it must be a whole number from 0 to {_MAX_WHOLE}",
            )
        return int(value)

    def share(self, name: str) -> float | None:
        """A number in [0, 1]; None if absent."""
        value = self._number(name)
        if value is not None and not 0 <= value <= 1:
            raise _bad(name, "OUT_OF_RANGE", f"{name} is {value:g}; it must be in [0, 1]")
        return value

    def threshold(self, rate: str) -> Threshold:
        """`rate` or minSimilarity, at most one of which may be given."""
        given = Threshold(self._number(rate), self._number("minSimilarity"))
        if given.rate is not None and given.min_similarity is not None:
            raise _bad(
                rate,
                "THRESHOLD_AMBIGUOUS",
                f"both {rate} ({given.rate}) and minSimilarity ({given.min_similarity}) are "
                "given; give one",
            )
        return given

    def _number(self, name: str) -> float | None:
        value = self._given.get(name)
        try:
            return None if value is None else float(value)
        except ValueError:
            raise _bad(
                name, "OUT_OF_RANGE", f"{name} is {value!r:.80}; it must be a number"
            ) from None


def _bad(name: str, reason: str, detail: str) -> Problem:
    return Problem(HTTPStatus.BAD_REQUEST, reason, detail, field=name)
