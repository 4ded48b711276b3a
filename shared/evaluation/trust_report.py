"""From trust.json to its text and plots: nothing is measured here."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from shared.evaluation.trust_rates import UNSPOILT
from shared.evaluation.trust_records import Groups, SearchRow, Trust, TrustRow

_INK, _OURS, _FAINT = "#1f2328", "#b3261e", "#64748b"
_COLOURS = (_OURS, "#1f4e8c", "#64748b", _INK)
_ERC = """\
FNMR of photographs of all conditions, and of unspoilt ones, each compared with the person's other
photograph as it is, where FMR 1e-3 is asked, once the pairs go that look worst. A perfect measure
would discard pairs that fail, and nothing else."""
_LIMITS = """\
- FMR and FNMR are those of pairs in which neither face is called LOW_QUALITY. Both faces of a pair
  are spoilt in the same way, each by its own draw. "-": no such pair is left.
- Intervals (95 %) are bootstrapped over people. Where no pair of strangers matches, the upper end
  is 3 divided by the number of pairs of people.
- In the plot no match at all is drawn as half a one, which says little where few pairs are left.
- Where a condition cuts the picture off, the encoder knows the share of the crop outside it, and a
  face is LOW_QUALITY from a quarter on. "By the map alone": as if the encoder had not said so.
- Spoilings are drawn on aligned crops. In a photograph the detector would miss some such faces and
  place the landmarks of others wrongly.
- LFW shows public figures of the years around 2000, most of them men. Its labels name neither age,
  sex nor origin, and its crops are all of one size: nothing is said by these here."""


_GROUPS = """\
- A group is what people's names begin with: here the collection of photographs. Strangers are
  compared within their group, at one threshold for everyone: people of one collection often are of
  one sex, age and origin, and photographed alike.
- The thresholds were calibrated on the same people, and raised for strangers who resemble each
  other: that is why the rate of everyone is below the one asked."""


def write_trust(trust: Trust, folder: Path, *, before: Trust | None = None) -> None:
    """Write trust.json, trust.md, trust_reliability.png and trust_discard.png.

    Args:
        trust: what was measured.
        folder: made if missing.
        before: an earlier measurement to show beside it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "trust.json").write_text(trust.model_dump_json(indent=1) + "\n", encoding="utf-8")
    (folder / "trust.md").write_text(_markdown(trust, before), encoding="utf-8")
    _draw_reliability(trust, before, folder / "trust_reliability.png")
    _draw_discard(trust, folder / "trust_discard.png")


def write_groups(groups: Groups, folder: Path) -> None:
    """Write groups.json and groups.md; `folder` is made if missing."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "groups.json").write_text(groups.model_dump_json(indent=1) + "\n", encoding="utf-8")
    parts = [
        f"# Error rates by group of people: {groups.model}",
        (
            f"People held out of training, operating point `{groups.point}` on both sides, "
            f"thresholds of the manifest, LOW_QUALITY below {groups.min_quality:g}. Made by "
            f"`{groups.command}` at commit {groups.commit}."
        ),
        "People: " + ", ".join(f"{name} {count:,}" for name, count in groups.people.items()) + ".",
        *(part for rate in _rates(groups.rows) for part in _section(groups.rows, rate)),
        "## How to read this",
        _GROUPS,
    ]
    (folder / "groups.md").write_text("\n\n".join(parts) + "\n", encoding="utf-8")


def read_trust(path: Path) -> Trust:
    """An earlier trust.json."""
    return Trust.model_validate_json(path.read_bytes())


def _markdown(trust: Trust, before: Trust | None) -> str:
    parts = [
        f"# What a threshold promises: {trust.model}",
        f"LFW, two photographs of each person, operating point `{trust.point}` on both sides, "
        f"thresholds of the manifest, LOW_QUALITY below {trust.min_quality:g}. Made by "
        f"`{trust.command}` at commit {trust.commit}."
        + (f" Before: {before.model}, commit {before.commit}." if before else ""),
        *(part for rate in _rates(trust.rows) for part in _section(trust.rows, rate, before)),
        "![FMR asked against FMR measured](trust_reliability.png)",
        *(_searched(trust.search, before) if trust.search else ()),
        "## Errors that quality foresees",
        _ERC,
        "\n".join(_curves(trust)),
        "![Error versus discard](trust_discard.png)",
        "## How to read this",
        _LIMITS,
    ]
    return "\n\n".join(parts) + "\n"


def _rates(rows: Sequence[TrustRow]) -> list[float]:
    return sorted({row.fmr_asked for row in rows}, reverse=True)


def _section(rows: Sequence[TrustRow], rate: float, before: Trust | None = None) -> Iterator[str]:
    yield f"## FMR {rate:g} asked"
    earlier = {
        row.condition: row for row in (before.rows if before else ()) if row.fmr_asked == rate
    }
    columns = ["condition", "measured", "95 %", "measured ÷ asked", "FNMR, %"]
    columns += ["LOW_QUALITY, %", "pairs of strangers"]
    columns += ["before: measured ÷ asked", "before: LOW_QUALITY, %"] if before else []
    lines = ["| " + " | ".join(columns) + " |", "|---" + "|---:" * (len(columns) - 1) + "|"]
    for row in rows:
        if row.fmr_asked == rate:
            cells = _cells(row)
            if before:
                known = earlier.get(row.condition)
                cells += [_ratio(known), _percent(known.low_quality_share if known else None)]
            lines.append("| " + " | ".join(cells) + " |")
    yield "\n".join(lines)


def _searched(search: SearchRow, before: Trust | None) -> Iterator[str]:
    yield "## Searches"
    then = f" Before: {before.search.fpir_measured:.4f}." if before and before.search else ""
    yield (
        f"Unspoilt, {search.enrolled:,} people enrolled by one photograph, {search.strangers:,} "
        f"probes of strangers: "
        f"FPIR {search.fpir_asked:g} asked, {search.fpir_measured:.4f} measured "
        f"(95 %: {search.low:.4f} to {search.high:.4f}, over probes), "
        f"FNIR {100 * search.fnir:.1f} %.{then}"
    )


def _cells(row: TrustRow) -> list[str]:
    interval = "-" if row.low is None or row.high is None else f"{row.low:.1e} to {row.high:.1e}"
    return [
        row.condition,
        "-" if row.fmr_measured is None else f"{row.fmr_measured:.1e}",
        interval,
        _ratio(row),
        _percent(row.fnmr),
        _percent(row.low_quality_share),
        f"{row.pairs:,}",
    ]


def _ratio(row: TrustRow | None) -> str:
    if row is None or row.fmr_measured is None:
        return "-"
    return f"{row.fmr_measured / row.fmr_asked:.2f}"


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{100 * share:.1f}"


def _curves(trust: Trust) -> Iterator[str]:
    shown = [0, 2, 4, 6, 10]
    yield (
        "| pairs ranked by | "
        + " | ".join(f"{100 * trust.curves[0].discarded[at]:.0f} % discarded" for at in shown)
        + " |"
    )
    yield "|---" + "|---:" * len(shown) + "|"
    for curve in trust.curves:
        figures = " | ".join(f"{100 * curve.fnmr[at]:.1f} %" for at in shown)
        yield f"| {curve.probes}: {curve.measure} | {figures} |"


def _draw_reliability(trust: Trust, before: Trust | None, path: Path) -> None:
    """Measured over asked, a line for each condition, with intervals; log scale."""
    rates = _rates(trust.rows)
    names = list(dict.fromkeys(row.condition for row in trust.rows))
    figure = Figure(figsize=(5 * len(rates), 1.5 + 0.27 * len(names)), layout="constrained")
    panels = figure.subplots(1, len(rates), sharey=True, squeeze=False)[0]
    for rate, axes in zip(rates, panels, strict=True):
        if before:
            _dots(axes, before.rows, rate, names, colour=_FAINT, label="before")
        _dots(axes, trust.rows, rate, names, colour=_OURS, label=trust.model)
        axes.axvline(1, color=_INK, linewidth=0.8)
        axes.axvspan(0.5, 1.5, color=_INK, alpha=0.07)
        axes.set_xscale("log")
        axes.set_xlabel(f"FMR measured ÷ asked, at {rate:g}")
    panels[0].set_yticks(range(len(names)), names, fontsize=8)
    panels[0].invert_yaxis()
    panels[0].legend(fontsize=8, frameon=False)
    figure.savefig(path, dpi=110, metadata={"Software": None})


def _dots(
    axes: Axes, rows: Sequence[TrustRow], rate: float, names: list[str], *, colour: str, label: str
) -> None:
    """No match at all is drawn as half a one."""
    for row in rows:
        if row.fmr_asked != rate or row.fmr_measured is None or row.condition not in names:
            continue
        height = names.index(row.condition)
        least = 0.5 / max(1, row.pairs)
        low, high = max(row.low or 0, least), max(row.high or 0, least)
        axes.plot([low / rate, high / rate], [height, height], color=colour, linewidth=1.2)
        axes.plot(
            max(row.fmr_measured, least) / rate,
            height,
            ".",
            color=colour,
            label=label if row.condition == UNSPOILT else None,
        )


def _draw_discard(trust: Trust, path: Path) -> None:
    """A panel for each kind of probes."""
    kinds = list(dict.fromkeys(curve.probes for curve in trust.curves))
    figure = Figure(figsize=(5 * len(kinds), 4.2), layout="constrained")
    panels = figure.subplots(1, len(kinds), squeeze=False)[0]
    for kind, axes in zip(kinds, panels, strict=True):
        curves = [curve for curve in trust.curves if curve.probes == kind]
        for curve, colour in zip(curves, _COLOURS[-len(curves) :], strict=True):
            shares = [100 * share for share in curve.discarded]
            axes.plot(shares, [100 * f for f in curve.fnmr], label=curve.measure, color=colour)
        axes.set_title(kind, fontsize=9)
        axes.set_xlabel("pairs discarded, %")
        axes.set_ylim(bottom=0)
    panels[0].set_ylabel("FNMR at FMR 1e-3, %")
    panels[0].legend(fontsize=8, frameon=False)
    figure.savefig(path, dpi=110, metadata={"Software": None})
