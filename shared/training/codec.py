"""Stages 1 and 3: train CompNet and RecNet, first on a frozen extractor, then all together.

Differences from the paper: rounding is part of training (straight-through estimator). The target
is the teacher's embedding of the uncompressed face. A pixel loss keeps the reconstruction
recognizable to people. All operating points train together with one extractor, so that a probe of
one matches an enrollment of another.

compactface train codec; compactface train joint
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from shared.errors import InvalidTraining
from shared.inference.networks import load_compnet, load_recnet
from shared.model_directory import MANIFEST_FILE, ModelDirectory
from shared.models.face_codec import (
    IDENTITY,
    PLACES,
    AnyCompNet,
    FaceCompNet,
    Identity,
)
from shared.models.quantizer import quantize_straight_through
from shared.training.codec_recipe import CodecRecipe
from shared.training.dataset import TrainingData
from shared.training.faces import Faces
from shared.training.heads import renew_identity
from shared.training.live_data import LiveData
from shared.training.loop import Data, train
from shared.training.losses import cosine_loss, feature_loss, relation_loss
from shared.training.optimizers import Group
from shared.training.rate import entropy_bytes
from shared.training.run_folder import CHECKPOINT_FILE, averaged_weights, read_run, start_run
from shared.training.split import split_faces
from shared.training.student import (
    AnyStudent,
    ImportedExtractor,
    Student,
    load_student,
    make_student,
)
from shared.training.teacher_file import TeacherFile
from shared.training.teacher_module import TeacherModule, open_teachers
from shared.training.views import Views

UNCOMPRESSED = "uncompressed"
_TONE_PIXELS = 16


class CodecTraining(nn.Module):
    """CompNet, RecNet and extractor with the losses of every operating point.

    This is the left half of the paper's figure 8, with rounding.
    """

    def __init__(
        self, recipe: CodecRecipe, student: AnyStudent, teachers: Sequence[TeacherModule] = ()
    ) -> None:
        super().__init__()
        self._recipe = recipe
        # In a tuple, so that torch neither trains nor saves them.
        self.teachers = tuple(teachers)
        self.compnet, self.recnet = recipe.networks.make()
        size = recipe.networks.channels * PLACES
        self.readers = nn.ModuleDict(
            {name: nn.Linear(size, student.teacher_size) for name in recipe.points}
        )
        self.student = student
        if isinstance(self.compnet, FaceCompNet) and isinstance(student, Student):
            _copy_extractor(self.compnet.identity, student)

    def forward(self, batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Losses of a batch: `crops` (N, 3, 112, 96), `target` (N, D), `label` (N,).

        The batch is divided among the operating points; a part stays uncompressed.
        """
        crops, target = batch["crops"], batch["target"]
        sizes = self._deal(len(crops))
        coded = len(crops) - sizes[UNCOMPRESSED]
        latent = self.compnet(crops[:coded]).float()
        maps = self._sent(latent, sizes)
        seen = self.recnet(maps).to(crops.dtype)
        embedding = self.student.extractor(torch.cat([seen, crops[coded:]]))
        agreement = self._teacher_losses(seen, crops[:coded])
        with torch.autocast(crops.device.type, enabled=False):
            parts = zip(
                self.readers.values(), torch.split(maps.flatten(1), self._coded(sizes)), strict=True
            )
            read = [reader(part) for reader, part in parts]
            costs = {
                "pixel": functional.mse_loss(seen.float(), crops[:coded].float()),
                "tone": functional.mse_loss(_tones(seen), _tones(crops[:coded])),
                "rate": self._excess(latent, sizes),
                "map": cosine_loss(torch.cat(read), target[:coded]),
                **agreement,
            }
            return self._losses(embedding.float(), batch, costs, sizes)

    def _deal(self, n: int) -> dict[str, int]:
        """Number of faces per point out of n; the rest stays uncompressed."""
        shares = {name: point.share for name, point in self._recipe.points.items()}
        unit = n / (sum(shares.values()) + self._recipe.uncompressed)
        ends = torch.tensor([*shares.values()]).cumsum(0).mul(unit).round().int().tolist()
        starts = [0, *ends[:-1]]
        sizes = {name: end - start for name, start, end in zip(shares, starts, ends, strict=True)}
        return {**sizes, UNCOMPRESSED: n - ends[-1]}

    def _coded(self, sizes: Mapping[str, int]) -> list[int]:
        return [sizes[name] for name in self._recipe.points]

    def _sent(self, latent: Tensor, sizes: Mapping[str, int]) -> Tensor:
        """Dequantized maps, ordered by point, with 0 for omitted symbols."""
        if self._recipe.quantize == "straight_through":
            latent = quantize_straight_through(latent, levels=self._recipe.networks.levels)
        symbols = latent[0].numel()
        sent = torch.tensor([symbols - point.spared for point in self._recipe.points.values()])
        per_map = sent.repeat_interleave(torch.tensor(self._coded(sizes))).to(latent.device)
        order = torch.arange(symbols, device=latent.device)
        kept = (order < per_map[:, None]).view_as(latent)
        return torch.where(kept, latent, 0)

    def _excess(self, latent: Tensor, sizes: Mapping[str, int]) -> Tensor:
        """Mean relative excess of the map sizes over their point's target, at least 0."""
        total = latent.new_zeros(())
        points = self._recipe.points.values()
        for point, part in zip(points, torch.split(latent, self._coded(sizes)), strict=True):
            if point.target_bytes is not None:
                size = entropy_bytes(part, levels=self._recipe.networks.levels)
                total = total + (size / point.target_bytes - 1).clamp(min=0)
        return total / len(points)

    def _teacher_losses(self, seen: Tensor, crops: Tensor) -> dict[str, Tensor]:
        """Cosine distance of reconstructions to their crops under every teacher.

        Agreement with several networks makes a reconstruction more likely to generalize. Only a
        part of the batch is used, see `CodecRecipe.teacher_every`.
        """
        some = slice(None, None, self._recipe.teacher_every)
        unlike, other = [seen.new_zeros(())], [seen.new_zeros(())]
        for teacher in self.teachers:
            teacher.to(seen.device)
            with torch.no_grad():
                wanted = teacher(crops[some])
            impression = teacher(seen[some])
            unlike.append(cosine_loss(impression.embedding, functional.normalize(wanted.embedding)))
            if self._recipe.feature_weight:
                other.append(feature_loss(impression.features, wanted.features))
        count = max(1, len(self.teachers))
        return {
            "teacher": torch.stack(unlike).sum() / count,
            "feature": torch.stack(other).sum() / count,
        }

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
            + recipe.tone_weight * costs["tone"]
            + recipe.rate_weight * costs["rate"]
            + recipe.map_weight * costs["map"]
            + recipe.teacher_weight * costs["teacher"]
            + recipe.feature_weight * costs["feature"]
        )
        counts = [*sizes.values()]
        groups = zip(sizes, torch.split(answer, counts), torch.split(target, counts), strict=True)
        per_point = {
            name: cosine_loss(mine, theirs).detach() for name, mine, theirs in groups if len(mine)
        }
        return {"loss": loss, "relation": relation, "lmcl": lmcl, **costs, **per_point}


def _tones(crops: Tensor) -> Tensor:
    """Mean colours of the 16x16 blocks of (N, 3, 112, 96) crops."""
    return functional.avg_pool2d(crops.float(), _TONE_PIXELS)


@torch.no_grad()
def _copy_extractor(identity: Identity, student: Student) -> None:
    """Initialize CompNet from the extractor: its stages and its projection to the teacher's space.

    Does nothing if the extractor has another width.
    """
    theirs = student.extractor.stages.state_dict()
    shapes = {name: weight.shape for name, weight in identity.stages.state_dict().items()}
    head = student.to_teacher.weight
    if shapes != {name: weight.shape for name, weight in theirs.items()}:
        return
    identity.stages.load_state_dict(theirs)
    # Rotate the teacher's space so that its strongest directions come first.
    _, strengths, directions = torch.linalg.svd(head, full_matrices=False)
    strongest = (strengths[:, None] * directions)[:IDENTITY]
    embed = student.extractor.embed
    identity.embed.weight[: len(strongest)] = strongest @ embed.weight
    identity.embed.bias[: len(strongest)] = strongest @ embed.bias


class CodecStage:
    """Trainable parts of stages 1 and 3 with their learning rates."""

    def __init__(self, data: Data, network: CodecTraining, recipe: CodecRecipe) -> None:
        self.data = data
        self.network = network
        identity, encoder = _parts(network.compnet)
        self._groups = [
            Group(identity, recipe.identity_pace),
            Group([*encoder, network.readers], recipe.encoder_pace),
            Group([network.recnet], recipe.decoder_pace),
            Group([network.student], recipe.extractor_pace),
        ]
        for group in self._groups:
            for part in group.networks:
                part.requires_grad_(group.pace > 0)

    def groups(self) -> Sequence[Group]:
        """Parameter groups that are not frozen."""
        return [group for group in self._groups if group.pace > 0]

    def compilable(self) -> Sequence[nn.Module]:
        """Our networks."""
        network = self.network
        return [network.compnet, network.recnet, *network.student.compilable()]


def _parts(compnet: AnyCompNet) -> tuple[list[nn.Module], list[nn.Module]]:
    """CompNet's extractor (empty if it has none) and the rest of CompNet."""
    if not isinstance(compnet, FaceCompNet):
        return [], [compnet]
    rest = [part for part in compnet.children() if part is not compnet.identity]
    return [compnet.identity], rest


def train_codec(
    faces: Faces,
    views: Views,
    recipe: CodecRecipe,
    out: Path,
    *,
    extractor: Path | TeacherFile,
    teachers: Sequence[TeacherFile] = (),
    start: Path | None = None,
) -> None:
    """Train stage 1 or 3, resuming from a checkpoint in `out`.

    Args:
        faces: training faces with the teacher's embeddings.
        views: mixtures of faces; unused if the recipe's share of them is 0.
        recipe: the recipe.
        out: run folder.
        extractor: run folder of stage 0 (or 2), or an imported network, which stays frozen and
            must be the teacher of the faces.
        teachers: teachers for recipes that need them.
        start: initial weights: run folder of an earlier stage 1 or 3, or folder of a model
            version.

    Raises:
        InvalidTraining: `out` was started with another recipe, a folder holds no such run, the
            recipe needs a teacher, the extractor is not the teacher of the faces, or the recipe
            renews an identity that CompNet does not have.
    """
    torch.manual_seed(recipe.schedule.seed)
    split = split_faces(faces)
    student: AnyStudent
    if isinstance(extractor, TeacherFile):
        student = ImportedExtractor(extractor, teacher_size=faces.teacher.shape[2])
        student.check_is_teacher(faces)
    else:
        student = load_student(extractor)
    modules = open_teachers(recipe, teachers)
    network = CodecTraining(recipe, student, modules if recipe.compares else [])
    shape: dict[str, Any] = {"student": student.shape}
    if start is not None:
        weights, shape["start"] = _first_guess(start)
        load_matching_weights(network, weights)
    if recipe.renew_identity and not (out / CHECKPOINT_FILE).exists():
        compnet = network.compnet
        if (
            not isinstance(compnet, FaceCompNet)
            or not isinstance(student, Student)
            or compnet.width != student.shape["width"]
        ):
            raise InvalidTraining(
                "NO_IDENTITY",
                "renew_identity needs face_width, equal to the width of an extractor of our own",
            )
        renew_identity(compnet.identity, student, faces, split, seed=recipe.schedule.seed)
    start_run(out, recipe, shape)
    if isinstance(student, ImportedExtractor):
        student.copy_into(out)
    data: Data
    if recipe.views == "live":
        data = LiveData(faces, split, modules, mixed=recipe.mixed, uses=recipe.uses)
    else:
        data = TrainingData(faces, views, split, mixed=recipe.mixed, kind=recipe.faces)
    train(CodecStage(data, network, recipe), recipe.schedule, out)


def _first_guess(start: Path) -> tuple[Mapping[str, Tensor], dict[str, Any]]:
    """The weights of a run, or the codec of a model's default point, and their origin."""
    if not (start / MANIFEST_FILE).is_file():
        return averaged_weights(start), read_run(start)
    model = ModelDirectory.at(start)
    cpu = torch.device("cpu")
    networks = {
        "compnet": load_compnet(model, None, cpu),
        "recnet": load_recnet(model, None, cpu),
    }
    weights = {
        f"{part}.{name}": weight
        for part, network in networks.items()
        for name, weight in network.state_dict().items()
    }
    return weights, {"model": f"{model.manifest.family}/{model.manifest.version}"}


def load_matching_weights(network: CodecTraining, weights: Mapping[str, Tensor]) -> None:
    """Load the weights of an earlier run, skipping those of another shape."""
    own = network.state_dict()
    fitting = {n: w for n, w in weights.items() if n in own and own[n].shape == w.shape}
    network.load_state_dict(own | fitting)


def load_codecs(run: Path) -> tuple[CodecRecipe, CodecTraining]:
    """The recipe and the averaged networks of a run of stage 1 or 3."""
    settings = read_run(run)
    recipe = CodecRecipe.model_validate(settings["recipe"])
    network = CodecTraining(recipe, make_student(settings["shape"]["student"], run))
    network.load_state_dict(averaged_weights(run))
    return recipe, network.eval()
