"""What the demo found: tables for people, result.json for programs."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from compactface.v1.encoder_pb2 import GetEncoderInfoResponse
from rich.console import Console
from rich.table import Table

from command_line.demo.performance import JPEG_QUALITY, Outcome, Performance
from command_line.demo.scenario import Identification, Verification


def show(performance: Performance, console: Console) -> None:
    """Print the answers, and where the time went."""
    console.print(_answers(performance))
    console.print(_times(performance))


def write_json(path: Path, performance: Performance, info: GetEncoderInfoResponse) -> None:
    """Write every question with its expected and its actual answer."""
    document = {
        "model": f"{info.model_family}/{info.model_version}",
        "operating_point": info.operating_point,
        "codec_id": info.codec_id,
        "jpeg_quality": JPEG_QUALITY,
        "right": performance.is_right,
        "probes": [_record(performance, outcome) for outcome in performance.outcomes],
    }
    path.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")


def _answers(performance: Performance) -> Table:
    table = Table(
        title="Compact maps of unseen photographs, against those enrolled",
        caption=f"JPEG: the same aligned crop of 112x96 at quality {JPEG_QUALITY}. "
        "Thresholds: the collection's defaults.",
    )
    for column in ("question", "map", "JPEG", "similarity", "threshold", "answer", "expected", ""):
        is_number = column in {"map", "JPEG", "similarity", "threshold"}
        table.add_column(column, justify="right" if is_number else "left")
    for outcome in performance.outcomes:
        sight = performance.sights[outcome.asked.photo]
        table.add_row(
            question(outcome),
            f"{sight.face.size_bytes} B",
            f"{sight.jpeg_bytes} B",
            f"{outcome.similarity:.3f}",
            f"{outcome.threshold.similarity:.3f}",
            outcome.actual,
            outcome.asked.expected,
            "[green]right[/green]" if outcome.is_right else "[red]WRONG[/red]",
        )
    return table


def _times(performance: Performance) -> Table:
    """Milliseconds per stage: the encoder's for each photo, the recognizer's for each question."""
    table = Table(title="Milliseconds per stage")
    outcomes = [outcome for outcome in performance.outcomes if _is_identification(outcome)]
    encoding = list(performance.sights[outcomes[0].asked.photo].stages_ms)
    recognizing = ["unpack", "embed", "match"]
    table.add_column("photo")
    for stage in [*encoding, *recognizing]:
        table.add_column(stage, justify="right")
    for outcome in outcomes:
        photo = outcome.asked.photo
        stages = {**performance.sights[photo].stages_ms, **outcome.stages_ms}
        table.add_row(photo, *(f"{stages[stage]:.1f}" for stage in [*encoding, *recognizing]))
    return table


def question(outcome: Outcome) -> str:
    """What was asked, in words."""
    asked = outcome.asked
    if isinstance(asked, Identification):
        route = " (streamed)" if asked.streamed else ""
        return f"who is {_stem(asked.photo)}?{route}"
    return f"{_stem(asked.photo)} = {_stem(asked.reference)}?"


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


def _is_identification(outcome: Outcome) -> bool:
    return isinstance(outcome.asked, Identification)


def _rounded(stages: Any) -> dict[str, float]:
    return {stage: round(milliseconds, 2) for stage, milliseconds in stages.items()}


def _stem(name: str) -> str:
    return name.removesuffix(".jpg")
