"""results.json: all figures of the report.

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
    """Verification with both sides through one codec.

    Attributes:
        dataset: "lfw".
        protocol: how pairs and thresholds are chosen.
        codec: "compactface", "none" (uncompressed crops), "template", or the name of a conventional
            codec.
        operating_point: of compactface; the template's name; for a conventional codec, the point
            whose mean size was the target; "" without a codec.
        model: `<family>/<version>`, also of the extractor.
        quantized: false if RecNet received CompNet's output without rounding.
        measure: bytes that count: the whole "file", or its "payload" without the container.
        bytes_mean: mean size; None without a codec.
        on_target: share of images for which the codec met the target.
        judge: network that embedded the output: "own", "reference" or "unseen".
        accuracy: mean over the folds.
        std: standard deviation over the folds.
        tar_at_far_1e3: share of genuine pairs accepted at a false accept rate of 1e-3.
        command: the command line.
        commit: commit of the software.
        weights_sha256: of the operating point, or of the default one.
        samples: number of compared pairs.
        images: number of photographs in `bytes_mean`.
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
        """Label of the row's form; the reference extractor's uncompressed crops are "A"."""
        if self.codec == NO_CODEC:
            return "A, uncompressed" if self.judge == REFERENCE else UNCOMPRESSED
        if self.codec == OURS:
            return self.operating_point if self.quantized else f"{self.operating_point}, unrounded"
        return self.operating_point if self.codec == TEMPLATE else f"{self.codec}, {self.measure}"


class JudgeRow(Record):
    """The networks behind "reference" and "unseen"; "own" is the model's extractor."""

    judge: str
    name: str
    sha256: str


class MatrixRow(Record):
    """One form of probe against one form of enrollment, for one judge."""

    judge: str
    probe: str
    enrolled: str
    accuracy: Share
    std: float
    tar_at_far_1e3: Share


class DifferenceRow(Record):
    """Accuracy of `codec` minus that of `other`, with a paired 95 % bootstrap interval.

    `other_judge` may differ from `judge`: A is measured with the reference extractor.
    """

    judge: str
    codec: str
    other: str
    other_judge: str
    difference: float
    low: float
    high: float


class CalibrationRow(Record):
    """A calibrated threshold and its measured false match rate.

    Attributes:
        probe: form of the probes.
        enrolled: form of the enrollments.
        fmr: false match rate that the threshold was calibrated for.
        threshold: cosine to reach.
        measured: share of `pairs` that reach it.
        pairs: number of impostor pairs.
    """

    probe: str
    enrolled: str
    fmr: float
    threshold: float
    measured: float
    pairs: int

    @property
    def ratio(self) -> float:
        """The measured false match rate divided by the calibrated one."""
        return self.measured / self.fmr


class CurvePoint(Record):
    """A false positive identification rate with its false negative identification rate."""

    fpir: Share
    fnir: Share


class OpenSetRow(Record):
    """Open-set identification; see `open_set`.

    Attributes:
        judge: as in `Row`, or the name of another model whose own extractor it is.
        probe: form of the probes.
        enrolled: form of the enrollments.
        subjects: number of subjects in the gallery, with one photograph each.
        mated_probes: number of their other photographs.
        non_mated_probes: number of photographs of strangers.
        rank1: share of mated probes to which their own subject is the most similar one.
        rank1_interval: 95 % bootstrap interval; likewise the other two.
        fnir_at_fpir_1e2: false negative identification rate at a false positive rate of 1e-2.
        fnir_at_fpir_1e3: the same at 1e-3.
        curve: ascending by false positive identification rate.
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
    """A codec on Kodak's images.

    Attributes:
        codec: "compactface" or the name of a conventional codec.
        operating_point: of compactface; otherwise the point whose size was the target.
        bits_per_pixel: size of the files per pixel, mean over the images.
        psnr: mean over the images, in dB.
        images: number of images.
    """

    codec: str
    operating_point: str
    bits_per_pixel: float
    psnr: float
    images: int


class SliceRow(Record):
    """One fold of LFW, small enough for continuous integration.

    Attributes:
        form: "uncompressed" or an operating point.
        weights_sha256: of that operating point, or of the default one.
        pairs: pairs of the first fold.
        images: photographs in them.
        bytes_mean: mean size of their maps; None without a codec.
        threshold: threshold chosen on the other folds.
        accuracy: accuracy of the first fold at that threshold.
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
    """All results of one run of the report.

    Attributes:
        date: date, UTC.
        command: the command line.
        commit: commit of the software.
        model: the model that is reported.
        default_point: its default operating point.
        judges: judges besides the own extractor.
        rows: one per codec, size and judge.
        matrix: every form of probe and enrollment.
        differences: differences between codecs.
        calibration: the manifest's thresholds on LFW.
        open_set: identification; empty in older files.
        kodak: results on images without faces.
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
    """Write results.json, indented for readable diffs."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(results.model_dump_json(indent=1) + "\n", encoding="utf-8")


def read_results(path: Path) -> Results:
    """Read results.json.

    Raises:
        OSError: the file cannot be read.
        InvalidInput: INVALID_RESULTS; it has another version or was edited.
    """
    try:
        return Results.model_validate_json(path.read_bytes())
    except ValidationError as error:
        raise InvalidInput(
            "INVALID_RESULTS",
            f"{path} does not hold results that this version can read "
            f"({error.error_count()} problems); run `compactface evaluate report`",
        ) from error
