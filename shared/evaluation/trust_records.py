"""The content of trust.json."""

from pydantic import Field

from shared.record import Record

ALL_CONDITIONS = "all conditions"


class TrustRow(Record):
    """What one condition makes of one promise.

    Attributes:
        condition: of `CONDITIONS`, a range of yaw, or a group of people.
        fmr_asked: the false match rate that the threshold was to hold.
        fmr_measured: what it is among pairs of strangers; None: no pair is left to measure on.
        low: lower end of its 95 % interval.
        high: upper end of it.
        fnmr: share of genuine pairs below their threshold; None: there are none.
        low_quality_share: of faces.
        pairs: of strangers, neither called LOW_QUALITY.
        genuine_pairs: likewise.
        faces: all of them.
    """

    condition: str
    fmr_asked: float = Field(gt=0, lt=1)
    fmr_measured: float | None
    low: float | None
    high: float | None
    fnmr: float | None
    low_quality_share: float
    pairs: int
    genuine_pairs: int
    faces: int


class SearchRow(Record):
    """What a promise is worth in a search, by unspoilt photographs.

    Attributes:
        fpir_asked: share of strangers' probes that may match anybody.
        fpir_measured: share of those that do.
        low: lower end of its 95 % interval, bootstrapped over probes.
        high: upper end of it.
        fnir: share of enrolled people's probes that do not match their subject first.
        enrolled: faces searched, one a person: those whose quality suffices.
        strangers: probes of people who are not enrolled, likewise.
    """

    fpir_asked: float
    fpir_measured: float
    low: float
    high: float
    fnir: float
    enrolled: int
    strangers: int


class DiscardCurve(Record):
    """FNMR at FMR 1e-3 once the worst pairs are discarded.

    Attributes:
        probes: ALL_CONDITIONS, or one of them.
        measure: what ranks pairs, by the worse of their two faces.
        discarded: shares of pairs left out.
        fnmr: of the genuine pairs that stay.
    """

    probes: str = ALL_CONDITIONS
    measure: str
    discarded: tuple[float, ...]
    fnmr: tuple[float, ...]


class Trust(Record):
    """trust.json: every figure of trust.md.

    Attributes:
        model: `<family>/<version>`.
        point: operating point of both sides.
        min_quality: below it a face is called LOW_QUALITY.
        quality: "learned", or "measured" for a model without a quality head.
        command: what was typed.
        commit: of the software.
        rows: conditions, then ranges of yaw.
        search: everyone enrolled by one photograph; None: there is nobody with one only.
        curves: error versus discard.
    """

    model: str
    point: str
    min_quality: float
    quality: str
    command: str
    commit: str
    rows: tuple[TrustRow, ...]
    search: SearchRow | None
    curves: tuple[DiscardCurve, ...]


class Groups(Record):
    """groups.json: every figure of groups.md.

    Attributes:
        model: `<family>/<version>`.
        point: operating point of both sides.
        min_quality: below it a face is called LOW_QUALITY.
        command: what was typed.
        commit: of the software.
        people: people of each group.
        rows: all people, then each group; pairs of strangers are of one group.
    """

    model: str
    point: str
    min_quality: float
    command: str
    commit: str
    people: dict[str, int]
    rows: tuple[TrustRow, ...]
