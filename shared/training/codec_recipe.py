"""Recipes of stages 1 and 3."""

from typing import Literal

from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveInt, model_validator

from shared.codec.compact_map import Layout
from shared.models.compnet import Widths
from shared.models.face_codec import AnyCompNet, AnyRecNet, make_codec
from shared.training.dataset import Kind
from shared.training.recipe import Recipe, StageRecipe


class PointRecipe(Recipe):
    """An operating point: the part of the map that is sent, and its share of training.

    Attributes:
        spared: number of symbols omitted at the end of the map.
        share: share of a batch, relative to the other points.
        target_bytes: mean size that the rate loss aims at, for layouts of variable size; None
            for layouts of fixed size.
    """

    spared: NonNegativeInt = 0
    share: float = Field(gt=0)
    target_bytes: PositiveInt | None = None


class NetworksRecipe(Recipe):
    """The networks that all operating points of a run share.

    Attributes:
        channels: C of the compact map.
        levels: L of the quantizer.
        layout: layout of the PNG, see `shared.codec.compact_map`.
        widths: channels of CompNet's first four convolutions (RecNet mirrors them).
        face_width: width of the sphere20 that CompNet copies from the extractor; None for the
            paper's networks.
        face_mirrored: whether that sphere20 also sees the mirror image, at twice the cost.
        dropout: dropout rate in the residual blocks.
    """

    channels: PositiveInt
    levels: int = Field(ge=2, le=256)
    layout: Layout
    widths: Widths
    face_width: float | None = Field(default=None, gt=0, le=4)
    face_mirrored: bool = True
    dropout: float = Field(ge=0, lt=1)

    def make(self) -> tuple[AnyCompNet, AnyRecNet]:
        """Untrained networks."""
        return make_codec(
            channels=self.channels,
            widths=self.widths,
            face_width=self.face_width,
            face_mirrored=self.face_mirrored,
            dropout=self.dropout,
        )


class CodecRecipe(StageRecipe):
    """Recipe of stages 1 and 3.

    Attributes:
        networks: networks that all operating points share.
        points: operating points by name.
        uncompressed: share of a batch that bypasses the codec.
        mixed: share of a batch that is mixtures of two faces.
        faces: which photographs to use, see `Kind` in `shared.training.dataset`.
        quantize: round in training (straight-through); false trains without rounding, as in the
            paper.
        renew_identity: replace the extractor inside CompNet, which training starts with, by the
            trained one; see `heads.renew_identity`.
        identity_pace: learning rate of the extractor inside CompNet, relative to the schedule's;
            0 freezes it, which saves two thirds of CompNet's time. The paper's CompNet has none.
        encoder_pace: relative learning rate of the rest of CompNet.
        decoder_pace: relative learning rate of RecNet.
        extractor_pace: relative learning rate of the extractor and its heads.
        distil_weight: weight of the cosine distance to the teacher.
        relation_weight: weight of the similarity-matrix loss.
        lmcl_weight: weight of LMCL.
        pixel_weight: weight of the mean squared error of the pixels in [-1, 1].
        tone_weight: weight of the same of colours averaged over 16x16 pixels, against colour casts.
        rate_weight: weight of the relative excess of map sizes over their targets.
        map_weight: weight of the cosine distance between the teacher's embedding and a linear
            readout of the map, used only in training. It gives CompNet a direct gradient about
            which bits identify a face; the gradient through RecNet and extractor is slow.
        teacher_weight: weight of the cosine distance between the teacher's embeddings of the
            reconstruction and of the face. It discourages reconstructions that satisfy only the
            extractor trained with them.
        teacher_every: of so many reconstructions one is compared; teachers are slow on a CPU.
        feature_weight: weight of the difference between the teacher's inner features of the
            reconstruction and of the crop, see `losses.feature_loss`. Other networks share these
            features more than the embedding.
    """

    networks: NetworksRecipe
    points: dict[str, PointRecipe] = Field(min_length=1)
    uncompressed: NonNegativeFloat
    mixed: float = Field(ge=0, lt=1)
    faces: Kind
    quantize: Literal["straight_through", "none"]
    renew_identity: bool = False
    identity_pace: NonNegativeFloat = 1.0
    encoder_pace: NonNegativeFloat
    decoder_pace: NonNegativeFloat
    extractor_pace: NonNegativeFloat
    distil_weight: NonNegativeFloat
    relation_weight: NonNegativeFloat
    lmcl_weight: NonNegativeFloat
    pixel_weight: NonNegativeFloat
    tone_weight: NonNegativeFloat = 0.0
    rate_weight: NonNegativeFloat = 0.0
    map_weight: NonNegativeFloat = 0.0
    teacher_weight: NonNegativeFloat = 0.0
    teacher_every: PositiveInt = 4
    feature_weight: NonNegativeFloat = 0.0

    @property
    def needs_teacher(self) -> bool:
        """Whether live views or reconstructions are shown to a teacher."""
        return super().needs_teacher or self.compares

    @property
    def compares(self) -> bool:
        """Whether reconstructions are compared before a teacher."""
        return bool(self.teacher_weight or self.feature_weight)

    @model_validator(mode="after")
    def _check_combinations(self) -> "CodecRecipe":
        if self.networks.face_width is None and any(p.spared for p in self.points.values()):
            raise ValueError("spared: the paper's RecNet needs the whole map; set face_width")
        if self.views == "live" and self.faces == "labelled":
            raise ValueError('faces: live views are of all faces; choose "all"')
        return self
