"""What an evaluation found, and of which weights."""

import hashlib
from dataclasses import dataclass

from shared.evaluation.pipeline import Embedded
from shared.evaluation.protocol import Pairs, Score, score
from shared.model_directory import (
    COMPNET_FILE,
    EXTRACTOR_FILE,
    ONNX_FILE,
    RECNET_FILE,
    ModelDirectory,
    codec_file,
)


@dataclass(frozen=True, slots=True)
class Result:
    """Verification by one operating point of one model.

    Attributes:
        dataset: what it was measured on.
        model: `<family>/<version>`.
        operating_point: name of the codec.
        codec_id: id of the codec.
        weights_sha256: see `weights_sha256`.
        images: photographs that were encoded.
        pairs: pairs that were compared.
        folds: folds they come in.
        bytes_mean: mean size of the PNG files, one per photograph.
        bytes_max: largest of them.
        uncompressed: score where neither side went through the codec.
        compressed: score where both sides did.
        probe_compressed: score of compressed probes against uncompressed enrolments.
        seconds: wall-clock time of it all.
    """

    dataset: str
    model: str
    operating_point: str
    codec_id: str
    weights_sha256: str
    images: int
    pairs: int
    folds: int
    bytes_mean: float
    bytes_max: int
    uncompressed: Score
    compressed: Score
    probe_compressed: Score
    seconds: float


def score_result(
    model: ModelDirectory,
    point: str | None,
    embedded: Embedded,
    pairs: Pairs,
    *,
    dataset: str,
    seconds: float,
) -> Result:
    """Score pairs of embedded photographs; the arguments are those of `Result`."""
    manifest = model.manifest
    return Result(
        dataset=dataset,
        model=f"{manifest.family}/{manifest.version}",
        operating_point=point or manifest.default_point,
        codec_id=model.codec(point).codec_id,
        weights_sha256=weights_sha256(model, point),
        images=len(embedded.map_bytes),
        pairs=len(pairs.same),
        folds=pairs.folds,
        bytes_mean=float(embedded.map_bytes.mean()),
        bytes_max=int(embedded.map_bytes.max()),
        uncompressed=score(embedded.uncompressed, embedded.uncompressed, pairs),
        compressed=score(embedded.compressed, embedded.compressed, pairs),
        probe_compressed=score(embedded.compressed, embedded.uncompressed, pairs),
        seconds=seconds,
    )


def weights_sha256(model: ModelDirectory, point: str | None) -> str:
    """One digest of the weights behind an operating point (None: the default).

    The sha256 of the four files' hexadecimal digests in a row: extractor, CompNet, RecNet and
    CompNet's ONNX form. Other operating points of the model do not change it.
    """
    codec = point or model.manifest.default_point
    names = [codec_file(codec, name) for name in (COMPNET_FILE, RECNET_FILE, ONNX_FILE)]
    digests = [model.manifest.files[name] for name in (EXTRACTOR_FILE, *names)]
    return hashlib.sha256("".join(digests).encode()).hexdigest()
