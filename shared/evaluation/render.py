"""From results.json to the report's text and plot: nothing is measured here."""

from collections.abc import Iterator
from pathlib import Path

from shared.evaluation.names import OWN, REFERENCE, UNSEEN
from shared.evaluation.plots import draw_open_set, draw_rate_accuracy
from shared.evaluation.rows import Results, read_results
from shared.evaluation.tables import (
    calibration_table,
    differences_table,
    forms_table,
    kodak_table,
    matrix_table,
    open_set_sizes,
    open_set_table,
    rivals_table,
    table_1,
    table_2,
    templates_table,
)

_JUDGES = {
    OWN: "the model's own extractor",
    REFERENCE: "the extractor before it was tuned on reconstructions; on uncompressed crops, A",
    UNSEEN: "a network that no trained weight depends on, shown the reconstructions",
}

_LIMITS = """\
- A conventional codec's mean size is that of the photographs that occur in pairs; ours is that of
  all 13,233. Each photograph takes the best picture that fits into our mean size; where even the
  worst does not fit, it is taken as it is ("reached by").
- Payload bytes leave out what a decoder made for such crops would know: signatures, boxes,
  headers. Ours are always those of whole PNG files, one for each face.
- Intervals take thresholds as given and draw people, not pairs: 2,000 draws, paired.
- The unseen judge sees reconstructions rounded to 8 bits, of 112x96 pixels with their first and
  last columns repeated eight times: so do uncompressed crops.
- LFW's makers warn that it shows few children, old people and women, and some origins hardly at
  all. The figures say little about them.
- Between the paper and us not only the method differs: its extractor saw 10,575 people of
  CASIA-WebFace."""


def render_report(folder: Path) -> None:
    """Write report.md, rate_accuracy.png and open_set.png beside results.json.

    Raises:
        OSError: there is no results.json.
        InvalidInput: INVALID_RESULTS; it is of another version.
    """
    results = read_results(folder / "results.json")
    draw_rate_accuracy(results, folder / "rate_accuracy.png")
    if results.open_set:
        draw_open_set(results, folder / "open_set.png")
    (folder / "report.md").write_text(markdown(results), encoding="utf-8")


def markdown(results: Results) -> str:
    """The text of the report."""
    parts = [f"# Report on {results.model}", _origin(results)]
    for title, *paragraphs in _sections(results):
        parts += [f"## {title}", *paragraphs]
    return "\n\n".join(parts) + "\n"


def _origin(results: Results) -> str:
    row = results.rows[0]
    judges = "\n".join(
        f"- *{judge}*: {_JUDGES[judge]}" for judge in dict.fromkeys(r.judge for r in results.rows)
    )
    digests = "".join(f"\n- {j.judge}: `{j.name}`, sha256 `{j.sha256}`" for j in results.judges)
    return (
        f"Made by `{results.command}` at commit `{results.commit}` on {results.date}; every figure "
        f"is in `results.json`. LFW: {row.samples:,} pairs, {row.protocol}; sizes are means over "
        f"{row.images:,} real PNG files.\n\nJudges:\n\n{judges}{digests}"
    )


def _sections(results: Results) -> Iterator[tuple[str, ...]]:
    yield (
        "Accuracy per byte",
        "![Accuracy over bytes](rate_accuracy.png)",
        forms_table(results),
    )
    yield (
        "Table 1 of the paper",
        (
            "Conventional codecs take our default point's bytes; whichever of our extractors "
            "favours them judges them."
        ),
        table_1(results),
    )
    yield (
        "Table 2 of the paper",
        "The paper prints its two columns under each other's headings; here they are put right.",
        table_2(results),
    )
    for judge in dict.fromkeys(cell.judge for cell in results.matrix):
        yield f"Probes against enrollments, {judge}", matrix_table(results, judge)
    yield (
        "Conventional codecs",
        "Given for each photograph as many bytes as our maps take in the mean.",
        rivals_table(results),
    )
    yield (
        "Templates",
        (
            "What a camera would send that runs the extractor itself: embeddings of uncompressed "
            "crops, in few bits. Nobody can look at a template, no later extractor can embed it "
            "anew, and every camera has to run the extractor that the gallery is searched with."
        ),
        templates_table(results),
    )
    yield (
        "Differences",
        (
            "Points of LFW accuracy, positive where ours is ahead; 0.2 points are 12 pairs. Where "
            "our own extractor judges, a conventional codec has the better of own and reference."
        ),
        differences_table(results),
    )
    yield (
        "Calibration",
        "Thresholds that were calibrated on held-out people, on pairs of strangers in LFW"
        + (f" ({results.calibration[0].pairs:,})." if results.calibration else "."),
        calibration_table(results),
    )
    if results.open_set:
        yield (
            "Identification among strangers",
            (
                f"{open_set_sizes(results.open_set[0])}. Rank 1: the own subject is the most "
                "similar one. FNIR: it is not, or is below the threshold that a share FPIR of "
                "strangers reach. In brackets 95 % intervals, of subjects and strangers drawn anew."
            ),
            "![Misses over false alarms](open_set.png)",
            open_set_table(results),
        )
    yield (
        "Kodak",
        (
            "A codec for aligned faces on photographs of everything else, in strips that fit into "
            "compact maps; the others are given the default point's bytes."
        ),
        "![Kodak's pictures](kodak.png)",
        kodak_table(results),
    )
    yield "Faces", "![The same faces through every codec](faces.png)"
    yield "Limits", _LIMITS
