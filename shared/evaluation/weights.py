"""Which weights a figure belongs to."""

import hashlib

from shared.model_directory import (
    COMPNET_FILE,
    ONNX_FILE,
    RECNET_FILE,
    ModelDirectory,
    codec_file,
)


def model_name(model: ModelDirectory) -> str:
    """`<family>/<version>`."""
    return f"{model.manifest.family}/{model.manifest.version}"


def weights_sha256(model: ModelDirectory, point: str | None) -> str:
    """One digest of the weights behind an operating point (None: the default).

    The sha256 of the four files' hexadecimal digests in a row: extractor, CompNet, RecNet and
    CompNet's ONNX form. Points that share networks have one digest; their codec ids differ.
    """
    codec = model.manifest.networks_of(point or model.manifest.default_point)
    names = [codec_file(codec, name) for name in (COMPNET_FILE, RECNET_FILE, ONNX_FILE)]
    digests = [model.manifest.files[name] for name in (model.manifest.extractor.file, *names)]
    return hashlib.sha256("".join(digests).encode()).hexdigest()
