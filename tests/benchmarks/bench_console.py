"""The console in Chromium, over the real services: page loads, and how soon a face appears.

    python -m tests.benchmarks.bench_console --data ../shared/data --report report/console.md

A gallery with a few hundred sightings and some people; without `--data`, all are of the people on
the sample photographs. Each page is loaded again and again by one
signed-in browser; then photographs pass, and the page Live shows them. All on one machine, whose
load belongs to the figures.
"""

import asyncio
import os
import shutil
import tempfile
import time
import uuid
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Annotated, Any

import numpy as np
import typer
from google.protobuf.field_mask_pb2 import FieldMask
from PIL import Image, ImageEnhance
from playwright.async_api import Page, async_playwright

from compactface.v1.compact_map_pb2 import CompactMap
from compactface.v1.encoder_pb2 import PICTURE_KIND_CROP, EncodeRequest
from compactface.v1.gallery_pb2 import (
    ON_DUPLICATE_ALLOW,
    Collection,
    EnrollRequest,
    UpdateCollectionRequest,
)
from compactface.v1.recognizer_pb2 import ListSightingsRequest, StreamedMap, StreamMapsRequest
from shared.faces.display import encode_png
from shared.model_directory.shipped import shipped_models
from tests.benchmarks.bench_detection import PHOTOS
from tests.benchmarks.edge_services import aligned
from tests.benchmarks.gallery_report import Origin
from tests.services.processes import Process, process

PAGES = {
    "People": "/people",
    "one person": "/people/person-0",
    "Ask": "/ask",
    "Live": "/live",
    "Strangers": "/strangers",
    "Cameras": "/cameras",
    "Rules": "/rules",
    "System": "/system",
}
_SUBJECTS = 20
_WARM_UP = 2
_APART_S = 0.5
_CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
# Lazy pictures do not hold up the load event: those in the window are waited for.
_DRAWN = """async () => {
    const seen = [...document.images].filter(
        image => image.getBoundingClientRect().top < innerHeight);
    await Promise.all(seen.map(image => image.decode().catch(() => {})));
    return [performance.getEntriesByType("navigation")[0].loadEventEnd, performance.now()];
}"""
# When a row is on the screen, by the clock that this program also reads.
_WATCH = """() => {
    window.shownAt = {};
    new MutationObserver(changes => {
        for (const row of changes.flatMap(change => [...change.addedNodes]))
            if (row.id && !(row.id in shownAt))
                requestAnimationFrame(() => { shownAt[row.id] ??= Date.now(); });
    }).observe(document.getElementById("sightings"), { childList: true });
}"""


@dataclass(frozen=True, slots=True)
class Times:
    """Milliseconds of several measurements."""

    p50: float
    p95: float

    @classmethod
    def of(cls, measured: Sequence[float]) -> "Times":
        """Summarize measurements, at least one."""
        ordered = sorted(measured)
        return cls(median(ordered), ordered[min(len(ordered) - 1, round(0.95 * len(ordered)))])

    def __str__(self) -> str:
        """As two cells of a table."""
        return f"{self.p50:.0f} | {self.p95:.0f}"


def main(
    sightings: Annotated[int, typer.Option(min=1, help="Sightings in the gallery.")] = 300,
    loads: Annotated[int, typer.Option(min=1, help="Loads of each page.")] = 30,
    faces: Annotated[int, typer.Option(min=1, help="Faces that pass.")] = 60,
    data: Annotated[Path | None, typer.Option(help="Folder of research data.")] = None,
    report: Annotated[Path | None, typer.Option(help="Markdown file to write.")] = None,
) -> None:
    """Measure, and print or write the report."""
    with tempfile.TemporaryDirectory() as folder:
        text = asyncio.run(_measure(Path(folder), data, sightings, loads, faces))
    if report:
        report.write_text(text, encoding="utf-8")
    typer.echo(text)


async def _measure(folder: Path, data: Path | None, sightings: int, loads: int, faces: int) -> str:
    models = shipped_models()
    async with AsyncExitStack() as stack:
        recognizer = await stack.enter_async_context(
            process(
                "recognizer",
                folder / "recognizer.jsonl",
                models=models,
                gallery=folder / "gallery.sqlite",
                stream_collection="default",
            )
        )
        encoder = await stack.enter_async_context(
            process(
                "encoder",
                folder / "encoder.jsonl",
                models=models,
                uplink_target=_address(recognizer),
                uplink_spool=folder / "spool",
            )
        )
        web = await stack.enter_async_context(
            process(
                "web",
                folder / "web.jsonl",
                encoder_target=_address(encoder),
                recognizer_target=_address(recognizer),
                max_requests_per_second=10000,
            )
        )
        await _populate(encoder, recognizer, _crops(data, sightings))
        driver = await stack.enter_async_context(async_playwright())
        browser = await driver.chromium.launch(
            executable_path=_CHROMIUM, args=["--no-sandbox"] if os.geteuid() == 0 else []
        )
        page = await browser.new_page(
            base_url=f"http://{_address(web)}", viewport={"width": 1280, "height": 800}
        )
        await page.goto("/")
        await page.keyboard.press("Enter")
        await page.wait_for_url("**/people")
        pages = {name: await _load(page, path, loads) for name, path in PAGES.items()}
        shown = await _appear(page, encoder, recognizer, faces)
        await browser.close()
    return _text(pages, shown, sightings, loads, faces)


def _crops(data: Path | None, count: int) -> Sequence[bytes]:
    """Faces as PNG files; the same ones come again, ever a little darker."""
    faces = [Image.fromarray(face) for face in aligned(data)]
    return [
        encode_png(np.asarray(ImageEnhance.Brightness(faces[number % len(faces)]).enhance(light)))
        for number in range(count)
        for light in (1 - 0.01 * (number // len(faces)),)
    ]


def _address(service: Process) -> str:
    return str(service.events("listening")[0]["address"])


async def _populate(encoder: Process, recognizer: Process, crops: Sequence[bytes]) -> None:
    """Enroll some people, group strangers, and store sightings of three cameras."""
    request = UpdateCollectionRequest(
        collection=Collection(collection_id="default", max_stranger_fpir=0.05),
        update_mask=FieldMask(paths=["max_stranger_fpir"]),
    )
    await recognizer.gallery.UpdateCollection(request)
    maps: list[CompactMap] = []
    for crop in crops:
        asked = EncodeRequest(image=crop, kind=PICTURE_KIND_CROP)
        maps.append((await encoder.encoder.Encode(asked)).faces[0].map)
    for number, face in enumerate(maps[:_SUBJECTS]):
        await recognizer.gallery.Enroll(
            EnrollRequest(
                subject_id=f"person-{number}",
                maps=[face],
                on_duplicate=ON_DUPLICATE_ALLOW,
                allow_low_quality=True,
            )
        )
    for start in range(0, len(maps), 50):
        sent = [
            StreamedMap(sighting_id=str(uuid.uuid4()), map=face, camera=f"camera-{number % 3}")
            for number, face in enumerate(maps[start : start + 50])
        ]
        call = recognizer.recognizer.StreamMaps(
            iter([StreamMapsRequest(maps=sent, answer_together=True)])
        )
        assert len((await call.read()).answers) == len(sent)
    while not await _all_identified(recognizer):  # noqa: ASYNC110 - of another process
        await asyncio.sleep(0.5)


async def _all_identified(recognizer: Process) -> bool:
    request = ListSightingsRequest(page_size=1000)
    listed = (await recognizer.recognizer.ListSightings(request)).sightings
    return all(one.HasField("identification") for one in listed)


async def _load(page: Page, path: str, loads: int) -> tuple[Times, Times]:
    """Load a page so many times: the load event, and when the pictures in the window are drawn."""
    loaded, drawn = [], []
    for number in range(-_WARM_UP, loads):
        answer = await page.goto(path, wait_until="load")
        assert answer is not None
        assert answer.ok, f"{path}: {answer.status}"
        times: list[float] = await page.evaluate(_DRAWN)
        if number >= 0:
            loaded.append(times[0])
            drawn.append(times[1])
    return Times.of(loaded), Times.of(drawn)


async def _appear(
    page: Page, encoder: Process, recognizer: Process, faces: int
) -> tuple[Times, Times]:
    """Let faces pass: milliseconds from Encode, and from the sighting's reception, to its row."""
    await page.goto("/live")
    await page.wait_for_selector("#live:has-text('Live.')")
    await page.evaluate(_WATCH)
    sent: dict[str, float] = {}
    photographs = [path.read_bytes() for path in PHOTOS]
    for number in range(-_WARM_UP, faces):
        request = EncodeRequest(image=photographs[number % len(photographs)], forward=True)
        began = time.time()
        answer = await encoder.encoder.Encode(request)
        if number >= 0:
            sent[answer.faces[0].sighting_id] = 1000 * began
        await asyncio.sleep(_APART_S)
    shown: dict[str, Any] = {}
    async with asyncio.timeout(60):
        while not sent.keys() <= shown.keys():
            found = await page.evaluate("() => shownAt")
            shown = {row.removeprefix("sighting-"): at for row, at in found.items()}
            await asyncio.sleep(0.1)
    listed = await recognizer.recognizer.ListSightings(ListSightingsRequest(page_size=1000))
    received = {one.sighting_id: one.receive_time.ToNanoseconds() / 1e6 for one in listed.sightings}
    return (
        Times.of([shown[id_] - at for id_, at in sent.items()]),
        Times.of([shown[id_] - received[id_] for id_ in sent]),
    )


def _text(
    pages: dict[str, tuple[Times, Times]],
    shown: tuple[Times, Times],
    sightings: int,
    loads: int,
    faces: int,
) -> str:
    origin = Origin.here()
    rows = "\n".join(f"| {name} | {loaded} | {drawn} |" for name, (loaded, drawn) in pages.items())
    return f"""# The console, measured

`{origin.command}`
at commit {origin.commit}, {origin.time}, {origin.machine}.
Load average {os.getloadavg()[0]:.1f} at the end, all programs together.
Encoder, recognizer, web gateway and Chromium on one machine, over loopback, without TLS.

Each page, loaded {loads} times with {sightings} sightings and {_SUBJECTS} people, in milliseconds:

| page | load event, median | p95 | pictures in the window drawn, median | p95 |
|---|---:|---:|---:|---:|
{rows}

Until a face is on the page *Live*, of {faces} that pass {_APART_S:g} s apart, in milliseconds:

| from | median | p95 |
|---|---:|---:|
| the call Encode with a photograph and `forward` | {shown[0]} |
| the sighting's reception by the recognizer | {shown[1]} |

The first includes detection, CompNet, the spool and the uplink; both include RecNet,
identification, grouping and the gallery's commit.
"""


if __name__ == "__main__":
    typer.run(main)
