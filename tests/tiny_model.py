"""A model directory for tests: codecs that make thumbnails, and a small random extractor."""

from collections.abc import Mapping
from itertools import combinations_with_replacement
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

from shared.calibration import CalibrationRow, CalibrationTable
from shared.model_directory import (
    COSFACE_112X96,
    UNCOMPRESSED,
    CodecConfig,
    ModelDescription,
    Sphere20Config,
    publish_results,
    set_current,
)
from shared.models.compnet import CompNet
from shared.models.recnet import RecNet
from shared.models.sphere20 import Sphere20
from shared.training.export import TrainedCodec, export_model

FAMILY = "default"
WIDTH = 0.125
CODECS = {
    "standard": CodecConfig(channels=6, levels=4, layout="row", widths=(4, 8, 8, 8)),
    "paper": CodecConfig(channels=3, levels=256, layout="rgb8", widths=(4, 4, 4, 4)),
}
# Round numbers, so that tests can place similarities between them.
SIMILARITY_AT_FMR = {0.5: 0.0, 1e-1: 0.2, 1e-2: 0.4, 1e-3: 0.6, 1e-4: 0.7, 1e-5: 0.8, 1e-6: 0.9}


def describe(version: str = "1", **changes: object) -> ModelDescription:
    """What the tiny model's manifest says."""
    fields: dict[str, object] = {
        "family": FAMILY,
        "version": version,
        "extractor": Sphere20Config(width=WIDTH),
        "alignment": COSFACE_112X96,
        "codecs": CODECS,
        "default_point": "standard",
        "provenance": {"note": "made for tests, trained on nothing"},
    }
    return ModelDescription.model_validate(fields | changes)


def smooth_images(count: int, *, seed: int = 0) -> Tensor:
    """Pictures of coloured clouds, (count, 3, 112, 96) in [-1, 1]."""
    coarse = torch.rand(count, 3, 14, 12, generator=torch.Generator().manual_seed(seed)) * 2 - 1
    return functional.interpolate(coarse, size=(112, 96), mode="bicubic").clamp(-1, 1)


@torch.no_grad()
def _thumbnail_codec(config: CodecConfig, *, gain: float) -> TrainedCodec:
    """Networks whose map is a thumbnail and whose reconstruction is the thumbnail enlarged."""
    compnet = CompNet(channels=config.channels, widths=config.widths).eval()
    recnet = RecNet(channels=config.channels, widths=config.widths).eval()
    for layer in [*compnet.modules(), *recnet.modules()]:
        if isinstance(layer, nn.PReLU):
            layer.weight.fill_(1)  # linear
        elif isinstance(layer, nn.Conv2d | nn.ConvTranspose2d):
            layer.weight.zero_()
            nn.init.zeros_(layer.bias)  # type: ignore[arg-type]
    first, *down, last = (x for x in compnet.layers if isinstance(x, nn.Conv2d))
    widen, *up, narrow = (x for x in recnet.layers if isinstance(x, nn.Conv2d | nn.ConvTranspose2d))
    copies = config.channels // 3
    bilinear = torch.tensor([0.25, 0.75, 0.75, 0.25])
    for colour in range(3):
        first.weight[colour, colour, 1, 1] = 1
        narrow.weight[colour, colour, 1, 1] = 1.4  # for what tanh and the filters take away
        for halve, double in zip(down, up, strict=True):
            halve.weight[colour, colour, 1:, 1:] = 0.25
            double.weight[colour, colour] = bilinear.outer(bilinear)
        assert last.bias is not None
        for copy in range(copies):
            channel = colour + 3 * copy
            last.weight[channel, colour, 1, 1] = gain
            # Copies straddle the edges between levels, so that together they resolve more.
            last.bias[channel] = (copy - (copies - 1) / 2) / config.levels
            widen.weight[colour, channel, 1, 1] = 1 / copies
    return TrainedCodec(compnet, recnet)


@torch.no_grad()
def tiny_networks(seed: int = 0) -> tuple[Sphere20, dict[str, TrainedCodec]]:
    """Thumbnail codecs, and a random extractor that sets different pictures far apart."""
    codecs = {
        point: _thumbnail_codec(config, gain=1 + seed / 100) for point, config in CODECS.items()
    }
    torch.manual_seed(seed)
    extractor = Sphere20(width=WIDTH).eval()
    images = smooth_images(32)
    decoded = codecs["standard"].recnet(codecs["standard"].compnet(images))
    extractor.embed.bias.sub_(extractor(decoded).mean(0))
    return extractor, codecs


def synthetic_table(
    probe_codec: str, enrolled_codec: str, *, lowered_by: float = 0
) -> CalibrationTable:
    """A table that says `SIMILARITY_AT_FMR`, or similarities so much lower."""
    rows = tuple(
        CalibrationRow(
            fmr=fmr,
            similarity=similarity - lowered_by,
            low=max(-1, similarity - lowered_by - 0.05),
            high=min(1, similarity - lowered_by + 0.05),
            fnmr=fmr**0.1 / 10,
        )
        for fmr, similarity in SIMILARITY_AT_FMR.items()
    )
    return CalibrationTable(
        probe_codec=probe_codec,
        enrolled_codec=enrolled_codec,
        identities=600,
        genuine_pairs=20_000,
        impostor_pairs=10_000_000,
        rows=rows,
        tail_scale=0.05,
    )


def write_tiny_model(
    models: Path,
    scratch: Path,
    *,
    version: str = "1",
    seed: int = 0,
    extractor_seed: int | None = None,
    lowered_by: Mapping[tuple[str, str], float] | None = None,
) -> None:
    """Write `<models>/default/<version>`, calibrated for all pairs of codecs, as `current`.

    With another `extractor_seed` it has the codecs of `seed` and another embedding space.
    `lowered_by` lowers the thresholds between two operating points, named in the order of `CODECS`.
    """
    _, codecs = tiny_networks(seed)
    extractor, _ = tiny_networks(seed if extractor_seed is None else extractor_seed)
    model = export_model(scratch, description=describe(version), extractor=extractor, codecs=codecs)
    ids = {UNCOMPRESSED: UNCOMPRESSED}
    ids |= {point: codec.codec_id for point, codec in model.manifest.codecs.items()}
    tables = [
        synthetic_table(ids[a], ids[b], lowered_by=(lowered_by or {}).get((a, b), 0))
        for a, b in combinations_with_replacement(ids, 2)
    ]
    publish_results(model, models, calibration=tables, measured={})
    set_current(models, FAMILY, version)
