"""Results of the demo: tables for people, result.json for programs."""

import json
from dataclasses import asdict
from itertools import zip_longest
from pathlib import Path
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table

from command_line.demo.passing import Passage
from command_line.demo.performance import JPEG_QUALITY, Outcome, Performance
from command_line.demo.scenario import LABELS, Identification, Verification
from compactface.v1.encoder_pb2 import GetEncoderInfoResponse
from shared.private_files import private_file


def show(performance: Performance, passage: Passage, console: Console) -> None:
    """Print the answers, the timings, and who passed the camera."""
    console.print(_answers(performance))
    console.print(_times(performance))
    console.print(_passage(passage))
    subjects = ", ".join(passage.alerts)
    console.print(f"The webhook received {len(passage.alerts)} alert: {subjects}")


def write_json(
    path: Path, performance: Performance, passage: Passage, info: GetEncoderInfoResponse
) -> None:
    """Write every question with its expected and actual answer."""
    document = {
        "model": f"{info.model_family}/{info.model_version}",
        "operating_point": info.operating_point,
        "codec_id": info.codec_id,
        "jpeg_quality": JPEG_QUALITY,
        "right": performance.is_right and passage.is_right,
        "probes": [_record(performance, outcome) for outcome in performance.outcomes],
        "sightings": [asdict(sighted) for sighted in passage.sighted],
        "alerts": list(passage.alerts),
    }
    with private_file(path) as file:
        file.write((json.dumps(document, indent=2) + "\n").encode())


def _answers(performance: Performance) -> Table:
    table = Table(
        title="Compact maps against the enrolled, and against each other",
        caption=f"JPEG: the same aligned crop of 112x96 at quality {JPEG_QUALITY}. "
        "Thresholds: the collection's defaults.",
        box=box.SIMPLE_HEAD,
    )
    for column in ("probe", "against"):
        table.add_column(column)
    for column in ("map", "JPEG", "similarity", "threshold"):
        table.add_column(column, justify="right")
    for column in ("answer", "expected", ""):
        table.add_column(column)
    for outcome in performance.outcomes:
        sight = performance.sights[outcome.asked.photo]
        table.add_row(
            LABELS[outcome.asked.photo],
            _against(outcome.asked),
            f"{sight.face.size_bytes} B",
            f"{sight.jpeg_bytes} B",
            f"{outcome.similarity:.3f}",
            f"{outcome.threshold.similarity:.3f}",
            outcome.actual,
            outcome.asked.expected,
            "[green]right[/green]" if outcome.is_right else "[red]WRONG[/red]",
        )
    return table


def _against(asked: Identification | Verification) -> str:
    if isinstance(asked, Verification):
        return LABELS.get(asked.reference, asked.reference)
    return "all, streamed" if asked.streamed else "all"


def _times(performance: Performance) -> Table:
    """Milliseconds per stage of each identification: the encoder's, then the recognizer's."""
    outcomes = [
        outcome for outcome in performance.outcomes if isinstance(outcome.asked, Identification)
    ]
    rows = {
        outcome.asked.photo: {
            **performance.sights[outcome.asked.photo].stages_ms,
            **outcome.stages_ms,
        }
        for outcome in outcomes
    }
    stages = list(dict.fromkeys(stage for row in rows.values() for stage in row))
    table = Table("photo", title="Milliseconds per stage", box=box.SIMPLE_HEAD)
    for stage in stages:
        table.add_column(stage, justify="right")
    for photo, row in rows.items():
        times = (f"{row[stage]:.1f}" if stage in row else "" for stage in stages)
        table.add_row(LABELS[photo], *times)
    return table


def _passage(passage: Passage) -> Table:
    """The watcher's lines beside who walked past."""
    table = Table(
        "walks past",
        "camera",
        "seen as",
        title="A film from the samples, read by `compactface camera`, watched by `sightings watch`",
        box=box.SIMPLE_HEAD,
    )
    for passer, sighted in zip_longest(passage.passers, passage.sighted):
        table.add_row(
            LABELS[passer.photo] if passer else "",
            sighted.camera if sighted else "",
            sighted.who if sighted else "",
        )
    return table


def _record(performance: Performance, outcome: Outcome) -> dict[str, Any]:
    sight = performance.sights[outcome.asked.photo]
    return {
        **_asked(outcome.asked),
        "actual": outcome.actual,
        "right": outcome.is_right,
        "similarity": round(outcome.similarity, 3),
        "threshold": round(outcome.threshold.similarity, 4),
        "fmr": outcome.threshold.fmr,
        "map_bytes": sight.face.size_bytes,
        "jpeg_bytes": sight.jpeg_bytes,
        "quality": round(sight.face.quality, 3),
        "encode_ms": _rounded(sight.stages_ms),
        "recognize_ms": _rounded(outcome.stages_ms),
    }


def _asked(asked: Identification | Verification) -> dict[str, Any]:
    question = "identify" if isinstance(asked, Identification) else "verify"
    return {"question": question, **asdict(asked)}


def _rounded(stages: Any) -> dict[str, float]:
    return {stage: round(milliseconds, 2) for stage, milliseconds in stages.items()}
