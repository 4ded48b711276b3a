"""Verification from whole photographs of LFW: the fast detector against MTCNN, in pairs.

    python -m tests.benchmarks.bench_raw_lfw --data ../shared/data

Of LFW's photographs, `frames/lfw_raw_250.zip` holds 250 whole ones; of the others there are only
faces that were aligned by MTCNN. Each whole photograph is a probe: detected by either detector,
aligned, sent as a compact map and compared to aligned faces of the same person, and to as many
faces of others. A photograph without a face matches nobody. The threshold of a tenth of the pairs
is chosen on the others, for each detector.
"""

import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import typer
from numpy.typing import NDArray

from shared.evaluation.bootstrap import Interval, accuracy_difference
from shared.evaluation.lfw_files import LfwFiles, open_lfw
from shared.evaluation.protocol import decide
from shared.faces.align import align
from shared.faces.detect import Detector, DetectorName, DetectorOptions
from shared.faces.detectors import open_detector
from shared.faces.picture import PictureLimits, decode_picture
from shared.inference.crop_encoder import OnnxCropEncoder
from shared.inference.map_decoder import MapDecoder
from shared.model_directory import ModelDirectory

PHOTOGRAPHS = "frames/lfw_raw_250.zip"
_FOLDS = 10
_EACH = 20  # aligned faces of a person at most
_MARGIN = 8  # columns beside the crop in LFW's aligned faces
_BATCH = 32
_MIN_FACE = 24


@dataclass(frozen=True, slots=True)
class Compared:
    """Both detectors on the same pairs.

    Attributes:
        photographs: whole ones.
        pairs: half of them genuine, but for people with one photograph.
        accuracy: by detector, in [0, 1].
        missed: photographs without a face, by detector.
        difference: accuracy of the fast detector less that of MTCNN.
        cosine: median, between the embeddings of a photograph's face by either detector.
    """

    photographs: int
    pairs: int
    accuracy: dict[str, float]
    missed: dict[str, int]
    difference: Interval
    cosine: float


def main(
    data: Annotated[Path, typer.Option(envvar="COMPACTFACE_DATA", help="Research data.")],
    models: Annotated[Path, typer.Option(help="Folder of model families.")] = Path("deploy/models"),
    family: Annotated[str, typer.Option(help="Model family.")] = "default",
) -> None:
    """Print both accuracies, and their difference with its 95 % interval."""
    torch.set_num_threads(1)
    found = compare(data, ModelDirectory.load(models, family))
    gap = found.difference
    typer.echo(f"{found.photographs} whole photographs, {found.pairs} pairs")
    for name, accuracy in found.accuracy.items():
        typer.echo(f"{name}: {100 * accuracy:.2f} %, {found.missed[name]} photographs without face")
    typer.echo(
        f"fast less mtcnn: {100 * gap.difference:+.2f} points "
        f"({100 * gap.low:+.2f} to {100 * gap.high:+.2f}); median cosine {found.cosine:.3f}"
    )


def compare(data: Path, model: ModelDirectory) -> Compared:
    """Compare the detectors on what `data` holds."""
    embed = _Embedder(model)
    detectors: tuple[DetectorName, ...] = ("mtcnn", "fast")
    with open_lfw(data) as files, zipfile.ZipFile(data / PHOTOGRAPHS) as archive:
        photos = sorted(name for name in archive.namelist() if name.endswith(".jpg"))
        probes = {
            name: embed(_faces(archive, photos, open_detector(DetectorOptions(name, _MIN_FACE))))
            for name in detectors
        }
        enrolled = _enrolled(files, photos)
        gallery = embed(_aligned(files, enrolled))
    rows = _pairs(photos, enrolled)
    people = np.unique([*map(_person, photos), *map(_person, enrolled)])
    numbers = np.stack(
        [
            np.searchsorted(people, [_person(photos[row]) for row in rows[:, 0]]),
            np.searchsorted(people, [_person(enrolled[row]) for row in rows[:, 1]]),
        ],
        axis=1,
    )
    same = numbers[:, 0] == numbers[:, 1]
    right = {
        name: decide(
            (probes[name][rows[:, 0]] * gallery[rows[:, 1]]).sum(axis=1), same, folds=_FOLDS
        ).right
        for name in detectors
    }
    seen = np.all([np.any(probes[name], axis=1) for name in detectors], axis=0)
    return Compared(
        photographs=len(photos),
        pairs=len(rows),
        accuracy={name: float(right[name].mean()) for name in detectors},
        missed={name: int((~np.any(probes[name], axis=1)).sum()) for name in detectors},
        difference=accuracy_difference(right["fast"], right["mtcnn"], numbers),
        cosine=float(np.median((probes["fast"] * probes["mtcnn"]).sum(axis=1)[seen])),
    )


class _Embedder:
    """Crops to maps to embeddings, as the product does; zeros in place of a missing face."""

    def __init__(self, model: ModelDirectory) -> None:
        self._encoder, self._decoder = OnnxCropEncoder(model), MapDecoder(model)

    def __call__(self, crops: list[NDArray[np.uint8] | None]) -> NDArray[np.float32]:
        result = np.zeros((len(crops), self._decoder.embedding_size), np.float32)
        there = [row for row, crop in enumerate(crops) if crop is not None]
        for start in range(0, len(there), _BATCH):
            chosen = there[start : start + _BATCH]
            codec = self._encoder.codec_id
            pngs = self._encoder.encode(np.stack([crops[row] for row in chosen]))
            maps = [(codec, self._decoder.unpack(codec, png)) for png in pngs]
            result[chosen] = self._decoder.embed(maps)
        return result


def _faces(
    archive: zipfile.ZipFile, names: list[str], detector: Detector
) -> list[NDArray[np.uint8] | None]:
    """The crop of the most prominent face of each photograph; None: no face was found."""
    crops: list[NDArray[np.uint8] | None] = []
    for name in names:
        photo = decode_picture(archive.read(name), PictureLimits())
        found = detector.detect(photo)[:1]
        crops += [align(photo, one.landmarks, template=detector.template) for one in found] or [
            None
        ]
    return crops


def _enrolled(files: LfwFiles, photos: list[str]) -> list[str]:
    """Aligned faces of the people in the photographs, without the photographs themselves."""
    people, shown = set(map(_person, photos)), set(photos)
    counts: dict[str, int] = {}
    chosen = []
    for name in files.names:
        person = _person(name)
        if person in people and Path(name).name not in shown and counts.get(person, 0) < _EACH:
            counts[person] = counts.get(person, 0) + 1
            chosen.append(name)
    return chosen


def _aligned(files: LfwFiles, names: list[str]) -> list[NDArray[np.uint8] | None]:
    return [face[:, _MARGIN:-_MARGIN] for faces in files.batches(names) for face in faces]


def _pairs(photos: list[str], enrolled: list[str]) -> NDArray[np.int64]:
    """(P, 2) rows of photographs and of aligned faces, in a random order."""
    random = np.random.default_rng(0)
    owners = np.array([_person(name) for name in enrolled])
    pairs = []
    for row, name in enumerate(photos):
        own = np.flatnonzero(owners == _person(name))
        others = random.choice(np.flatnonzero(owners != _person(name)), max(1, len(own)))
        pairs += [(row, other) for other in (*own, *others)]
    return random.permutation(np.array(pairs))


def _person(name: str) -> str:
    return Path(name).stem.rsplit("_", 1)[0]


if __name__ == "__main__":
    typer.run(main)
