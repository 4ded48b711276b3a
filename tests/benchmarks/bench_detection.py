"""Detectors side by side on one core: what a frame takes, and what is found in photographs.

    python tests/benchmarks/bench_detection.py --data ../shared/data

Times are those of the processor, not of the clock, so that other work on the machine counts
little; old and new are measured in turns, frame by frame. Frames are made from the sample
photographs. Recall and precision are those against MTCNN on whole photographs: the samples and
what `--data` holds in `frames/`. MTCNN with other smallest faces is judged in the same way, since
it does not agree with itself either.
"""

import time
import zipfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Annotated

import cv2
import numpy as np
import torch
import typer
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from shared.faces.align import align
from shared.faces.detect import Box, Detection, Detector, DetectorOptions
from shared.faces.detectors import open_detector
from shared.faces.picture import PictureLimits, decode_picture
from shared.inference.crop_encoder import OnnxCropEncoder
from shared.inference.map_decoder import MapDecoder
from shared.model_directory import ModelDirectory

Picture = NDArray[np.uint8]
PHOTOS = sorted((Path(__file__).parents[1] / "data").glob("*.jpg"))
REPEATS = 7
REFERENCES = (20, 24, 28, 34)
"""Smallest faces of the MTCNNs that must agree."""
SAME_FACE = 0.4
"""Of two boxes, intersection over union."""


def main(
    data: Annotated[Path | None, typer.Option(help="Folder of research data.")] = None,
    models: Annotated[Path, typer.Option(help="Folder of model families.")] = Path("deploy/models"),
    family: Annotated[str, typer.Option(help="Model family.")] = "default",
    min_face: Annotated[int, typer.Option(min=24, help="Smallest face, in pixels.")] = 40,
    every: Annotated[int, typer.Option(min=1, help="Take every n-th photograph.")] = 1,
) -> None:
    """Print milliseconds a frame, recall and precision, and how embeddings differ."""
    cv2.setNumThreads(1)
    torch.set_num_threads(1)
    console = Console()
    bench_frames(console)
    photos = list(photographs(data))[::every]
    console.print(f"{len(photos)} photographs, faces of at least {min_face} pixels")
    bench_agreement(photos, min_face, console, ModelDirectory.load(models, family))


def bench_frames(console: Console) -> None:
    """Milliseconds of processor time of one frame, by MTCNN and by the fast detector."""
    frames = {
        "640x480, photograph": _photograph(640, 480),
        "640x480, one face": frame_of(640, 480, faces=1, side=110),
        "640x480, four faces": frame_of(640, 480, faces=4, side=60),
        "640x480, 40 faces of 40 pixels": frame_of(640, 480, faces=40, side=40),
        "640x480, noise": _noise(640, 480),
        "1920x1080, photograph": _photograph(1920, 1080),
        "1920x1080, one face": frame_of(1920, 1080, faces=1, side=110),
        "1920x1080, 300 faces of 40 pixels": frame_of(1920, 1080, faces=300, side=40),
        "1920x1080, noise": _noise(1920, 1080),
    }
    table = Table(
        "frame", "smallest face", "mtcnn, ms", "fast, ms", "ratio", "mtcnn, faces", "fast, faces",
        title="Detection, one core",
    )  # fmt: skip
    for smallest in (40, 24):
        detectors = [
            open_detector(DetectorOptions("mtcnn", min_face_size=smallest)),
            open_detector(DetectorOptions("fast", min_face_size=smallest)),
        ]
        for name, frame in frames.items():
            times, counts = in_turns(detectors, frame, repeats=REPEATS)
            ratio = times[0] / times[1]
            row = [f"{ms:.1f}" for ms in times] + [f"{ratio:.1f}"] + [str(n) for n in counts]
            table.add_row(name, str(smallest), *row)
    console.print(table)


@dataclass(slots=True)
class Agreement:
    """How one detector's faces compare to the reference's.

    Attributes:
        expected: faces of the reference.
        found: of those, the ones that the detector found, too.
        extra: faces of the detector that the reference does not have.
        shifts: mean distance of the landmarks, in distances between the eyes.
        cosines: of the embeddings of maps made with either's landmarks.
    """

    expected: int
    found: int
    extra: int
    shifts: list[float]
    cosines: list[float]

    @property
    def recall(self) -> float:
        """In [0, 1]."""
        return self.found / self.expected

    @property
    def precision(self) -> float:
        """In [0, 1]."""
        return self.found / (self.found + self.extra)


def bench_agreement(
    photos: Sequence[Picture], min_face: int, console: Console, model: ModelDirectory
) -> None:
    """Recall, precision, landmarks and embeddings against MTCNN, and MTCNN's against itself."""
    mtcnn = {
        size: open_detector(DetectorOptions("mtcnn", min_face_size=size)) for size in REFERENCES
    }
    runs = {size: [mtcnn[size].detect(photo) for photo in photos] for size in mtcnn}
    expected = runs[24]
    others = [runs[size] for size in mtcnn if size != 24]
    sure = [
        [face for face in faces if all(_same(face, other[row]) for other in others)]
        for row, faces in enumerate(expected)
    ]
    ever = [[face for run in runs.values() for face in run[row]] for row in range(len(photos))]
    fast = {
        f"fast from {size}": open_detector(DetectorOptions("fast", min_face_size=size))
        for size in sorted({min_face, 24}, reverse=True)
    }
    table = Table(
        "detector", "recall", "precision", "landmarks, median", "95 %", "cosine, median", "5 %",
        title="Against MTCNN that seeks faces from 24 pixels",
    )  # fmt: skip
    judged = fast | {f"mtcnn from {size}": mtcnn[size] for size in mtcnn if size != 24}
    embed = _embedder(model)
    for name, detector in judged.items():
        result = compare(detector, photos, expected, min_face=min_face, embed=embed)
        table.add_row(
            name,
            *_counts(result),
            f"{median(result.shifts):.3f}",
            f"{np.percentile(result.shifts, 95):.3f}",
            f"{median(result.cosines):.3f}",
            f"{np.percentile(result.cosines, 5):.3f}",
        )
    console.print(table)
    table = Table(
        "detector", "recall", "precision",
        title=f"Recall of faces that MTCNN finds from {REFERENCES} alike; extra: what none finds",
    )  # fmt: skip
    for name, detector in fast.items():
        result = compare(detector, photos, sure, known=ever, min_face=min_face)
        table.add_row(name, *_counts(result))
    console.print(table)


def _counts(result: Agreement) -> tuple[str, str]:
    return (
        f"{100 * result.recall:.1f} % ({result.found}/{result.expected})",
        f"{100 * result.precision:.1f} % ({result.extra} extra)",
    )


def compare(
    detector: Detector,
    photos: Sequence[Picture],
    expected: Sequence[Sequence[Detection]],
    *,
    min_face: int,
    known: Sequence[Sequence[Detection]] | None = None,
    embed: Callable[[list[Picture]], NDArray[np.float32]] | None = None,
) -> Agreement:
    """A detector against what another has found; faces smaller than `min_face` do not count.

    Args:
        detector: whose faces are judged.
        photos: (H, W, 3) RGB.
        expected: faces that should be found, of each photo.
        min_face: longer side of the smallest box that counts, in pixels.
        known: faces that may be found, of each photo; None: those that should.
        embed: what makes unit embeddings of aligned crops.
    """
    result = Agreement(0, 0, 0, [], [])
    for photo, theirs, allowed in zip(photos, expected, known or expected, strict=True):
        ours = detector.detect(photo)
        large = [face for face in theirs if _side(face.box) >= min_face]
        pairs = [(face, _same(face, ours)) for face in large]
        both = [(face, same) for face, same in pairs if same is not None]
        result.expected += len(large)
        result.found += len(both)
        result.extra += sum(
            _side(face.box) >= min_face and _same(face, allowed) is None for face in ours
        )
        result.shifts += [_shift(*pair) for pair in both]
        if embed is not None and both:
            crops = [
                align(photo, face.landmarks, template=detector.template)
                for pair in both
                for face in pair
            ]
            vectors = embed(crops)
            result.cosines += (vectors[::2] * vectors[1::2]).sum(axis=1).tolist()
    return result


def _embedder(model: ModelDirectory) -> Callable[[list[Picture]], NDArray[np.float32]]:
    encoder, decoder = OnnxCropEncoder(model), MapDecoder(model)

    def embed(crops: list[Picture]) -> NDArray[np.float32]:
        maps = [
            (encoder.codec_id, decoder.unpack(encoder.codec_id, png))
            for png in encoder.encode(np.stack(crops))
        ]
        return decoder.embed(maps)

    return embed


def _same(face: Detection, others: Sequence[Detection]) -> Detection | None:
    best = max(others, key=lambda other: _overlap(face.box, other.box), default=None)
    return best if best is not None and _overlap(face.box, best.box) > SAME_FACE else None


def _overlap(one: Box, other: Box) -> float:
    width = min(one.x + one.width, other.x + other.width) - max(one.x, other.x)
    height = min(one.y + one.height, other.y + other.height) - max(one.y, other.y)
    common = max(width, 0) * max(height, 0)
    return common / (one.width * one.height + other.width * other.height - common)


def _side(box: Box) -> float:
    return max(box.width, box.height)


def _shift(expected: Detection, found: Detection) -> float:
    ours, theirs = found.landmarks.as_array(), expected.landmarks.as_array()
    eyes = float(np.linalg.norm(theirs[1] - theirs[0]))
    return float(np.linalg.norm(ours - theirs, axis=1).mean()) / eyes


def photographs(data: Path | None) -> Iterator[Picture]:
    for path in PHOTOS:
        yield decode_picture(path.read_bytes(), PictureLimits())
    for path in sorted((data / "frames").glob("*.zip")) if data else []:
        with zipfile.ZipFile(path) as archive:
            for name in sorted(archive.namelist()):
                if name.endswith(".jpg"):
                    yield decode_picture(archive.read(name), PictureLimits())


def frame_of(width: int, height: int, *, faces: int, side: int) -> Picture:
    """A grey wall with the samples' faces on it, `side` pixels wide each."""
    reference = open_detector(DetectorOptions("mtcnn"))
    cuts = []
    for path in PHOTOS:
        photo = decode_picture(path.read_bytes(), PictureLimits())
        box = reference.detect(photo)[0].box
        scale = side / box.width
        small = cv2.resize(photo, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
        x, y = round(scale * (box.x + box.width / 2)), round(scale * (box.y + box.height / 2))
        reach = round(0.8 * side)
        cuts.append(small[max(0, y - reach) : y + reach, max(0, x - reach) : x + reach])
    frame = np.full((height, width, 3), 128, np.uint8)
    step = round(1.6 * side)
    places = [
        (x, y) for y in range(0, height - step + 1, step) for x in range(0, width - step + 1, step)
    ]
    for index, (x, y) in enumerate(places[:faces]):
        cut = cuts[index % len(cuts)]
        frame[y : y + cut.shape[0], x : x + cut.shape[1]] = cut
    return frame


def _photograph(width: int, height: int) -> Picture:
    """The middle of a sample with a textured background, as large as the frame."""
    path = next(path for path in PHOTOS if "congress" in path.name)
    photo = decode_picture(path.read_bytes(), PictureLimits())
    scale = max(width / photo.shape[1], height / photo.shape[0])
    large = cv2.resize(photo, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    top, left = (large.shape[0] - height) // 3, (large.shape[1] - width) // 2
    return np.ascontiguousarray(large[top : top + height, left : left + width])


def _noise(width: int, height: int) -> Picture:
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)


def in_turns(
    detectors: Sequence[Detector], frame: Picture, *, repeats: int
) -> tuple[list[float], list[int]]:
    """Median milliseconds of each detector after one round of warm-up, and its count of faces."""
    counts = [len(detector.detect(frame)) for detector in detectors]
    rounds = []
    for _ in range(repeats):
        durations = []
        for detector in detectors:
            began = time.thread_time()
            detector.detect(frame)
            durations.append(1000 * (time.thread_time() - began))
        rounds.append(durations)
    return [median(durations) for durations in zip(*rounds, strict=True)], counts


if __name__ == "__main__":
    typer.run(main)
