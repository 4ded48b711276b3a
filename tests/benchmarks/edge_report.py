"""report/edge.json and edge.md: from the camera to the watcher, measured; see `bench_edge`."""

from collections.abc import Iterator
from pathlib import Path

from shared.record import Record


class WireBytes(Record):
    """Bytes a face between encoder and recognizer; see `edge_services.Wire`."""

    map_alone: float
    one_at_a_time: float
    batched: float


class WholePhotographs(Record):
    """Verification from whole photographs of LFW; see `bench_raw_lfw`. Accuracies in [0, 1].

    Attributes:
        photographs: whole ones, the probes.
        pairs: of a probe and an aligned face.
        fast: accuracy with the fast detector.
        mtcnn: accuracy with MTCNN.
        low: lower end of the 95 % interval of the first less the second.
        high: upper end.
        cosine: median, between embeddings of a face found by either.
    """

    photographs: int
    pairs: int
    fast: float
    mtcnn: float
    low: float
    high: float
    cosine: float


class EdgeReport(Record):
    """All figures of one run.

    Attributes:
        detect_ms: fast detector, VGA frame with one face, of the processor.
        detect_mtcnn_ms: MTCNN on the same frame, in turns.
        detect_recall: share of MTCNN's faces from 40 pixels that the fast detector finds.
        detect_precision: share of the fast detector's faces that MTCNN finds.
        detect_faces: faces that MTCNN found.
        detect_photographs: in which they are.
        fps_vga: frames a second of the processor, whole gateway, one face in view.
        fps_1080p: likewise.
        fps_vga_mtcnn: with MTCNN on every frame.
        fps_1080p_mtcnn: likewise.
        sightings_per_visit: of one person crossing for 3 s; the larger of both sizes.
        kills: kill -9 of encoder or recognizer under load.
        power_losses: of these, those that left only what was synced.
        facts_checked: faces that the encoder had said it took.
        facts_lost: of these, those that the recognizer lacks.
        facts_doubled: and those that it has twice.
        outage_hours: simulated, without a recognizer.
        outage_restarts: of the encoder during these.
        outage_faces: taken during these.
        outage_lost: of these, those that never arrived.
        lfw: verification from whole photographs; None: not measured.
        wire_bytes: TLS and HTTP/2 counted, both ways.
        installed_mb: encoder with its dependencies, without Python.
        resident_mb: memory of the encoder, two seconds after some photographs.
        resident_most_mb: the most that it had, while it started and encoded.
        ready_s: until the encoder takes calls.
        capture_to_watch_p50_ms: from a VGA frame to the watcher who reads of its face.
        capture_to_watch_p99_ms: likewise.
        capture_to_watch_faces: that were measured.
        capture_to_watch_load: load average of the machine meanwhile, all programs together.
        command: that made the report.
        commit: of the software.
        time: UTC.
        machine: cores and architecture.
    """

    detect_ms: float
    detect_mtcnn_ms: float
    detect_recall: float
    detect_precision: float
    detect_faces: int
    detect_photographs: int
    fps_vga: float
    fps_1080p: float
    fps_vga_mtcnn: float
    fps_1080p_mtcnn: float
    sightings_per_visit: float
    kills: int
    power_losses: int
    facts_checked: int
    facts_lost: int
    facts_doubled: int
    outage_hours: int
    outage_restarts: int
    outage_faces: int
    outage_lost: int
    lfw: WholePhotographs | None
    wire_bytes: WireBytes
    installed_mb: float
    resident_mb: float
    resident_most_mb: float
    ready_s: float
    capture_to_watch_p50_ms: float
    capture_to_watch_p99_ms: float
    capture_to_watch_faces: int
    capture_to_watch_load: float
    command: str
    commit: str
    time: str
    machine: str | None


def write(folder: Path, report: EdgeReport) -> None:
    """Write both files."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "edge.json").write_text(report.model_dump_json(indent=1) + "\n", encoding="utf-8")
    (folder / "edge.md").write_text("\n".join(_lines(report)) + "\n", encoding="utf-8")


def _lines(report: EdgeReport) -> Iterator[str]:
    r = report
    yield "# From the camera to the watcher, measured\n"
    yield (
        f"`{r.command}` at commit {r.commit}, {r.time}, {r.machine}. Other programs ran on the "
        "machine; detection and frames a second count time of the processor.\n"
    )
    yield "| | measured | old path, same run | must | aim |"
    yield "|---|---:|---:|---:|---:|"
    for cells in _rows(report):
        yield f"| {' | '.join(cells)} |"
    yield ""
    yield (
        f"- Recall and precision: {r.detect_faces} faces that MTCNN (from 24 pixels) finds at 40 "
        f"pixels or more in {r.detect_photographs} whole photographs."
    )
    if r.lfw:
        yield (
            f"- LFW: {r.lfw.pairs:,} pairs of {r.lfw.photographs} whole photographs, which are all "
            "that are at hand, and aligned faces. The 95 % interval of the difference is "
            f"{100 * r.lfw.low:+.2f} to {100 * r.lfw.high:+.2f} points; the median cosine of a "
            f"face found by either detector is {r.lfw.cosine:.3f}."
        )
    yield (
        "- Frames a second: decoding, detection in every third frame (the default), tracking, best "
        "shot and sending; old path: MTCNN in every frame."
    )
    yield (
        f"- Kills: {r.kills} times kill -9 of encoder or recognizer under load; in "
        f"{r.power_losses} of them the machine lost power, which leaves only what was "
        f"synced. {r.facts_checked:,} faces had been acknowledged; {r.facts_lost} were lost, "
        f"{r.facts_doubled} stored twice."
    )
    yield (
        f"- Outage: {r.outage_hours} simulated hours without recognizer, {r.outage_restarts} "
        f"restarts of the encoder, {r.outage_faces:,} faces; {r.outage_lost} were lost."
    )
    yield (
        "- Bytes on the wire: both directions, mutual TLS and HTTP/2 included, TCP's and IP's own "
        f"headers not; the map alone has {r.wire_bytes.map_alone:.0f} bytes. One at a time: over "
        "an open connection. Batched: faces that had waited for a connection, its handshakes "
        "included."
    )
    yield (
        "- Installed: the files that pip records for `.[encoder]`, bytecode of dependencies among "
        "them, and the shipped model; without Python, pip and setuptools. Resident: two seconds "
        f"after five photographs; at most {r.resident_most_mb:.0f} MB while it started and encoded."
    )
    yield (
        f"- Capture to watcher: {r.capture_to_watch_faces} VGA frames, five a second, through "
        "detection, CompNet, spool (synced), recognizer, gallery (synced) and identification; "
        f"median {r.capture_to_watch_p50_ms:.0f} ms, on a machine with a load average of "
        f"{r.capture_to_watch_load:.1f}. The gateway's choice of a good face comes on top: see "
        "`settle_seconds`."
    )


def _rows(r: EdgeReport) -> Iterator[tuple[str, str, str, str, str]]:
    yield (
        "detection, VGA frame, ms",
        f"{r.detect_ms:.1f}",
        f"{r.detect_mtcnn_ms:.1f} ({r.detect_mtcnn_ms / r.detect_ms:.1f} times)",
        "20",
        "8",
    )
    yield (
        "recall against MTCNN, %",
        f"{100 * r.detect_recall:.1f}",
        "100",
        "99",
        "above",
    )
    yield "precision against MTCNN, %", f"{100 * r.detect_precision:.1f}", "100", "99", "above"
    if r.lfw:
        yield (
            "accuracy from whole photographs of LFW, %",
            f"{100 * r.lfw.fast:.2f}",
            f"{100 * r.lfw.mtcnn:.2f}",
            "within 0.2",
            "above",
        )
    for name, now, before, must, aim in (
        ("640x480", r.fps_vga, r.fps_vga_mtcnn, "25", "50"),
        ("1080p", r.fps_1080p, r.fps_1080p_mtcnn, "12", "25"),
    ):
        ratio = f"{before:.1f} ({now / before:.1f} times)"
        yield f"frames a second, {name}", f"{now:.0f}", ratio, must, aim
    yield "sightings of a visit", f"{r.sightings_per_visit:g}", "", "2", "1"
    yield "accepted faces lost, kills and power losses", f"{r.facts_lost}", "", "0", "0"
    yield "accepted faces lost, day of outage", f"{r.outage_lost}", "", "0", "0"
    wire = r.wire_bytes
    yield "bytes on the wire, one at a time", f"{wire.one_at_a_time:.0f}", "", "700", "500"
    yield "bytes on the wire, batched", f"{wire.batched:.0f}", "", "450", "400"
    yield "encoder, installed, MB", f"{r.installed_mb:.0f}", "", "300", "200"
    yield "encoder, resident, MB", f"{r.resident_mb:.0f}", "", "200", "150"
    yield "encoder, ready, s", f"{r.ready_s:.1f}", "", "3", "1"
    yield "capture to watcher, p99, ms", f"{r.capture_to_watch_p99_ms:.0f}", "", "500", "150"
