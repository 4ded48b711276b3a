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

    It is the sha256 of the concatenated hexadecimal digests of four files: extractor, CompNet,
    RecNet and CompNet's ONNX form; and of those that hold what is taken off embeddings, what maps
    add to them and the extractor's form for cameras, if there are such files.
    Points with shared networks have equal digests.
    """
    codec = model.manifest.networks_of(point or model.manifest.default_point)
    names = [codec_file(codec, name) for name in (COMPNET_FILE, RECNET_FILE, ONNX_FILE)]
    if model.manifest.nuisances is not None:
        names.append(NUISANCE_FILE)
    if model.manifest.readouts:
        names += [READOUT_FILE, CAMERA_EXTRACTOR_FILE]
    digests = [model.manifest.files[name] for name in (model.manifest.extractor.file, *names)]
    return hashlib.sha256("".join(digests).encode()).hexdigest()
