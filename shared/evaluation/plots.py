"""The plots of the report, drawn from the rows of results.json."""

from collections import defaultdict
from collections.abc import Sequence
from itertools import cycle
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import ScalarFormatter

from shared.evaluation import paper
from shared.evaluation.names import NO_CODEC, OURS, OWN, REFERENCE, TEMPLATE, UNSEEN
from shared.evaluation.rows import Results, Row
from shared.model_directory import UNCOMPRESSED

_INK, _OURS, _PAPER = "#1f2328", "#b3261e", "#1f4e8c"
_BASELINES = ("#0f766e", "#a16207", "#7c3aed", "#be185d", "#4d7c0f", "#64748b")
_TITLES = {OWN: "own extractor", UNSEEN: "a judge not used in training"}
_TICKS = (100, 150, 221, 347, 500, 700, 1000)


def draw_rate_accuracy(results: Results, path: Path) -> None:
    """Plot accuracy on LFW over bytes per face, with one panel per judge, as a PNG file."""
    rows = [row for row in results.rows if row.model == results.model and row.quantized]
    judges = [judge for judge in _TITLES if any(row.judge == judge for row in rows)]
    figure = Figure(figsize=(2 + 5.5 * len(judges), 5.5), layout="constrained")
    panels = figure.subplots(1, len(judges), sharey=True, squeeze=False)[0]
    for judge, axes in zip(judges, panels, strict=True):
        _draw_judge(axes, rows, judge)
    panels[0].set_ylabel("LFW accuracy, %")
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside right upper", fontsize=8, frameon=False)
    figure.savefig(path, dpi=110, metadata={"Software": None})


def draw_open_set(results: Results, path: Path) -> None:
    """Plot FNIR over FPIR of identification, with one line per form, as a PNG file.

    The judge is the own extractor, and both sides have one form. Zero misses are drawn as half.
    """
    rows = [row for row in results.open_set if row.judge == OWN and row.probe == row.enrolled]
    colours = cycle(_BASELINES)
    figure = Figure(figsize=(6.5, 4.5), layout="constrained")
    axes = figure.subplots()
    for row in rows:
        axes.plot(
            [point.fpir for point in row.curve],
            [100 * max(point.fnir, 0.5 / row.mated_probes) for point in row.curve],
            label=row.probe,
            color=_INK if row.probe == UNCOMPRESSED else next(colours),
            linestyle="--" if row.probe == UNCOMPRESSED else "-",
            marker=".",
        )
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.yaxis.set_major_formatter(ScalarFormatter())
    axes.set_xlabel("FPIR: strangers taken for a subject")
    axes.set_ylabel("FNIR: subjects missed, %")
    axes.set_title("Identification on LFW, " + _TITLES[OWN])
    axes.grid(visible=True, which="both", color="#e5e7eb")
    axes.legend(fontsize=8, frameon=False)
    figure.savefig(path, dpi=110, metadata={"Software": None})


def _draw_judge(axes: Axes, rows: Sequence[Row], judge: str) -> None:
    codecs = [row.codec for row in rows if row.codec not in {OURS, NO_CODEC}]
    colours = dict(zip(dict.fromkeys(codecs), _BASELINES, strict=False))
    lines: defaultdict[tuple[str, str], list[tuple[float, float]]] = defaultdict(list)
    for row in rows:
        if row.judge == judge and row.bytes_mean is not None:
            lines[row.codec, row.measure].append((row.bytes_mean, 100 * row.accuracy))
    for (codec, measure), points in lines.items():
        name = codec if codec in {OURS, TEMPLATE} else f"{codec}, {measure}"
        style = _style(colours.get(codec), measure)
        axes.plot(*zip(*sorted(points), strict=True), label=name, **style)
    for row in rows:
        if row.codec == NO_CODEC and (row.judge == judge or (row.judge, judge) == (REFERENCE, OWN)):
            style = {"linestyle": "--" if row.judge == judge else ":"}
            axes.axhline(100 * row.accuracy, label=row.label, color=_INK, linewidth=1, **style)
    if judge == OWN:
        _draw_paper(axes)
    axes.set_xscale("log")
    axes.set_xticks(_TICKS)
    axes.xaxis.set_major_formatter(ScalarFormatter())
    axes.minorticks_off()
    axes.set_xlabel("bytes per face, mean")
    axes.set_title(_TITLES[judge])
    axes.grid(visible=True, color="#e5e7eb")


def _draw_paper(axes: Axes) -> None:
    rows = paper.BEFORE_JOINT, paper.JOINT
    axes.plot(
        [row.bytes_mean for row in rows],
        [100 * row.accuracy for row in rows],
        label="the paper, before and after joint training",
        color=_PAPER,
        linestyle=":",
        marker="*",
        markersize=10,
    )


def _style(baseline: str | None, measure: str) -> dict[str, Any]:
    if baseline is None:
        return {"color": _OURS, "linewidth": 2.5, "marker": "o", "zorder": 3}
    line = {"file": "-", "payload": "--"}[measure]
    return {"color": baseline, "linewidth": 1, "linestyle": line, "marker": ".", "markersize": 5}
