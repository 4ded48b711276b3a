"""The Markdown tables of the report."""

from collections.abc import Iterable, Sequence

from shared.evaluation import paper
from shared.evaluation.names import NO_CODEC, OURS, OWN, REFERENCE, TEMPLATE
from shared.evaluation.rows import DifferenceRow, OpenSetRow, Results, Row


def table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table; columns whose name starts with ">" are right-aligned."""
    names = [column.removeprefix(">") for column in columns]
    rules = ["---:" if column.startswith(">") else "---" for column in columns]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in (names, rules, *rows))


def forms_table(results: Results) -> str:
    """Uncompressed crops and every operating point, for every judge."""
    return table(
        (
            "form",
            "judge",
            ">bytes per face",
            ">accuracy, %",
            ">TAR at FAR 1e-3, %",
            "weights sha256",
        ),
        [
            (
                _name(row, results),
                row.judge,
                _bytes(row),
                f"{_percent(row.accuracy)} ± {_percent(row.std)}",
                _percent(row.tar_at_far_1e3),
                f"`{row.weights_sha256[:12]}`",
            )
            for row in results.rows
            if row.codec in {OURS, NO_CODEC} and row.quantized
        ],
    )


def table_1(results: Results) -> str:
    """The paper's rows, ours, and conventional codecs at our default point's size."""
    theirs = [
        (f"*paper: {row.approach}*", f"*{row.bytes_mean:,.0f}*", f"*{_percent(row.accuracy)}*")
        for row in paper.TABLE_1
    ]
    ours = [
        row for row in results.rows if row.judge == OWN and row.codec in {OURS, NO_CODEC}
    ] + _best_baselines(results, results.default_point, measure="file")
    return table(
        ("approach", ">bytes per face", ">LFW accuracy, %"),
        [
            *theirs,
            *(
                (_name(row, results), _bytes(row), _percent(row.accuracy))
                for row in ours
                if row.quantized
            ),
        ],
    )


def table_2(results: Results) -> str:
    """The cost of rounding in the paper's networks and in ours."""
    rows = [
        (f"*paper: {row.network}*", *_cost(row.rounded, row.unrounded)) for row in paper.TABLE_2
    ]
    own = [row for row in results.rows if row.judge == OWN and row.codec == OURS]
    for unrounded in (row for row in own if not row.quantized):
        rounded = next(
            row
            for row in own
            if (row.model, row.operating_point) == (unrounded.model, unrounded.operating_point)
            and row.quantized
        )
        costs = _cost(rounded.accuracy, unrounded.accuracy)
        rows.append((f"{unrounded.model}, {unrounded.operating_point}", *costs))
    columns = ("network", ">with quantization, %", ">without, %", ">cost, points")
    return table(columns, rows)


def matrix_table(results: Results, judge: str) -> str:
    """Accuracy of every form of probe (rows) against every form of enrollment (columns)."""
    cells = {(c.probe, c.enrolled): c for c in results.matrix if c.judge == judge}
    forms = list(dict.fromkeys(probe for probe, _ in cells))
    return table(
        ("probe \\ enrolled", *(f">{form}" for form in forms)),
        [
            (probe, *(_percent(cells[probe, enrolled].accuracy) for enrolled in forms))
            for probe in forms
        ],
    )


def baselines_table(results: Results) -> str:
    """Conventional codecs at the size of each operating point, for every judge."""
    judges = list(dict.fromkeys(row.judge for row in results.rows))
    found = {
        (row.operating_point, row.label, row.judge): row
        for row in results.rows
        if row.codec not in {OURS, NO_CODEC, TEMPLATE}
    }
    lines = []
    for point, label in dict.fromkeys((point, label) for point, label, _ in found):
        same = [found.get((point, label, judge)) for judge in judges]
        row = next(filter(None, same))
        accuracies = [_percent(one.accuracy) if one else "" for one in same]
        lines.append((point, label, _bytes(row), f"{100 * row.on_target:.1f}", *accuracies))
    columns = ("size of", "codec, bytes counted", ">bytes per face", ">reached by, %")
    return table((*columns, *(f">{judge}, %" for judge in judges)), lines)


def templates_table(results: Results) -> str:
    """Quantized embeddings."""
    return table(
        ("model", "template", ">bytes per face", ">accuracy, %", ">TAR at FAR 1e-3, %"),
        [
            (
                row.model,
                row.label,
                _bytes(row),
                f"{_percent(row.accuracy)} ± {_percent(row.std)}",
                _percent(row.tar_at_far_1e3),
            )
            for row in results.rows
            if row.codec == TEMPLATE
        ],
    )


def differences_table(results: Results) -> str:
    """Differences between our operating points and everything else, with intervals."""
    return table(
        ("ours", "less", "judge", ">difference, points", ">95 % interval"),
        [
            (
                row.codec,
                _other_name(row),
                row.judge,
                f"{100 * row.difference:+.2f}",
                f"{100 * row.low:+.2f} to {100 * row.high:+.2f}",
            )
            for row in results.differences
        ],
    )


def calibration_table(results: Results) -> str:
    """Calibrated false match rates and those measured on LFW's impostor pairs."""
    return table(
        ("probe", "enrolled", ">promised", ">threshold", ">measured", ">ratio"),
        [
            (
                row.probe,
                row.enrolled,
                f"{row.fmr:.0e}",
                f"{row.threshold:.3f}",
                f"{row.measured:.2e}",
                f"{row.ratio:.2f}",
            )
            for row in results.calibration
        ],
    )


OPEN_SET_COLUMNS = (
    "judge",
    "probe",
    "enrolled",
    ">rank 1, %",
    ">FNIR at FPIR 1e-2, %",
    ">FNIR at FPIR 1e-3, %",
)


def open_set_table(results: Results) -> str:
    """Open-set identification with 95 % intervals."""
    return table(OPEN_SET_COLUMNS, open_set_cells(results.open_set))


def open_set_cells(rows: Iterable[OpenSetRow]) -> list[tuple[str, ...]]:
    """The cells of any table under `OPEN_SET_COLUMNS`."""
    return [
        (
            row.judge,
            row.probe,
            row.enrolled,
            _with_interval(row.rank1, row.rank1_interval),
            _with_interval(row.fnir_at_fpir_1e2, row.fnir_at_fpir_1e2_interval),
            _with_interval(row.fnir_at_fpir_1e3, row.fnir_at_fpir_1e3_interval),
        )
        for row in rows
    ]


def open_set_sizes(row: OpenSetRow) -> str:
    """The number of subjects and probes of a row, in words."""
    return (
        f"{row.subjects:,} subjects enrolled with one photograph each, {row.mated_probes:,} other "
        f"photographs of theirs and {row.non_mated_probes:,} strangers as probes"
    )


def kodak_table(results: Results) -> str:
    """Bits per pixel and PSNR on Kodak's pictures."""
    return table(
        ("codec", ">bits per pixel", ">PSNR, dB"),
        [
            (
                row.operating_point if row.codec == OURS else row.codec,
                f"{row.bits_per_pixel:.4f}",
                f"{row.psnr:.2f}",
            )
            for row in results.kodak
        ],
    )


def _best_baselines(results: Results, point: str, *, measure: str) -> list[Row]:
    """Each conventional codec with the better of own and reference extractor."""
    best: dict[str, Row] = {}
    for row in results.rows:
        if row.codec in {OURS, NO_CODEC} or row.judge not in {OWN, REFERENCE}:
            continue
        if (row.operating_point, row.measure) == (point, measure):
            best[row.codec] = max(best.get(row.codec, row), row, key=lambda one: one.accuracy)
    return list(best.values())


def _name(row: Row, results: Results) -> str:
    """The label of a row, with its model if that is not the report's."""
    return row.label if row.model == results.model else f"{row.model}, {row.label}"


def _other_name(row: DifferenceRow) -> str:
    """The other codec's name, with its judge if that differs."""
    judged_alike = row.other_judge == row.judge or row.other.startswith("A,")
    return row.other if judged_alike else f"{row.other}, judged by {row.other_judge}"


def _bytes(row: Row) -> str:
    return "" if row.bytes_mean is None else f"{row.bytes_mean:,.1f}"


def _percent(share: float) -> str:
    return f"{100 * share:.2f}"


def _with_interval(share: float, interval: tuple[float, float]) -> str:
    low, high = map(_percent, interval)
    return f"{_percent(share)} ({low} to {high})"


def _cost(rounded: float, unrounded: float) -> tuple[str, str, str]:
    return _percent(rounded), _percent(unrounded), f"{100 * (unrounded - rounded):.2f}"
