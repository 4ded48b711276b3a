"""An LFW for tests: six people, each the clouds of a colour of their own."""

import zipfile
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

PEOPLE = ("Ada", "Bo", "Cy", "Di", "Ed", "Flo")
PHOTOS = 4

Pixels = NDArray[np.uint8]


def clouds(seed: int, *, height: int = 112, width: int = 112) -> Pixels:
    """A picture of coloured clouds, (height, width, 3)."""
    coarse = np.random.default_rng(seed).integers(0, 256, (14, 14, 3), np.uint8)
    return np.asarray(Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC))


def photo(person: int, number: int) -> Pixels:
    """A person's own clouds with a little noise of each photograph, (112, 112, 3)."""
    noise = np.random.default_rng([person, number]).normal(0, 4, (112, 112, 3))
    return np.clip(clouds(person) + noise, 0, 255).astype(np.uint8)


def photos() -> Pixels:
    """All photographs in the order of their names, (24, 112, 112, 3)."""
    return np.stack([photo(p, n) for p in range(len(PEOPLE)) for n in range(1, PHOTOS + 1)])


def write_lfw(data: Path, *, folds: int = 3, size: int = 112) -> Path:
    """A small LFW of PNG files under the names of JPEG ones, so that pixels stay exact."""
    folder = data / "lfw112"
    folder.mkdir(parents=True)
    with zipfile.ZipFile(folder / "lfw.zip", "w") as archive:
        for person, name in enumerate(PEOPLE):
            for number in range(1, PHOTOS + 1):
                with archive.open(f"{name}/{name}_{number:04d}.jpg", "w") as member:
                    picture = Image.fromarray(photo(person, number)).resize((size, size))
                    picture.save(member, "PNG")
    lines = [f"{folds}\t2"]
    for fold in range(folds):
        one, other = PEOPLE[2 * fold], PEOPLE[2 * fold + 1]
        lines += [
            f"{one}\t1\t2",
            f"{other}\t1\t2",
            f"{one}\t1\t{other}\t1",
            f"{one}\t2\t{other}\t2",
        ]
    (folder / "pairs.txt").write_text("\n".join(lines) + "\n")
    return data
