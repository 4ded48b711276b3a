"""Stages 1 and 3: CompNet and RecNet, first before a frozen extractor, then all together.

Unlike the paper, rounding is part of training (straight through), the teacher's embedding of
the uncompressed face is the target, a pixel loss stays on, so that a person can recognise the
reconstruction, and all operating points train at once before one extractor, which is why a
probe of one matches an enrolment of another.

compactface train codec; compactface train joint
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import torch
from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveInt
from torch import Tensor, nn
from torch.nn import functional

from shared.compact_map import Layout
from shared.models.compnet import Widths
from shared.models.face_codec import MAP_HEIGHT, MAP_WIDTH, FaceCompNet, make_codec
from shared.models.quantizer import quantize_straight_through
from shared.training.extractor import Student, load_student
from shared.training.faces import Faces
from shared.training.lessons import Kind, Lessons
from shared.training.loop import train
from shared.training.losses import cosine_loss, relation_loss
from shared.training.optimizers import Group
from shared.training.rate import entropy_bytes
from shared.training.recipe import Recipe, Schedule
from shared.training.run_folder import averaged_weights, begin, read_run
from shared.training.split import split_faces
from shared.training.views import Views

UNCOMPRESSED = "uncompressed"


class PointRecipe(Recipe):
    """An operating point, and how much of the training it gets.

    Attributes:
        channels: C of the compact map.
        levels: L of the quantizer.
        layout: of the PNG, see `shared.compact_map`.
        widths: of CompNet's first four convolutions (RecNet mirrors them).
        face_width: width of the sphere20 whose first stages CompNet takes over from the
            extractor, in common with the other points; None for the paper's networks.
        spared: symbols at the end of the last channel that are not sent.
        dropout: in the residual blocks.
        share: of a batch, relative to the other points'.
        target_bytes: mean size that the rate term steers to, for layouts whose size varies;
            None for those whose size is fixed.
    """

    channels: PositiveInt
    levels: int = Field(ge=2, le=256)
    layout: Layout
    widths: Widths
    face_width: float | None = Field(default=None, gt=0, le=4)
    spared: NonNegativeInt = 0
    dropout: float = Field(ge=0, lt=1)
    share: float = Field(gt=0)
    target_bytes: PositiveInt | None = None


class CodecRecipe(Recipe):
    """How stages 1 and 3 train.

    Attributes:
        points: operating points by name.
        uncompressed: share of a batch that reaches the extractor as it is.
        mixed: share of a batch that is mixtures of two faces.
        faces: see `lessons.Kind`.
        quantize: round in training (straight through), or not at all as the paper did.
        encoder_pace: learning rate of CompNet, relative to the schedule's; 0 freezes it.
        decoder_pace: of RecNet.
        extractor_pace: of the extractor and its heads.
        distil_weight: weight of the cosine distance to the teacher.
        relation_weight: weight of the similarity-matrix loss.
        lmcl_weight: weight of LMCL.
        pixel_weight: weight of the mean squared error of the pixels in [-1, 1].
        rate_weight: weight of the share by which maps exceed their target bytes.
        map_weight: weight of the cosine distance between the teacher's embedding and what one
            linear layer, for training only, reads off the map. It tells CompNet at once which
            bits identify; by way of RecNet and extractor it learns that late.
        schedule: see there.
    """

    points: dict[str, PointRecipe] = Field(min_length=1)
    uncompressed: NonNegativeFloat
    mixed: float = Field(ge=0, lt=1)
    faces: Kind
    quantize: Literal["straight_through", "none"]
    encoder_pace: NonNegativeFloat
    decoder_pace: NonNegativeFloat
    extractor_pace: NonNegativeFloat
    distil_weight: NonNegativeFloat
    relation_weight: NonNegativeFloat
    lmcl_weight: NonNegativeFloat
    pixel_weight: NonNegativeFloat
    rate_weight: NonNegativeFloat = 0.0
    map_weight: NonNegativeFloat = 0.0
    schedule: Schedule


class Codec(nn.Module):
    """Crop -> quantized map -> crop: the left half of the paper's figure 8, with the rounding."""

    def __init__(self, point: PointRecipe, *, quantize: bool) -> None:
        super().__init__()
        self._point = point
        self._quantize = quantize
        self.compnet, self.recnet = make_codec(
            channels=point.channels,
            widths=point.widths,
            face_width=point.face_width,
            dropout=point.dropout,
        )

    def forward(self, crop: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """(N, 3, 112, 96) in [-1, 1] -> its reconstruction, not clipped, its map, its excess bytes.

        The excess is the share by which maps are larger than their target, at least 0.
        """
        latent = self.compnet(crop).float()
        excess = latent.new_zeros(())
        if self._point.target_bytes is not None:
            size = entropy_bytes(latent, levels=self._point.levels)
            excess = (size / self._point.target_bytes - 1).clamp(min=0)
        if self._quantize:
            latent = quantize_straight_through(latent, levels=self._point.levels)
        if self._point.spared:
            symbols = latent.flatten(1)
            unsent = torch.full_like(symbols[:, : self._point.spared], -1)
            kept = symbols[:, : -self._point.spared]
            latent = torch.cat([kept, unsent], 1).view_as(latent)
        return self.recnet(latent), latent, excess


class CodecTraining(nn.Module):
    """Codecs before one extractor, and what is lost on the way through each."""

    def __init__(self, recipe: CodecRecipe, student: Student) -> None:
        super().__init__()
        rounds = recipe.quantize == "straight_through"
        self.codecs = nn.ModuleDict(
            {name: Codec(point, quantize=rounds) for name, point in recipe.points.items()}
        )
        size = MAP_HEIGHT * MAP_WIDTH
        self.readers = nn.ModuleDict(
            {
                name: nn.Linear(point.channels * size, student.to_teacher.out_features)
                for name, point in recipe.points.items()
            }
        )
        self.student = student
        self._recipe = recipe
        self._share_stages()

    def _share_stages(self) -> None:
        """Every `FaceCompNet` has the same stages: all points teach them, from the extractor's."""
        shared: dict[float, nn.Sequential] = {}
        for codec in self.codecs.values():
            if isinstance(codec, Codec) and isinstance(codec.compnet, FaceCompNet):
                compnet = codec.compnet
                if compnet.width not in shared and compnet.width == self.student.shape["width"]:
                    ours = self.student.extractor.stages[: len(compnet.stages)]
                    compnet.stages.load_state_dict(ours.state_dict())
                compnet.stages = shared.setdefault(compnet.width, compnet.stages)

    def forward(self, batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Losses of a batch: `crops` (N, 3, 112, 96), `target` (N, D), `label` (N,).

        The batch is dealt out to the operating points, and a part stays uncompressed.
        """
        crops = batch["crops"]
        sizes = self._deal(len(crops))
        parts = dict(zip(sizes, torch.split(crops, list(sizes.values())), strict=True))
        names = [name for name in parts if name in self.codecs]
        pictures, maps, excesses = zip(*(self.codecs[n](parts[n]) for n in names), strict=True)
        seen = torch.cat(pictures).to(crops.dtype)
        rest = parts[UNCOMPRESSED]
        embedding = self.student.extractor(torch.cat([seen, rest]))
        with torch.autocast(crops.device.type, enabled=False):
            pixel = functional.mse_loss(seen.float(), crops[: len(seen)].float())
            read = [self.readers[n](m.float().flatten(1)) for n, m in zip(names, maps, strict=True)]
            costs = {
                "pixel": pixel,
                "rate": torch.stack(excesses).mean(),
                "map": cosine_loss(torch.cat(read), batch["target"][: len(seen)]),
            }
            return self._losses(embedding.float(), batch, costs, sizes)

    def _deal(self, n: int) -> dict[str, int]:
        """How many of n faces go through each point; the rest of them stays uncompressed."""
        shares = {name: point.share for name, point in self._recipe.points.items()}
        unit = n / (sum(shares.values()) + self._recipe.uncompressed)
        ends = torch.tensor([*shares.values()]).cumsum(0).mul(unit).round().int().tolist()
        starts = [0, *ends[:-1]]
        sizes = {name: end - start for name, start, end in zip(shares, starts, ends, strict=True)}
        return {**sizes, UNCOMPRESSED: n - ends[-1]}

    def _losses(
        self,
        embedding: Tensor,
        batch: Mapping[str, Tensor],
        costs: dict[str, Tensor],
        sizes: dict[str, int],
    ) -> dict[str, Tensor]:
        recipe, target = self._recipe, batch["target"]
        answer = self.student.to_teacher(embedding)
        distil = cosine_loss(answer, target)
        relation = relation_loss(embedding, target)
        lmcl = self.student.lmcl(embedding, batch["label"])
        loss = (
            recipe.distil_weight * distil
            + recipe.relation_weight * relation
            + recipe.lmcl_weight * lmcl
            + recipe.pixel_weight * costs["pixel"]
            + recipe.rate_weight * costs["rate"]
            + recipe.map_weight * costs["map"]
        )
        counts = [*sizes.values()]
        groups = zip(sizes, torch.split(answer, counts), torch.split(target, counts), strict=True)
        per_point = {
            name: cosine_loss(mine, theirs).detach() for name, mine, theirs in groups if len(mine)
        }
        return {"loss": loss, "relation": relation, "lmcl": lmcl, **costs, **per_point}


class CodecStage:
    """What trains in stages 1 and 3, and how fast."""

    def __init__(self, lessons: Lessons, network: CodecTraining, recipe: CodecRecipe) -> None:
        self.lessons = lessons
        self.network = network
        codecs = [codec for codec in network.codecs.values() if isinstance(codec, Codec)]
        self._groups = [
            Group([codec.compnet for codec in codecs] + [network.readers], recipe.encoder_pace),
            Group([codec.recnet for codec in codecs], recipe.decoder_pace),
            Group([network.student], recipe.extractor_pace),
        ]
        for group in self._groups:
            for part in group.networks:
                part.requires_grad_(group.pace > 0)

    def groups(self) -> Sequence[Group]:
        """Those that are not frozen."""
        return [group for group in self._groups if group.pace > 0]

    def heavy(self) -> Sequence[nn.Module]:
        """Every codec and the extractor."""
        return [*self.network.codecs.values(), self.network.student.extractor]


def train_codec(
    faces: Faces,
    views: Views,
    recipe: CodecRecipe,
    out: Path,
    *,
    extractor: Path,
    start: Path | None = None,
) -> None:
    """Train stage 1 or 3, going on from `out` if it holds a checkpoint.

    Args:
        faces: training faces with the teacher's embeddings.
        views: mixtures of them; none are needed where the recipe's share of them is 0.
        recipe: what to do.
        out: folder of the run.
        extractor: folder of the run of stage 0 (or 2).
        start: folder of an earlier run of stage 1 or 3 whose networks are the first guess.

    Raises:
        InvalidTraining: `out` was begun with another recipe, or a folder holds no such run.
    """
    torch.manual_seed(recipe.schedule.seed)
    split = split_faces(faces)
    student = load_student(extractor)
    network = CodecTraining(recipe, student)
    shape: dict[str, Any] = {"student": student.shape}
    if start is not None:
        begin_with(network, averaged_weights(start))
        shape["start"] = read_run(start)
    begin(out, recipe, shape)
    lessons = Lessons(faces, views, split, mixed=recipe.mixed, kind=recipe.faces)
    train(CodecStage(lessons, network, recipe), recipe.schedule, out)


def begin_with(network: CodecTraining, weights: Mapping[str, Tensor]) -> None:
    """Take over the weights of an earlier run; an operating point it lacked starts from another.

    Layers whose shape depends on the number of channels start afresh there.
    """
    donors = {name.split(".")[1] for name in weights if name.startswith("codecs.")}
    own = network.state_dict()
    for name, value in own.items():
        candidates = [name]
        if name.startswith("codecs."):
            _, _, rest = name.split(".", 2)
            candidates += [f"codecs.{donor}.{rest}" for donor in sorted(donors)]
        for candidate in candidates:
            if candidate in weights and weights[candidate].shape == value.shape:
                own[name] = weights[candidate]
                break
    network.load_state_dict(own)


def load_codecs(run: Path) -> tuple[CodecRecipe, CodecTraining]:
    """The averaged networks of a run of stage 1 or 3, and its recipe."""
    told = read_run(run)
    recipe = CodecRecipe.model_validate(told["recipe"])
    network = CodecTraining(recipe, Student(**told["shape"]["student"]))
    network.load_state_dict(averaged_weights(run))
    return recipe, network.eval()
