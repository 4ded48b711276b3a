"""The tiny model with a random readout of its operating point `standard`."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from shared.inference.readouts import Readout, Readouts
from shared.model_directory import (
    CAMERA_EXTRACTOR_FILE,
    READOUT_FILE,
    ModelDirectory,
    ReadoutConfig,
    Sphere20Config,
    write_model_directory,
)
from shared.training.export import camera_extractor

SIZE, POINT = 512, "standard"
USE = ReadoutConfig(share=0.6, agreement=-1, distortion=0.01)
Floats = NDArray[np.float32]


def random_readout(model: ModelDirectory, seed: int = 0) -> Readout:
    """Of the operating point."""
    random = np.random.default_rng(seed)
    sent = model.codec(POINT).map_format.sent
    weight = random.normal(size=(sent, SIZE)).astype(np.float32) / np.float32(sent)
    return Readout(weight, random.normal(size=SIZE).astype(np.float32) / 20)


def readouts_of(model: ModelDirectory, seed: int = 0) -> Readouts:
    """With that of the operating point alone."""
    return Readouts({POINT: random_readout(model, seed)}, {POINT: USE})


def write_with_readouts(
    tiny_model: ModelDirectory,
    models: Path,
    content: bytes,
    *,
    version: str = "2",
    use: ReadoutConfig = USE,
    **changes: object,
) -> ModelDirectory:
    """Write the tiny model with this file of readouts."""
    files = {name: (tiny_model.path / name).read_bytes() for name in tiny_model.manifest.files}
    changes |= {"version": version, "readouts": {POINT: use}}
    description = tiny_model.manifest.model_copy(update=changes)
    config = tiny_model.manifest.extractor
    assert isinstance(config, Sphere20Config)
    computed = camera_extractor(tiny_model.extractor_path.read_bytes(), config, None)
    files |= {READOUT_FILE: content, CAMERA_EXTRACTOR_FILE: computed}
    return write_model_directory(models, description=description, files=files)
