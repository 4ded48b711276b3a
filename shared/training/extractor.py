"""Stage 0: sphere20, distilled from the teacher and pulled apart by LMCL.

compactface train extractor --faces CACHE --out RUN
"""

import logging
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from shared.models.lmcl import LargeMarginCosineLoss
from shared.models.sphere20 import EMBEDDING_SIZE, Sphere20
from shared.training.augment import augment
from shared.training.faces import Faces, to_tensor
from shared.training.loop import (
    CHECKPOINT_FILE,
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
class ExtractorConfig:
    """How stage 0 trains.

    Attributes:
        width: width multiplier of sphere20.
        samples: faces seen in all.
        batch: faces a step.
        peak_rate: AdamW's learning rate after warm-up.
        warm_up: steps of linear warm-up.
        weight_decay: AdamW's.
        relation_weight: weight of the similarity-matrix loss.
        lmcl_weight: weight of the LMCL loss, over the labelled faces of a batch.
        lmcl_from: share of the training after which LMCL joins.
        margin: LMCL's m.
        seed: of shuffling and initial weights.
        compile: use torch.compile (a minute at the start, a quarter faster after).
    """

    width: float = 0.5
    samples: int = 450_000
    batch: int = 64
    peak_rate: float = 1.5e-3
    warm_up: int = 200
    weight_decay: float = 0.02
    relation_weight: float = 8.0
    lmcl_weight: float = 0.03
    lmcl_from: float = 0.3
    margin: float = 0.35
    seed: int = 1
    compile: bool = True


class Student(nn.Module):
    """Sphere20 with the two heads that only training needs."""

    def __init__(self, *, width: float, teacher_size: int, classes: int, margin: float) -> None:
        super().__init__()
        self.shape = {
            "width": width,
            "teacher_size": teacher_size,
            "classes": classes,
            "margin": margin,
        }
        self.extractor = Sphere20(width=width)
        self.to_teacher = nn.Linear(EMBEDDING_SIZE, teacher_size, bias=False)
        self.lmcl = LargeMarginCosineLoss(classes=classes, size=EMBEDDING_SIZE, margin=margin)


def train_extractor(faces: Faces, config: ExtractorConfig, out: Path) -> None:
    """Train until `config.samples` faces are seen, resuming from `out/last.pt` if present."""
    torch.manual_seed(config.seed)
    split = split_faces(faces)
    student = Student(
        width=config.width,
        teacher_size=faces.teacher.shape[2],
        classes=split.classes,
        margin=config.margin,
    ).to(memory_format=torch.channels_last)  # type: ignore[call-overload] # torch's stub lacks it
    optimizer = torch.optim.AdamW(student.parameters(), weight_decay=config.weight_decay)
    average = Average(student)
    out.mkdir(parents=True, exist_ok=True)
    checkpoint = out / CHECKPOINT_FILE
    step = 0
    if checkpoint.exists():
        saved = torch.load(checkpoint, weights_only=True)
        student.load_state_dict(saved["student"])
        average.module.load_state_dict(saved["average"])
        optimizer.load_state_dict(saved["optimizer"])
        step = saved["step"]
    write_config(out, config, student.shape)
    log.info("%d faces, %d classes, from step %d", len(split.train), split.classes, step)

    extract = torch.compile(student.extractor) if config.compile else student.extractor
    steps = config.samples // config.batch
    began, means = time.monotonic(), np.zeros(3)
    for rows in batches(split.train, size=config.batch, seed=config.seed, start=step):
        if step >= steps:
            break
        torch.manual_seed(config.seed * 1_000_003 + step)
        rate = learning_rate(step, steps=steps, warm_up=config.warm_up, peak=config.peak_rate)
        for group in optimizer.param_groups:
            group["lr"] = rate
        mirrored = torch.rand(len(rows)) < 0.5
        crops = augment(to_tensor(faces.pixels[rows], mirrored))
        target = torch.from_numpy(faces.teacher[rows, mirrored.long().numpy()])
        with torch.autocast("cpu", torch.bfloat16):
            embedding: Tensor = extract(crops.contiguous(memory_format=torch.channels_last))
        embedding = embedding.float()
        distilled = cosine_loss(student.to_teacher(embedding), target)
        related = relation_loss(embedding, target)
        labels = torch.from_numpy(split.labels[rows])
        known = labels >= 0
        apart = embedding.new_zeros(())
        if step >= config.lmcl_from * steps and bool(known.any()):
            apart = student.lmcl(embedding[known], labels[known])
        loss = distilled + config.relation_weight * related + config.lmcl_weight * apart
        optimizer.zero_grad(set_to_none=True)
        torch.autograd.backward(loss)
        nn.utils.clip_grad_norm_(student.parameters(), 5.0)
        optimizer.step()
        average.update(student, step)
        step += 1
        means += [part.item() for part in (distilled, related, apart)]
        if step % 50 == 0:
            speed = 50 * config.batch / (time.monotonic() - began)
            began = time.monotonic()
            log.info(
                "step %d/%d distil %.4f relation %.5f lmcl %.3f, %.0f faces/s",
                step,
                steps,
                *(means / 50),
                speed,
            )
            means[:] = 0
        if step % 500 == 0 or step == steps:
            save_checkpoint(
                checkpoint,
                student=student.state_dict(),
                step=step,
                average=average.module.state_dict(),
                optimizer=optimizer.state_dict(),
            )
