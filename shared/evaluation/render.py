"""Render results.json as the report's text and plots; nothing is measured here."""

from collections.abc import Iterator
from pathlib import Path

from shared.evaluation.names import OWN, REFERENCE, UNSEEN
from shared.evaluation.plots import draw_open_set, draw_rate_accuracy
from shared.evaluation.rows import Results, read_results
from shared.evaluation.tables import (
    baselines_table,
    calibration_table,
    differences_table,
    forms_table,
    kodak_table,
    matrix_table,
    open_set_sizes,
    open_set_table,
    table_1,
    table_2,
    templates_table,
)

_JUDGES = {
    OWN: "the model's own extractor",
    REFERENCE: "the extractor before tuning on reconstructions; on uncompressed crops it gives A",
    UNSEEN: "a network that no trained weight depends on, applied to the reconstructions",
}

_LIMITS = """\
- A conventional codec's mean size is over the photographs in pairs; ours is over all 13,233. Each
  photograph gets the best quality that fits into our mean size; if even the lowest quality does
  not fit, it is used anyway ("reached by").
- Payload bytes exclude what a decoder for such crops could know in advance: signatures, boxes,
  headers. Ours are always whole PNG files, one per face.
- Intervals use fixed thresholds and resample people, not pairs: 2,000 paired samples.
- The unseen judge sees reconstructions rounded to 8 bits, of 112x96 pixels with their first and
  last columns repeated eight times. The same holds for uncompressed crops.
- LFW's authors note that it contains few children, old people and women, and few people of some
  ethnicities. The figures say little about these groups.
- The paper's extractor was trained on 10,575 people of CASIA-WebFace, so the comparison with it
  is not only between methods."""


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
        f"Made by `{results.command}` at commit `{results.commit}` on {results.date}; all figures "
        f"are in `results.json`. LFW: {row.samples:,} pairs, {row.protocol}; sizes are means over "
        f"{row.images:,} real PNG files.\n\nJudges:\n\n{judges}{digests}"
    )


def _sections(results: Results) -> Iterator[tuple[str, ...]]:
    yield (
        "Accuracy per byte",
        "![Accuracy over bytes per face](rate_accuracy.png)",
        forms_table(results),
    )
    yield (
        "Table 1 of the paper",
        (
            "Conventional codecs get the mean size of our default point, and whichever of our two "
            "extractors is better for them."
        ),
        table_1(results),
    )
    yield (
        "Table 2 of the paper",
        (
            "The paper prints its two columns under swapped headings; here they are corrected. "
            "Without quantization there is no readout: cameras write it by rounding."
        ),
        table_2(results),
    )
    for judge in dict.fromkeys(cell.judge for cell in results.matrix):
        yield f"Probes against enrollments, {judge}", matrix_table(results, judge)
    yield (
        "Conventional codecs",
        "For each photograph, the size limit is the mean size of our maps.",
        baselines_table(results),
    )
    yield (
        "Templates",
        (
            "The alternative for a camera that runs the extractor itself: embeddings of "
            "uncompressed crops, quantized to few bits. People cannot view a template, a later "
            "extractor cannot embed it again, and every camera must run the gallery's extractor."
        ),
        templates_table(results),
    )
    yield (
        "Differences",
        (
            "Points of LFW accuracy, positive if ours is better; 0.2 points are 12 pairs. If the "
            "judge is our own extractor, a conventional codec gets the better of own and reference."
        ),
        differences_table(results),
    )
    yield (
        "Calibration",
        "Thresholds calibrated on held-out people, checked on impostor pairs of LFW"
        + (f" ({results.calibration[0].pairs:,})." if results.calibration else "."),
        calibration_table(results),
    )
    if results.open_set:
        yield (
            "Open-set identification",
            (
                f"{open_set_sizes(results.open_set[0])}. Rank 1: the own subject is the most "
                "similar one. FNIR: it is not, or is below the threshold of the given FPIR. In "
                "brackets: 95 % bootstrap intervals over subjects and strangers."
            ),
            "![FNIR over FPIR](open_set.png)",
            open_set_table(results),
        )
    yield (
        "Kodak",
        (
            "A codec for aligned faces applied to general photographs, in tiles of the size of a "
            "crop; the other codecs get the size of the default point."
        ),
        "![Kodak's pictures](kodak.png)",
        kodak_table(results),
    )
    yield "Faces", "![The same faces in every codec](faces.png)"
    yield "Limits", _LIMITS
