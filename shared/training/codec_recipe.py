"""How stages 1 and 3 train: what a recipe file of theirs may say."""

from typing import Literal

from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveInt, model_validator

from shared.codec.compact_map import Layout
from shared.models.compnet import Widths
from shared.models.face_codec import AnyCompNet, AnyRecNet, make_codec
from shared.training.dataset import Kind
from shared.training.recipe import Recipe, Schedule


class PointRecipe(Recipe):
    """An operating point: how much of a map is sent, and how much of the training it gets.

    Attributes:
        spared: symbols at the end of the map that are not sent.
        share: of a batch, relative to the other points'.
        target_bytes: mean size that the rate term steers to, for layouts whose size varies;
            None for those whose size is fixed.
    """

    spared: NonNegativeInt = 0
    share: float = Field(gt=0)
    target_bytes: PositiveInt | None = None


class NetworksRecipe(Recipe):
    """The networks that all operating points of a run share.

    Attributes:
        channels: C of the compact map.
        levels: L of the quantizer.
        layout: of the PNG, see `shared.codec.compact_map`.
        widths: of CompNet's first four convolutions (RecNet mirrors them).
        face_width: width of the sphere20 that CompNet takes over from the extractor; None for
            the paper's networks.
        dropout: in the residual blocks.
    """

    channels: PositiveInt
    levels: int = Field(ge=2, le=256)
    layout: Layout
    widths: Widths
    face_width: float | None = Field(default=None, gt=0, le=4)
    dropout: float = Field(ge=0, lt=1)

    def make(self) -> tuple[AnyCompNet, AnyRecNet]:
        """Fresh networks."""
        return make_codec(
            channels=self.channels,
            widths=self.widths,
            face_width=self.face_width,
            dropout=self.dropout,
        )


class CodecRecipe(Recipe):
    """How stages 1 and 3 train.

    Attributes:
        networks: what all operating points share.
        points: operating points by name.
        uncompressed: share of a batch that reaches the extractor as it is.
        mixed: share of a batch that is mixtures of two faces.
        faces: see `lessons.Kind`.
        quantize: round in training (straight through), or not at all as the paper did.
        identity_pace: learning rate of the extractor inside CompNet, relative to the schedule's;
            0 freezes it, which saves two thirds of CompNet's time; the paper's has none.
        encoder_pace: of the rest of CompNet.
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
        teacher_weight: weight of the cosine distance between the teacher's embeddings of the
            reconstruction and of the face. What persuades two networks is more likely a face
            than what persuades the one that is trained along.
        feature_weight: weight of the difference of what the teacher's inner layers see in the
            reconstruction and in the crop, see `losses.feature_loss`. They are closer than its
            embedding to what any other network looks for.
        schedule: see there.
    """

    networks: NetworksRecipe
    points: dict[str, PointRecipe] = Field(min_length=1)
    uncompressed: NonNegativeFloat
    mixed: float = Field(ge=0, lt=1)
    faces: Kind
    quantize: Literal["straight_through", "none"]
    identity_pace: NonNegativeFloat = 1.0
    encoder_pace: NonNegativeFloat
    decoder_pace: NonNegativeFloat
    extractor_pace: NonNegativeFloat
    distil_weight: NonNegativeFloat
    relation_weight: NonNegativeFloat
    lmcl_weight: NonNegativeFloat
    pixel_weight: NonNegativeFloat
    rate_weight: NonNegativeFloat = 0.0
    map_weight: NonNegativeFloat = 0.0
    teacher_weight: NonNegativeFloat = 0.0
    feature_weight: NonNegativeFloat = 0.0
    schedule: Schedule

    @property
    def asks_teacher(self) -> bool:
        """Whether a teacher is asked about reconstructions."""
        return bool(self.teacher_weight or self.feature_weight)

    @model_validator(mode="after")
    def _spares_only_what_recnet_can_do_without(self) -> "CodecRecipe":
        if self.networks.face_width is None and any(p.spared for p in self.points.values()):
            raise ValueError("spared: the paper's RecNet needs the whole map; set face_width")
        return self
