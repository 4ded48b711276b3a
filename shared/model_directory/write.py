"""Write a model directory atomically and durably."""

import hashlib
import os
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from pydantic import JsonValue

from shared.calibration import CalibrationTable
from shared.errors import AlreadyExists, InvalidModel
from shared.model_directory.load import (
    CURRENT_FILE,
    DIGEST_FILE,
    MANIFEST_FILE,
    ModelDirectory,
    manifest_digest,
)
from shared.model_directory.manifest import (
    COMPNET_FILE,
    ModelDescription,
    codec_file,
    expected_files,
    seal,
)


def write_model_directory(
    models: Path, *, description: ModelDescription, files: Mapping[str, bytes]
) -> ModelDirectory:
    """Write `<models>/<family>/<version>` atomically and load it.

    Args:
        models: folder of model families; created if missing.
        description: the manifest without what follows from the files.
        files: contents by path in the directory; exactly `expected_files(description)`.

    Raises:
        AlreadyExists: the version exists; versions are never overwritten.
        InvalidModel: `files` has a missing or an extra file.
    """
    target = models / description.family / description.version
    if target.exists():
        raise AlreadyExists(
            "MODEL_VERSION_EXISTS", f"{target} exists; choose a new version or remove it"
        )
    expected = expected_files(description)
    if sorted(files) != expected:
        raise InvalidModel(
            "MODEL_INCOMPLETE", f"a model with these codecs has the files {expected}, no others"
        )
    digests = {name: hashlib.sha256(content).hexdigest() for name, content in files.items()}
    manifest = (seal(description, digests).model_dump_json(indent=1) + "\n").encode()
    written = {
        **files,
        MANIFEST_FILE: manifest,
        DIGEST_FILE: manifest_digest(manifest).encode(),
    }

    target.parent.mkdir(parents=True, exist_ok=True)
    partial = Path(tempfile.mkdtemp(prefix=f".{description.version}.", dir=target.parent))
    try:
        partial.chmod(0o755)  # mkdtemp's folders are private; services run as another user
        for name, content in written.items():
            _write_durably(partial / name, content)
        partial.rename(target)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise
    _sync(target.parent)
    return ModelDirectory.load(models, description.family, description.version)


def publish_results(
    model: ModelDirectory,
    models: Path,
    *,
    calibration: Sequence[CalibrationTable],
    measured: Mapping[str, JsonValue],
) -> ModelDirectory:
    """Write a model with its evaluation results into another folder of families.

    Calibration is measured on the stored weights, so a model is written twice: first without
    calibration, to a scratch folder. The files, codec ids and embedding space do not change.

    Raises:
        AlreadyExists: the version exists; versions are never overwritten.
    """
    results = {"calibration": tuple(calibration), "measured": dict(measured)}
    files = {name: (model.path / name).read_bytes() for name in model.manifest.files}
    description = model.manifest.model_copy(update=results)
    return write_model_directory(models, description=description, files=files)


def without_carried_compnets(
    model: ModelDirectory, models: Path, *, version: str
) -> ModelDirectory:
    """Write a model once more, without the CompNets of codecs carried from earlier versions.

    Recognizers still read their maps. Cameras that make them have the earlier version. Codec ids,
    thresholds and embedding space stay.

    Args:
        model: codecs that share networks with its default point keep their CompNet.
        models: folder of model families to write into.
        version: name of the new version.

    Raises:
        AlreadyExists: the version exists; versions are never overwritten.
    """
    manifest = model.manifest
    own = manifest.networks_of(manifest.default_point)
    codecs = {
        point: codec
        if point == own or codec.networks or codec.compnet
        else codec.model_copy(update={"compnet": manifest.files[codec_file(point, COMPNET_FILE)]})
        for point, codec in manifest.codecs.items()
    }
    description = manifest.model_copy(update={"version": version, "codecs": codecs})
    files = {name: (model.path / name).read_bytes() for name in expected_files(description)}
    return write_model_directory(models, description=description, files=files)


def set_current(models: Path, family: str, version: str) -> None:
    """Verify a version and make it current.

    Raises:
        InvalidModel: the version cannot be loaded; `current` is unchanged.
    """
    model = ModelDirectory.load(models, family, version)
    folder = model.path.parent
    partial = folder / f".{CURRENT_FILE}.{os.getpid()}"
    _write_durably(partial, f"{version}\n".encode())
    partial.rename(folder / CURRENT_FILE)
    _sync(folder)


def _write_durably(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    _sync(path.parent)


def _sync(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
