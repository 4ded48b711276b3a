"""Digests of the weights behind a figure."""

import hashlib

from shared.model_directory import (
    CAMERA_EXTRACTOR_FILE,
    COMPNET_FILE,
    NUISANCE_FILE,
    ONNX_FILE,
    READOUT_FILE,
    RECNET_FILE,
    ModelDirectory,
    codec_file,
)


def model_name(model: ModelDirectory) -> str:
    """`<family>/<version>`."""
    return f"{model.manifest.family}/{model.manifest.version}"


def weights_sha256(model: ModelDirectory, point: str | None) -> str:
    """The digest of the weights of an operating point (None: the default).

    It is the sha256 of the concatenated hexadecimal digests of the files that the model has of
    these: extractor, CompNet, RecNet, CompNet's ONNX form, what is taken off embeddings, what maps
    add to them, and the extractor's form for cameras.
    Points with shared networks have equal digests.
    """
    manifest, files = model.manifest, model.manifest.files
    codec = manifest.networks_of(point or manifest.default_point)
    names = [
        manifest.extractor.file,
        *(codec_file(codec, name) for name in (COMPNET_FILE, RECNET_FILE, ONNX_FILE)),
        NUISANCE_FILE,
        READOUT_FILE,
        CAMERA_EXTRACTOR_FILE,
    ]
    digests = [files[name] for name in names if name in files]
    return hashlib.sha256("".join(digests).encode()).hexdigest()
