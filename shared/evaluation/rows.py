"""results.json: every figure of the report, as it was measured.

The report's text and plots are made from this file alone.
"""

from pathlib import Path

from pydantic import Field, ValidationError

from shared.errors import InvalidInput
from shared.evaluation.names import NO_CODEC, OURS, REFERENCE, TEMPLATE
from shared.model_directory import UNCOMPRESSED
from shared.record import Record

Share = float
"""In [0, 1]."""


class Row(Record):
    """Verification where both sides went through one codec.

    Attributes:
        dataset: "lfw".
        protocol: how pairs were drawn and thresholds chosen.
        codec: "compactface", "none" (uncompressed crops), "template", or the name of a conventional
            codec.
        operating_point: of compactface; the template's name; for a conventional codec, the point
            whose mean size was its target; "" without a codec.
        model: `<family>/<version>`, of the extractor too.
        quantized: false where RecNet was fed CompNet's output without rounding.
        measure: what counts as size: the whole "file", or its "payload" without the container.
        bytes_mean: mean size of that; None without a codec.
        on_target: share of images that the codec could make as small as the target.
        judge: who embedded what came out: "own", "reference" or "unseen".
        accuracy: mean over the folds.
        std: standard deviation over the folds.
        tar_at_far_1e3: share of genuine pairs accepted at a false accept rate of 1e-3.
        command: what was typed.
        commit: of the software.
        weights_sha256: of the operating point, or of the default one.
        samples: pairs compared.
        images: photographs that `bytes_mean` is the mean of.
    """

    dataset: str
    protocol: str
    codec: str
    operating_point: str
    model: str
    quantized: bool = True
    measure: str = "file"
    bytes_mean: float | None
    on_target: Share = 1.0
    judge: str
    accuracy: Share
    std: float
    tar_at_far_1e3: Share
    command: str
    commit: str
    weights_sha256: str
    samples: int
    images: int

    @property
    def label(self) -> str:
        """What was done to the crops, in words; the reference extractor's uncompressed are A."""
        if self.codec == NO_CODEC:
            return "A, uncompressed" if self.judge == REFERENCE else UNCOMPRESSED
        if self.codec == OURS:
            return self.operating_point if self.quantized else f"{self.operating_point}, unrounded"
        return self.operating_point if self.codec == TEMPLATE else f"{self.codec}, {self.measure}"


class JudgeRow(Record):
    """Who stands behind "reference" and "unseen"; the own extractor is the model's."""

    judge: str
    name: str
    sha256: str


class MatrixRow(Record):
    """One form of probe against one form of enrolment, as one judge sees them."""

    judge: str
    probe: str
    enrolled: str
    accuracy: Share
    std: float
    tar_at_far_1e3: Share


class DifferenceRow(Record):
    """Accuracy of `codec` less that of `other`, with its paired 95 % bootstrap interval.

    `other_judge` is not always `judge`: A is measured by the reference extractor.
    """

    judge: str
    codec: str
    other: str
    other_judge: str
    difference: float
    low: float
    high: float


class CalibrationRow(Record):
    """A threshold meant for one false match rate, and the rate that it has.

    Attributes:
        probe: form of the probes.
        enrolled: form of the enrolments.
        fmr: what the threshold was calibrated for.
        threshold: cosine to reach.
        measured: share of `pairs` that reach it.
        pairs: of strangers.
    """

    probe: str
    enrolled: str
    fmr: float
    threshold: float
    measured: float
    pairs: int

    @property
    def ratio(self) -> float:
        """How many times the promised rate the measured one is."""
        return self.measured / self.fmr


class CurvePoint(Record):
    """A false positive identification rate, and the false negative one that goes with it."""

    fpir: Share
    fnir: Share


class OpenSetRow(Record):
    """Identification of subjects among strangers; `open_set` says what is measured, and how.

    Attributes:
        judge: as in `Row`.
        probe: form of the probes.
        enrolled: form of the enrolments.
        subjects: in the gallery, with one photograph each.
        mated_probes: other photographs of theirs.
        non_mated_probes: photographs of strangers.
        rank1: share of mated probes to which their own subject is the most similar one.
        rank1_interval: 95 % bootstrap interval of that; so are the other two of theirs.
        fnir_at_fpir_1e2: share of mated probes missed where 1 % of strangers are taken for
            a subject.
        fnir_at_fpir_1e3: the same where one in a thousand is.
        curve: ascending.
    """

    judge: str
    probe: str
    enrolled: str
    subjects: int
    mated_probes: int
    non_mated_probes: int
    rank1: Share
    rank1_interval: tuple[Share, Share]
    fnir_at_fpir_1e2: Share
    fnir_at_fpir_1e2_interval: tuple[Share, Share]
    fnir_at_fpir_1e3: Share
    fnir_at_fpir_1e3_interval: tuple[Share, Share]
    curve: tuple[CurvePoint, ...]


class KodakRow(Record):
    """A codec on Kodak's pictures.

    Attributes:
        codec: "compactface" or the name of a conventional codec.
        operating_point: of compactface; else the one whose size was the target.
        bits_per_pixel: of the real files, mean over the pictures.
        psnr: mean over the pictures, in dB.
        images: number of pictures.
    """

    codec: str
    operating_point: str
    bits_per_pixel: float
    psnr: float
    images: int


class SliceRow(Record):
    """One fold of LFW, small enough to be measured anew in continuous integration.

    Attributes:
        form: "uncompressed" or an operating point.
        weights_sha256: of that operating point, or of the default one.
        pairs: pairs of the first fold.
        images: photographs in them.
        bytes_mean: mean size of their maps; None without a codec.
        threshold: that the other folds chose.
        accuracy: of the first fold at that threshold.
        genuine: mean similarity of its genuine pairs.
        impostor: mean similarity of its impostor pairs.
    """

    form: str
    weights_sha256: str
    pairs: int
    images: int
    bytes_mean: float | None
    threshold: float
    accuracy: Share
    genuine: float
    impostor: float


class Results(Record):
    """All that was measured in one run of the report.

    Attributes:
        date: when, UTC.
        command: what was typed.
        commit: of the software.
        model: the one that most of it is about.
        default_point: its default operating point.
        judges: besides the own extractor.
        rows: one per codec, size and judge.
        matrix: of every form of probe and enrolment.
        differences: between codecs.
        calibration: thresholds of the manifest on LFW.
        open_set: identification; none in files older than it.
        kodak: pictures that show no faces.
        slices: for continuous integration.
    """

    schema_version: int = 1
    date: str
    command: str
    commit: str
    model: str
    default_point: str
    judges: tuple[JudgeRow, ...]
    rows: tuple[Row, ...] = Field(min_length=1)
    matrix: tuple[MatrixRow, ...]
    differences: tuple[DifferenceRow, ...]
    calibration: tuple[CalibrationRow, ...]
    open_set: tuple[OpenSetRow, ...] = ()
    kodak: tuple[KodakRow, ...]
    slices: tuple[SliceRow, ...]


def write_results(path: Path, results: Results) -> None:
    """Write results.json, indented so that changes can be read."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(results.model_dump_json(indent=1) + "\n", encoding="utf-8")


def read_results(path: Path) -> Results:
    """Read results.json.

    Raises:
        OSError: it cannot be read.
        InvalidInput: INVALID_RESULTS; it is of another version, or somebody has edited it.
    """
    try:
        return Results.model_validate_json(path.read_bytes())
    except ValidationError as error:
        raise InvalidInput(
            "INVALID_RESULTS",
            f"{path} does not hold results that this version can read "
            f"({error.error_count()} problems); run `compactface evaluate report`",
        ) from error
