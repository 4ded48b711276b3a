"""Stages 1 and 3: CompNet and RecNet, first before a frozen extractor, then all together.

Unlike the paper, rounding is part of training (straight through), the teacher's embedding
of the uncompressed face is the target, and a pixel loss stays on, so that a person can
recognise the reconstruction.
"""

import json
import logging
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from shared.models.compnet import CompNet, Widths
from shared.models.quantizer import quantize_straight_through
from shared.models.recnet import RecNet
from shared.training.augment import augment
from shared.training.extractor import Student
from shared.training.faces import Faces, to_tensor
from shared.training.loop import (
    CHECKPOINT_FILE,
    CONFIG_FILE,
    Average,
    batches,
    cosine_loss,
    learning_rate,
    relation_loss,
    save_checkpoint,
    write_config,
)
from shared.training.split import split_faces

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class CodecConfig:
    """How stages 1 and 3 train.

    Attributes:
        channels: C of the compact map.
        levels: L of the quantizer.
        widths: of CompNet's first four convolutions (RecNet mirrors them).
        joint: train the extractor and LMCL, too (stage 3); else they are frozen (stage 1).
        samples: faces seen in all.
        batch: faces a step.
        peak_rate: AdamW's learning rate of CompNet and RecNet.
        extractor_rate: AdamW's learning rate of the extractor, in stage 3.
        warm_up: steps of linear warm-up.
        weight_decay: AdamW's.
        relation_weight: weight of the similarity-matrix loss.
        lmcl_weight: weight of LMCL, in stage 3.
        pixel_weight: weight of the mean squared error of the pixels in [-1, 1].
        seed: of shuffling and initial weights.
        compile: use torch.compile.
    """

    channels: int = 6
    levels: int = 4
    widths: Widths = (16, 32, 64, 96)
    joint: bool = False
    samples: int = 80_000
    batch: int = 48
    peak_rate: float = 2e-3
    extractor_rate: float = 4e-4
    warm_up: int = 100
    weight_decay: float = 0.01
    relation_weight: float = 8.0
    lmcl_weight: float = 0.03
    pixel_weight: float = 2.0
    seed: int = 2
    compile: bool = True


STAGE_1 = CodecConfig()
STAGE_3 = CodecConfig(joint=True, samples=120_000, peak_rate=1.2e-3)


class Codec(nn.Module):
    """Crop -> quantized map -> crop -> embedding: figure 8 of the paper, with the rounding."""

    def __init__(self, config: CodecConfig, student: Student) -> None:
        super().__init__()
        self.levels = config.levels
        self.compnet = CompNet(channels=config.channels, widths=config.widths)
        self.recnet = RecNet(channels=config.channels, widths=config.widths)
        self.student = student

    def forward(self, crop: Tensor) -> tuple[Tensor, Tensor]:
        """(N, 3, 112, 96) in [-1, 1] -> the reconstruction likewise, and (N, 512) embeddings."""
        latent = quantize_straight_through(self.compnet(crop).float(), levels=self.levels)
        reconstruction = self.recnet(latent)
        return reconstruction, self.student.extractor(reconstruction)


def _optimizer(codec: Codec, config: CodecConfig) -> torch.optim.AdamW:
    own = [*codec.compnet.parameters(), *codec.recnet.parameters()]
    groups = [{"params": own, "peak": config.peak_rate}]
    if config.joint:
        groups.append({"params": list(codec.student.parameters()), "peak": config.extractor_rate})
    else:
        codec.student.requires_grad_(False)
    return torch.optim.AdamW(groups, weight_decay=config.weight_decay)


def train_codec(
    faces: Faces, student: Student, config: CodecConfig, out: Path, *, start: Path | None = None
) -> None:
    """Train until `config.samples` faces are seen, resuming from `out/last.pt` if present.

    Args:
        faces: training faces with the teacher's embeddings.
        student: the extractor of stage 0 with its heads.
        config: see there.
        out: folder for the checkpoint.
        start: run folder of stage 1 to start stage 3 from.
    """
    torch.manual_seed(config.seed)
    split = split_faces(faces)
    codec = Codec(config, student)
    if start is not None:
        saved = torch.load(start / CHECKPOINT_FILE, weights_only=True)
        codec.load_state_dict(saved["average"])
    codec = codec.to(memory_format=torch.channels_last)  # type: ignore[call-overload] # torch's stub lacks it
    optimizer = _optimizer(codec, config)
    average = Average(codec)
    out.mkdir(parents=True, exist_ok=True)
    checkpoint = out / CHECKPOINT_FILE
    step = 0
    if checkpoint.exists():
        saved = torch.load(checkpoint, weights_only=True)
        codec.load_state_dict(saved["codec"])
        average.module.load_state_dict(saved["average"])
        optimizer.load_state_dict(saved["optimizer"])
        step = saved["step"]
    write_config(out, config, student.shape)
    log.info("%d faces, %d classes, from step %d", len(split.train), split.classes, step)

    run = torch.compile(codec) if config.compile else codec
    steps = config.samples // config.batch
    began, means = time.monotonic(), np.zeros(4)
    for rows in batches(split.train, size=config.batch, seed=config.seed, start=step):
        if step >= steps:
            break
        torch.manual_seed(config.seed * 1_000_003 + step)
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(
                step, steps=steps, warm_up=config.warm_up, peak=group["peak"]
            )
        mirrored = torch.rand(len(rows)) < 0.5
        crops = augment(to_tensor(faces.pixels[rows], mirrored))
        crops = crops.contiguous(memory_format=torch.channels_last)
        target = torch.from_numpy(faces.teacher[rows, mirrored.long().numpy()])
        with torch.autocast("cpu", torch.bfloat16):
            reconstruction, embedding = run(crops)
        embedding = embedding.float()
        pixel = nn.functional.mse_loss(reconstruction.float(), crops)
        distilled = cosine_loss(codec.student.to_teacher(embedding), target)
        related = relation_loss(embedding, target)
        labels = torch.from_numpy(split.labels[rows])
        known = labels >= 0
        apart = embedding.new_zeros(())
        if config.joint and bool(known.any()):
            apart = codec.student.lmcl(embedding[known], labels[known])
        loss = (
            distilled
            + config.relation_weight * related
            + config.lmcl_weight * apart
            + config.pixel_weight * pixel
        )
        optimizer.zero_grad(set_to_none=True)
        torch.autograd.backward(loss)
        nn.utils.clip_grad_norm_(codec.parameters(), 5.0)
        optimizer.step()
        average.update(codec, step)
        step += 1
        means += [part.item() for part in (distilled, related, apart, pixel)]
        if step % 50 == 0:
            speed = 50 * config.batch / (time.monotonic() - began)
            began = time.monotonic()
            log.info(
                "step %d/%d distil %.4f relation %.5f lmcl %.3f pixel %.4f, %.0f faces/s",
                step,
                steps,
                *(means / 50),
                speed,
            )
            means[:] = 0
        if step % 250 == 0 or step == steps:
            save_checkpoint(
                checkpoint,
                codec=codec.state_dict(),
                step=step,
                average=average.module.state_dict(),
                optimizer=optimizer.state_dict(),
            )


def load_student(run: Path) -> Student:
    """The averaged student of a run of stage 0."""
    shape = json.loads((run / CONFIG_FILE).read_text())["student"]
    student = Student(**shape)
    student.load_state_dict(torch.load(run / CHECKPOINT_FILE, weights_only=True)["average"])
    return student


def load_codec(run: Path) -> Codec:
    """The averaged networks of a run of stage 1 or 3."""
    values = json.loads((run / CONFIG_FILE).read_text())
    student = Student(**values.pop("student"))
    codec = Codec(CodecConfig(**{**values, "widths": tuple(values["widths"])}), student)
    codec.load_state_dict(torch.load(run / CHECKPOINT_FILE, weights_only=True)["average"])
    return codec.eval()
