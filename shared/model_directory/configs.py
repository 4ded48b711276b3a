"""Parts of a manifest: extractor, alignment, codecs and quality heads."""

from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import (
    BaseModel,
    Discriminator,
    Field,
    JsonValue,
    StringConstraints,
    Tag,
    model_validator,
)

from shared.codec.compact_map import Layout, MapFormat
from shared.record import Record

# Names become folder names; the pattern excludes separators and leading dots.
NAME_PATTERN = r"^[a-z0-9][a-z0-9._-]{0,63}$"
Name = Annotated[str, StringConstraints(pattern=NAME_PATTERN)]
Sha256 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
ShortId = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{16}$")]
Width = Annotated[int, Field(ge=1, le=1024)]
EmbeddingSize = Annotated[int, Field(ge=1, le=4096)]
PositiveFloat = Annotated[float, Field(gt=0)]
NotNegative = Annotated[float, Field(ge=0, le=2)]
Rate = Annotated[float, Field(gt=0, lt=1)]
CROP_HEIGHT, CROP_WIDTH = 112, 96
Point = tuple[float, float]


class Sphere20Config(Record):
    """A sphere20 extractor trained by this project.

    Attributes:
        architecture: "sphere20"; older manifests omit it.
        width: multiplier of its channels.
        embedding_size: numbers in an embedding.
        mirrored: whether the embeddings of the face and its mirror image are summed; see
            `Embedder`.
    """

    file: ClassVar[str] = "extractor.safetensors"

    architecture: Literal["sphere20"] = "sphere20"
    width: float = Field(gt=0, le=4)
    embedding_size: EmbeddingSize = 512
    mirrored: bool = False

    def described(self) -> dict[str, JsonValue]:
        """The fields that determine the embedding space; stable across manifest versions."""
        later = {"architecture"} if self.mirrored else {"architecture", "mirrored"}
        return self.model_dump(mode="json", exclude=later)


class OnnxConfig(Record):
    """An imported face network in an ONNX file: (N, 3, height, width) -> (N, embedding_size).

    Its input is `(pixel - mean) / std` of pixels in [0, 255].

    Attributes:
        architecture: "onnx".
        height: rows of the input.
        width: columns of the input. A square input gets the crop padded to a square by repeating
            its first and last column, an input of the crop's aspect ratio the crop itself. Both
            are resized to the input size.
        colour: channel order of the input.
        mean: of R, G and B, whatever the channel order.
        std: of R, G and B, likewise.
        embedding_size: numbers in an embedding.
        mirrored: whether the embeddings of the face and its mirror image are summed.
    """

    file: ClassVar[str] = "extractor.onnx"

    architecture: Literal["onnx"] = "onnx"
    height: int = Field(ge=16, le=1024)
    width: int = Field(ge=16, le=1024)
    colour: Literal["RGB", "BGR"] = "RGB"
    mean: tuple[float, float, float]
    std: tuple[PositiveFloat, PositiveFloat, PositiveFloat]
    embedding_size: EmbeddingSize
    mirrored: bool = False

    @model_validator(mode="after")
    def _check_shape(self) -> Self:
        if self.height != self.width and CROP_WIDTH * self.height != CROP_HEIGHT * self.width:
            raise ValueError(
                f"input is {self.height}x{self.width} (height x width); it must be square or of a "
                f"crop's shape, {CROP_HEIGHT}x{CROP_WIDTH}"
            )
        return self

    def described(self) -> dict[str, JsonValue]:
        """The fields that determine the embedding space."""
        return self.model_dump(mode="json")


def _architecture(config: Any) -> Any:
    if isinstance(config, BaseModel):
        return getattr(config, "architecture", None)
    return config.get("architecture", "sphere20") if isinstance(config, dict) else None


ExtractorConfig = Annotated[
    Annotated[Sphere20Config, Tag("sphere20")] | Annotated[OnnxConfig, Tag("onnx")],
    Discriminator(_architecture),
]
"""Configuration of an extractor; `shared.inference.extractor` opens each architecture."""


class AlignmentTemplate(Record):
    """Positions of the five landmarks in an aligned crop.

    Attributes:
        id: its name, e.g. "cosface-112x96".
        points: x, y in pixels of left eye, right eye, nose, left and right corner of the mouth.
        height: rows of a crop.
        width: columns of a crop.
    """

    id: Name
    points: tuple[Point, Point, Point, Point, Point]
    height: Literal[112] = 112
    width: Literal[96] = 96


COSFACE_112X96 = AlignmentTemplate(
    id="cosface-112x96",
    points=(
        (30.2946, 51.6963),
        (65.5318, 51.5014),
        (48.0252, 71.7366),
        (33.5493, 92.3655),
        (62.7299, 92.2041),
    ),
)
"""The template of CosFace and SphereFace that `shared.faces.align` uses."""


class InputNormalisation(Record):
    """Normalisation of the networks' input: `pixel / divisor + offset`, in this channel order."""

    colour: Literal["RGB"] = "RGB"
    divisor: float = Field(default=127.5, gt=0)
    offset: float = -1.0


class CodecConfig(Record):
    """One operating point: the geometry of its maps and the widths of its networks.

    Attributes:
        channels: C of the map.
        levels: L of equation 1; symbols are 0 to L - 1.
        layout: layout of the symbols in the PNG, "rgb8" or "row".
        widths: channels of CompNet's first four convolutions; RecNet mirrors them.
        face_width: width of the sphere20 in CompNet for the face networks of
            `shared.models.face_codec`; None for the paper's networks.
        face_mirrored: whether that sphere20 also sees the mirror image.
        spared: number of symbols omitted at the end of a map.
        networks: operating point of the same sizes whose networks this one shares; None if it
            has its own.
        compnet: sha256 of CompNet's weights if cameras of this version do not use them, since
            recognizers need no CompNet to read what earlier cameras send. They are left out of the
            directory, unless other points use them. None: cameras of this version do.
        rounding: id of the readout and the extractor by which cameras choose symbols (see
            `shared.inference.rounding`); None: they take the nearest.
        height: rows of the map.
        width: columns of the map.
    """

    channels: int
    levels: int
    layout: Layout
    widths: tuple[Width, Width, Width, Width]
    face_width: float | None = Field(default=None, gt=0, le=4)
    face_mirrored: bool = True
    spared: int = Field(default=0, ge=0)
    networks: Name | None = None
    compnet: Sha256 | None = None
    rounding: ShortId | None = None
    height: Literal[14] = 14
    width: Literal[12] = 12

    @property
    def sizes(self) -> tuple[object, ...]:
        """The fields that determine the shapes of the networks' weights."""
        return self.channels, self.widths, self.face_width, self.face_mirrored, self.levels

    @property
    def map_format(self) -> MapFormat:
        """The geometry, levels and layout of this codec's maps."""
        return MapFormat(
            channels=self.channels,
            height=self.height,
            width=self.width,
            levels=self.levels,
            layout=self.layout,
            spared=self.spared,
        )

    def described(self) -> dict[str, JsonValue]:
        """The fields that determine the codec id; stable across manifest versions.

        Not one of them are `networks` and `compnet`, which say where files are.
        """
        fields = set(CodecConfig.model_fields) - {"networks", "compnet"}
        config = self.model_dump(mode="json", include=fields)
        later = {"face_width": None, "face_mirrored": True, "spared": 0, "rounding": None}
        return {name: value for name, value in config.items() if value != later.get(name, ...)}


class ReadoutConfig(Record):
    """How the readout of an operating point is used; see `shared.inference.readouts`.

    Attributes:
        share: of the estimate, in the sum with the unit embedding of the picture.
        agreement: smallest cosine similarity of the two. Below it, the map speaks of somebody else
            than its picture, as no camera writes it, and the picture alone counts.
        distortion: what it costs to choose a symbol whose squared distance from CompNet's output
            is greater by 1, in squared errors of the estimate; the distance of two levels is 1.
    """

    share: PositiveFloat
    agreement: Annotated[float, Field(ge=-1, lt=1)]
    distortion: PositiveFloat


class CodecSpec(CodecConfig):
    """An operating point with its codec id (16 hexadecimal digits)."""

    codec_id: ShortId


Scale = Annotated[tuple[tuple[float, float], ...], Field(min_length=2)]
"""(what is measured, quality), both rising: qualities mean the same in all models."""


class LengthConfig(Record):
    """How a recognizer corrects what a quality head says by the length of the embedding.

    Attributes:
        usual: the mean logarithm of the length.
        weight: times the logarithm's distance to `usual`, this is added to what the head says.
        scale: of the sum.
    """

    usual: float
    weight: float = Field(ge=0)
    scale: Scale

    @model_validator(mode="after")
    def _is_consistent(self) -> Self:
        _check_rising(self.scale)
        return self


class CrowdConfig(Record):
    """How thresholds differ between faces that resemble many others, and all others.

    Attributes:
        scale: of what the head says; 1 is a face that resembles more others than most.
        spread: how much more similar strangers are who are both of 1, in cosine.
        eased: (false match rate, cosine): by how much the threshold for this rate is lower, if
            the allowance for such faces is added to it. By falling rates.
    """

    scale: Scale
    spread: NotNegative
    eased: tuple[tuple[Rate, NotNegative], ...]

    @model_validator(mode="after")
    def _is_consistent(self) -> Self:
        _check_rising(self.scale)
        rates = [rate for rate, _ in self.eased]
        if rates != sorted(set(rates), reverse=True):
            raise ValueError("eased is not by falling rates")
        return self


class QualityConfig(Record):
    """A quality head, which reads the maps of a codec's networks (`shared.inference.quality_head`).

    Attributes:
        parts: what can be wrong with a face; the head says of each how far it is spoilt.
        scale: of what the head says.
        spread: by part, how much more similar strangers are who both have it, in cosine.
        poor_spread: how much more similar strangers of quality 0 are.
        resembling: how much more similar strangers are who are of one sex, age and origin than
            strangers at large.
        length: the part of the embedding's length; None in older models, and for extractors whose
            embeddings are all of one length.
        crowd: what the head's last output is for; None in older models, which have none.
    """

    parts: tuple[Name, ...]
    scale: Scale
    spread: tuple[NotNegative, ...]
    poor_spread: NotNegative
    resembling: NotNegative
    length: LengthConfig | None = None
    crowd: CrowdConfig | None = None

    @model_validator(mode="after")
    def _is_consistent(self) -> Self:
        if len(self.parts) != len(self.spread):
            raise ValueError(f"{len(self.parts)} parts have {len(self.spread)} values of spread")
        _check_rising(self.scale)
        return self


def _check_rising(scale: Scale) -> None:
    for column in zip(*scale, strict=True):
        if list(column) != sorted(set(column)):
            raise ValueError("scale does not rise")
