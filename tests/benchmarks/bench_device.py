"""What the recognizer's networks compute on a device, against its CPU in float32.

    python -m tests.benchmarks.bench_device --device cuda

Prints, as JSON, faces a second by batch size, with copies to and from the device; the arithmetic
that this makes, in teraflops; and the least cosine of an embedding to that of the CPU. What the
service makes of it is the ratio of `bench_throughput --device`.
"""

import json
import time
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import typer
from torch.utils.flop_counter import FlopCounterMode

from shared.inference.fixed_sizes import SIZES
from shared.inference.map_decoder import CodedMap, MapDecoder
from shared.inference.networks import load_extractor, load_recnet
from shared.model_directory import ModelDirectory

_LEAST_S = 2.0


def main(
    models: Annotated[Path, typer.Option(help="Folder of model families.")] = Path("deploy/models"),
    device: Annotated[str, typer.Option(help="cpu, cuda or cuda:N.")] = "cuda",
) -> None:
    """Print what the device computes."""
    model = ModelDirectory.load(models, "default")
    decoder = MapDecoder(model, device=device, precision="auto")
    maps = _maps(model, SIZES[-1])
    decoder.warm_up(SIZES)
    flops = _flops_a_face(model)
    rates = {size: _faces_a_second(decoder, maps[:size]) for size in SIZES}
    cosines = (decoder.embed(maps) * MapDecoder(model).embed(maps)).sum(1)
    found = {
        "device": torch.cuda.get_device_name(device) if device.startswith("cuda") else device,
        "faces_a_second": {size: round(rate, 1) for size, rate in rates.items()},
        "teraflops": {size: round(rate * flops / 1e12, 3) for size, rate in rates.items()},
        "least_cosine_to_cpu": round(float(cosines.min()), 5),
    }
    print(json.dumps(found, indent=1))  # noqa: T201


def _maps(model: ModelDirectory, count: int) -> list[CodedMap]:
    codec = model.codec(None)
    chance = np.random.default_rng(0)
    shape = codec.map_format.shape
    return [
        (codec.codec_id, chance.integers(0, codec.levels, shape, np.uint8)) for _ in range(count)
    ]


def _faces_a_second(decoder: MapDecoder, maps: list[CodedMap]) -> float:
    began, faces = time.perf_counter(), 0
    while (seconds := time.perf_counter() - began) < _LEAST_S:
        decoder.embed(maps)
        faces += len(maps)
    return faces / seconds


def _flops_a_face(model: ModelDirectory) -> int:
    """Of RecNet and extractor, a multiplication with its addition as two."""
    cpu = torch.device("cpu")
    recnet, extractor = load_recnet(model, None, cpu), load_extractor(model, cpu)
    with torch.inference_mode(), FlopCounterMode(display=False) as counter:
        extractor(recnet(torch.zeros(1, *model.codec(None).map_format.shape)))
    return int(counter.get_total_flops())


if __name__ == "__main__":
    typer.run(main)
