"""manifest.json: the description of a model directory.

The author of a model writes a `ModelDescription`. `seal` adds what follows from the files
(digests, codec ids, embedding space) and returns a `Manifest`.
"""

import hashlib
import json
from collections.abc import Mapping
from typing import Literal

from pydantic import (
    Field,
    JsonValue,
    model_validator,
)

from shared.calibration import CalibrationTable
from shared.errors import FailedPrecondition
from shared.model_directory.configs import (
    AlignmentTemplate,
    CodecConfig,
    CodecSpec,
    ExtractorConfig,
    InputNormalisation,
    Name,
    OnnxConfig,
    QualityConfig,
    ReadoutConfig,
    Sha256,
    ShortId,
)
from shared.record import Record

UNCOMPRESSED = "uncompressed"
"""The codec id, in calibration tables, of crops that were not compressed."""

COMPNET_FILE, RECNET_FILE, ONNX_FILE = "compnet.safetensors", "recnet.safetensors", "compnet.onnx"
COMPNET_FILES = COMPNET_FILE, ONNX_FILE
QUALITY_FILE = "quality.safetensors"
NUISANCE_FILE = "nuisances.safetensors"
READOUT_FILE = "readouts.safetensors"
CAMERA_EXTRACTOR_FILE = "camera_extractor.onnx"


class ModelDescription(Record):
    """What the author of a model specifies.

    Attributes:
        family: name of the family; models of a family and version share an extractor.
        version: name of the version's folder, e.g. "1".
        extractor: configuration of the extractor.
        nuisances: how many directions are taken off its embeddings, after the mean of faces (see
            `shared.inference.nuisances`); None: its embeddings remain as they are.
        readouts: by operating point, how the embedding that cameras write into its maps is read
            (see `shared.inference.readouts`).
        alignment: template that crops are aligned to.
        normalisation: from pixels to the networks' input.
        codecs: operating points by name. A codec of an earlier version stays decodable if it is
            included under its own name.
        default_point: operating point that an encoder uses by default.
        calibration: one table per pair of codecs; empty before calibration.
        quality: quality heads by the operating point whose networks they read; empty in older
            models and before fitting.
        measured: results of evaluation, informational.
        provenance: training method and data, informational.
    """

    family: Name
    version: Name
    extractor: ExtractorConfig
    nuisances: int | None = Field(default=None, ge=0, le=256)
    readouts: Mapping[Name, ReadoutConfig] = Field(default_factory=dict)
    alignment: AlignmentTemplate
    normalisation: InputNormalisation = InputNormalisation()
    codecs: Mapping[Name, CodecConfig] = Field(min_length=1)
    default_point: Name
    calibration: tuple[CalibrationTable, ...] = ()
    quality: Mapping[Name, QualityConfig] = Field(default_factory=dict)
    measured: dict[str, JsonValue] = Field(default_factory=dict)
    provenance: dict[str, JsonValue] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _is_consistent(self) -> "ModelDescription":
        if self.default_point not in self.codecs:
            points = ", ".join(self.codecs)
            raise ValueError(f"default_point {self.default_point!r} is none of: {points}")
        for codec in self.codecs.values():
            _ = codec.map_format  # raises if no PNG can hold such maps
        for point, codec in self.codecs.items():
            owner = self.codecs.get(codec.networks or point)
            if owner is None or owner.networks or owner.sizes != codec.sizes:
                raise ValueError(
                    f"{point!r} shares the networks of {codec.networks!r}, which is no operating "
                    "point with networks of its own, of the same sizes"
                )
        if self.default_point not in self.encodable:
            raise ValueError(f"default_point {self.default_point!r} has no CompNet")
        for name in self.readouts:
            if name not in self.codecs:
                raise ValueError(f"readouts name {name!r}, which is no operating point")
        for name in self.quality:
            if name not in self.codecs or self.codecs[name].networks:
                raise ValueError(f"quality names {name!r}, which has no networks of its own")
        return self

    @property
    def encodable(self) -> tuple[str, ...]:
        """The operating points for which the directory has what a camera needs.

        Maps of others can be read: CompNet, or the readout by which cameras round, is left out.
        """
        return tuple(
            point
            for point, codec in self.codecs.items()
            if codec.compnet is None
            and self.codecs[self.networks_of(point)].compnet is None
            and (codec.rounding is None or point in self.readouts)
        )

    def networks_of(self, point: str) -> str:
        """The operating point whose folder holds the networks of `point`."""
        return self.codecs[point].networks or point


class Manifest(ModelDescription):
    """A description with what follows from the files.

    Attributes:
        schema_version: version of the file format.
        codecs: operating points with their codec ids.
        embedding_space: 16 hexadecimal digits; only embeddings of equal spaces are comparable.
        files: sha256 of every file by its path in the directory.
    """

    schema_version: Literal[1] = 1
    codecs: Mapping[Name, CodecSpec] = Field(min_length=1)
    embedding_space: ShortId
    files: dict[str, Sha256]

    @property
    def crops_space(self) -> str:
        """The id of what embeddings of uncompressed crops depend on: all but the readouts."""
        return embedding_space(self.model_copy(update={"readouts": {}}), self.files)

    def calibration_for(self, probe_codec: str, enrolled_codec: str) -> CalibrationTable:
        """The calibration table for a pair of codec ids, in either order (cosine is symmetric).

        Raises:
            FailedPrecondition: NOT_CALIBRATED; there is no table for the pair.
        """
        for table in self.calibration:
            if {probe_codec, enrolled_codec} == {table.probe_codec, table.enrolled_codec}:
                return table
        raise FailedPrecondition(
            "NOT_CALIBRATED",
            f"model {self.family}/{self.version} has no calibration for probes of codec "
            f"{probe_codec!r} against enrollments of codec {enrolled_codec!r}",
            metadata={"probe_codec": probe_codec, "enrolled_codec": enrolled_codec},
        )

    def calibration_less_allowance(self, probe_codec: str, enrolled_codec: str) -> CalibrationTable:
        """The calibration table for similarities less what quality heads allow for.

        Raises:
            FailedPrecondition: as `calibration_for`.
        """
        eased = [self._eased(codec_id) for codec_id in (probe_codec, enrolled_codec)]
        table = self.calibration_for(probe_codec, enrolled_codec)
        return max((table.eased(by) for by in eased), key=lambda each: each.rows[-1].similarity)

    def _eased(self, codec_id: str) -> tuple[tuple[float, float], ...]:
        for point, codec in self.codecs.items():
            if codec.codec_id == codec_id:
                head = self.quality.get(self.networks_of(point))
                return head.crowd.eased if head and head.crowd else ()
        return ()


def codec_file(point: str, name: str) -> str:
    """Path of a codec's file in the model directory, with forward slashes."""
    return f"codecs/{point}/{name}"


def expected_files(description: ModelDescription) -> list[str]:
    """The files that a model of this description has besides manifest.json, sorted."""
    owners = {description.networks_of(point) for point in description.codecs}
    codecs = [codec_file(owner, RECNET_FILE) for owner in owners]
    compnets = [
        codec_file(owner, name)
        for owner in owners
        for name in COMPNET_FILES
        if description.codecs[owner].compnet is None
    ]
    heads = [codec_file(owner, QUALITY_FILE) for owner in description.quality]
    corrections = [] if description.nuisances is None else [NUISANCE_FILE]
    if description.readouts:
        corrections += [READOUT_FILE, camera_extractor_file(description)]
    files = {description.extractor.file, *corrections, *codecs, *compnets, *heads}
    return sorted(files)


def camera_extractor_file(description: ModelDescription) -> str:
    """Path of the extractor as cameras run it: an imported one is a file that they can run."""
    config = description.extractor
    return config.file if isinstance(config, OnnxConfig) else CAMERA_EXTRACTOR_FILE


def codec_id(description: ModelDescription, point: str, files: Mapping[str, str]) -> str:
    """The id of an operating point, from its configuration and the digests in `files`.

    It hashes everything that affects a crop's map or what a map is decoded to: CompNet and RecNet
    (as stored), quantizer, rounding, layout, input normalisation and alignment template.
    """
    codec, owner = description.codecs[point], description.networks_of(point)
    return _short_hash(
        compnet=description.codecs[owner].compnet or files[codec_file(owner, COMPNET_FILE)],
        recnet=files[codec_file(owner, RECNET_FILE)],
        codec=codec.described(),
        normalisation=description.normalisation.model_dump(mode="json"),
        alignment=description.alignment.model_dump(mode="json"),
    )


def embedding_space(description: ModelDescription, files: Mapping[str, str]) -> str:
    """The hash of all that an embedding depends on besides the crop.

    It is of the extractor, the nuisances and the readouts (as stored), input normalisation and
    alignment template.
    """
    corrections: dict[str, JsonValue] = {}
    if description.nuisances is not None:
        corrections["nuisances"] = files[NUISANCE_FILE]
    if description.readouts:
        corrections["readouts"] = files[READOUT_FILE]
        corrections["uses"] = {
            point: readout.model_dump(include={"share", "agreement"})
            for point, readout in description.readouts.items()
        }
    return _short_hash(
        **corrections,
        extractor=files[description.extractor.file],
        config=description.extractor.described(),
        normalisation=description.normalisation.model_dump(mode="json"),
        alignment=description.alignment.model_dump(mode="json"),
    )


def _rounding(description: ModelDescription, point: str, files: Mapping[str, str]) -> str | None:
    """The id of what cameras round by at an operating point; None: they take the nearest."""
    if point not in description.readouts:
        return description.codecs[point].rounding  # an earlier version's, or none
    config = description.extractor
    # Of our own extractor, the file tells all.
    shown = {"config": config.described()} if isinstance(config, OnnxConfig) else {}
    return _short_hash(
        **shown,
        distortion=description.readouts[point].distortion,
        readouts=files[READOUT_FILE],
        extractor=files[description.extractor.file],
        nuisances=files.get(NUISANCE_FILE),
    )


def seal(description: ModelDescription, files: Mapping[str, str]) -> Manifest:
    """Complete a description with its files' digests and the ids that follow from them."""
    rounded = {
        point: codec.model_copy(update={"rounding": _rounding(description, point, files)})
        for point, codec in description.codecs.items()
    }
    description = description.model_copy(update={"codecs": rounded})
    own = {name: getattr(description, name) for name in ModelDescription.model_fields}
    codecs = {
        point: CodecSpec(
            **codec.model_dump(include=set(CodecConfig.model_fields)),
            codec_id=codec_id(description, point, files),
        )
        for point, codec in rounded.items()
    }
    space = embedding_space(description, files)
    return Manifest(**{**own, "codecs": codecs, "embedding_space": space, "files": dict(files)})


def _short_hash(**parts: JsonValue) -> str:
    canonical = json.dumps(parts, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()[:16]
