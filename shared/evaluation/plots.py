"""Accuracy over bytes, drawn from the rows of results.json."""

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import ScalarFormatter

from shared.evaluation import paper
from shared.evaluation.panel import REFERENCE, UNSEEN
from shared.evaluation.pipeline import OWN
from shared.evaluation.rows import NO_CODEC, OURS, Results, Row

_INK, _FAINT, _OURS, _PAPER = "#1f2328", "#6b7280", "#b3261e", "#1f4e8c"
_TITLES = {OWN: "own extractor", UNSEEN: "a judge that training never saw"}


def draw_rate_accuracy(results: Results, path: Path) -> None:
    """A panel for each judge: accuracy on LFW over the bytes of a face, as a PNG file."""
    judges = [judge for judge in _TITLES if any(row.judge == judge for row in results.rows)]
    figure = Figure(figsize=(7 * len(judges), 5.5), layout="constrained")
    panels = figure.subplots(1, len(judges), sharey=True, squeeze=False)[0]
    for judge, axes in zip(judges, panels, strict=True):
        _draw_judge(axes, [row for row in results.rows if row.model == results.model], judge)
    panels[0].set_ylabel("LFW accuracy, %")
    figure.savefig(path, dpi=110, metadata={"Software": None})


def _draw_judge(axes: Axes, rows: Sequence[Row], judge: str) -> None:
    lines: defaultdict[str, list[tuple[float, float]]] = defaultdict(list)
    for row in rows:
        if row.judge == judge and row.bytes_mean is not None:
            name = OURS if row.codec == OURS else row.label
            lines[name].append((row.bytes_mean, 100 * row.accuracy))
    for name, points in lines.items():
        axes.plot(*zip(*sorted(points), strict=True), label=name, **_style(name))
    for row in rows:
        if row.codec == NO_CODEC and row.judge in {judge, REFERENCE}:
            _draw_level(axes, row, judge)
    if judge == OWN:
        _draw_paper(axes)
    axes.set_xscale("log")
    axes.set_xticks([100, 150, 221, 347, 700, 1000])
    axes.xaxis.set_major_formatter(ScalarFormatter())
    axes.minorticks_off()
    axes.set_xlabel("bytes a face, mean")
    axes.set_title(_TITLES[judge])
    axes.grid(visible=True, color="#e5e7eb")
    axes.legend(fontsize=8, frameon=False)


def _draw_level(axes: Axes, row: Row, judge: str) -> None:
    if row.judge == REFERENCE and judge != OWN:
        return
    label = "A, uncompressed" if row.judge == REFERENCE else "uncompressed"
    style = ":" if row.judge == REFERENCE else "--"
    axes.axhline(100 * row.accuracy, linestyle=style, color=_INK, linewidth=1, label=label)


def _draw_paper(axes: Axes) -> None:
    for row in (paper.BEFORE_JOINT, paper.JOINT):
        axes.scatter([row.bytes_mean], [100 * row.accuracy], marker="*", s=90, color=_PAPER)
        axes.annotate(
            f"the paper: {row.approach}", (row.bytes_mean, 100 * row.accuracy), fontsize=8
        )


def _style(name: str) -> dict[str, Any]:
    if name == OURS:
        return {"color": _OURS, "linewidth": 2.5, "marker": "o", "zorder": 3}
    return {"linewidth": 1, "marker": "s" if name.endswith("payload") else ".", "markersize": 4}
