"""The tiny model with a quality head: a dark map shows a dark, poor face, a white one none."""

from pathlib import Path

import numpy as np
from safetensors.numpy import save

from shared.model_directory import (
    QUALITY_FILE,
    CrowdConfig,
    LengthConfig,
    ModelDirectory,
    QualityConfig,
    codec_file,
    set_current,
    write_model_directory,
)
from tests.tiny_model import FAMILY

HEAD = QualityConfig(
    parts=("dark", "not_a_face"),
    scale=((0.0, 0.0), (1.0, 1.0)),
    spread=(0.25, 0.0),
    poor_spread=0.0,
    resembling=0.0,
)
"""Quality is the map's mean brightness in [0, 1]."""


def quality_weights(size: int, *, white_from: float = 1.7, crowd: bool = False) -> bytes:
    """A head of one hidden number: 1 + the mean of the map, 0 where black and 2 where white.

    From `white_from` on a map shows no face. With `crowd`, the brighter it is, the more others
    resemble it.
    """
    rows = [[0.5], [-40], [40]] + [[1]] * crowd
    bias = [0, 0.7 * 40, -white_from * 40] + [-1] * crowd
    hidden = np.full((1, size), 1 / size, np.float32)
    return save(
        {
            "hidden.weight": hidden,
            "hidden.bias": np.ones(1, np.float32),
            "out.weight": np.array(rows, np.float32),
            "out.bias": np.array(bias, np.float32),
        }
    )


def write_judging_model(
    tiny: ModelDirectory,
    models: Path,
    *,
    white_from: float = 1.7,
    length: LengthConfig | None = None,
    crowd: CrowdConfig | None = None,
) -> ModelDirectory:
    """Write the tiny model with heads for both codecs as version "2", which becomes current."""
    head = HEAD.model_copy(update={"length": length, "crowd": crowd})
    files = {name: (tiny.path / name).read_bytes() for name in tiny.manifest.files}
    for point, codec in tiny.manifest.codecs.items():
        size = int(np.prod(codec.map_format.shape))
        files[codec_file(point, QUALITY_FILE)] = quality_weights(
            size, white_from=white_from, crowd=crowd is not None
        )
    changes = {"version": "2", "quality": dict.fromkeys(tiny.manifest.codecs, head)}
    description = tiny.manifest.model_copy(update=changes)
    model = write_model_directory(models, description=description, files=files)
    set_current(models, FAMILY, "2")
    return model
