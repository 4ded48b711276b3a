"""Load a model directory; every file is verified before use."""

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import ValidationError

from shared.errors import InvalidModel
from shared.model_directory.configs import NAME_PATTERN, CodecSpec
from shared.model_directory.manifest import (
    COMPNET_FILES,
    Manifest,
    camera_extractor_file,
    codec_file,
    expected_files,
    seal,
)

if TYPE_CHECKING:  # training loads models without `cryptography`
    from shared.model_directory.signature import Signer

MANIFEST_FILE = "manifest.json"
DIGEST_FILE = "manifest.sha256"
CURRENT_FILE = "current"
_MODELS_HINT = "name the folder of model families with --models"


@dataclass(frozen=True, slots=True)
class ModelDirectory:
    """One verified version of a model family.

    Attributes:
        path: the version's folder.
        manifest: its manifest, checked against its files.
        signer: who signed it; None if nobody had to.
    """

    path: Path
    manifest: Manifest
    signer: "Signer | None" = None

    @classmethod
    def at(cls, path: Path) -> "ModelDirectory":
        """Load and verify the version in this folder; see `load`."""
        version = path.resolve()
        return cls.load(version.parents[1], version.parent.name, version.name)

    @classmethod
    def load(
        cls,
        models: Path,
        family: str,
        version: str | None = None,
        *,
        signer: "Signer | None" = None,
    ) -> "ModelDirectory":
        """Load and verify `<models>/<family>/<version>`.

        Args:
            models: folder of model families.
            family: name of the family.
            version: name of the version; None takes the version that `current` names.
            signer: who must have signed it; None accepts any model.

        Raises:
            InvalidModel: the directory is missing, incomplete, damaged, inconsistent or not
                signed; the message names the path and the remedy.
        """
        version = version or current_version(models, family)
        _check_name("family", family)
        _check_name("version", version)
        path = models / family / version
        manifest = _read_manifest(path / MANIFEST_FILE)
        if (manifest.family, manifest.version) != (family, version):
            raise InvalidModel(
                "MODEL_MISPLACED",
                f"{path} holds model {manifest.family}/{manifest.version}; "
                "keep it under its own name",
            )
        _check_files(path, manifest)
        _check_ids(path, manifest)
        _check_manifest(path)
        if signer is not None:
            signer.check(path)
        return cls(path=path, manifest=manifest, signer=signer)

    @property
    def extractor_path(self) -> Path:
        """Path of the extractor's file."""
        return self.path / self.manifest.extractor.file

    @property
    def camera_extractor_path(self) -> Path:
        """Path of the extractor as cameras run it, if they round by it."""
        return self.path / camera_extractor_file(self.manifest)

    def codec(self, point: str | None = None) -> CodecSpec:
        """The operating point of that name; None takes the default point.

        Raises:
            InvalidModel: there is no such operating point.
        """
        name = point or self.manifest.default_point
        if name not in self.manifest.codecs:
            points = ", ".join(self.manifest.codecs)
            raise InvalidModel(
                "UNKNOWN_OPERATING_POINT",
                f"{self.path} has no operating point {name!r}; choose one of: {points}",
            )
        return self.manifest.codecs[name]

    def codec_path(self, point: str | None, name: str) -> Path:
        """Path of an operating point's file, e.g. "compnet.onnx"; None takes the default point.

        Raises:
            InvalidModel: there is no such operating point, or cameras cannot use it (DECODE_ONLY).
        """
        self.codec(point)
        point = point or self.manifest.default_point
        if name in COMPNET_FILES and point not in self.manifest.encodable:
            points = ", ".join(self.manifest.encodable)
            raise InvalidModel(
                "DECODE_ONLY",
                f"{self.path} lacks what makes maps of {point!r}: they can be read, not made; "
                f"choose one of: {points}",
            )
        owner = self.manifest.networks_of(point)
        return self.path / codec_file(owner, name)


def current_version(models: Path, family: str) -> str:
    """The version that `<models>/<family>/current` names; cheap to poll.

    Raises:
        InvalidModel: the file is missing or does not hold a valid name.
    """
    _check_name("family", family)
    path = models / family / CURRENT_FILE
    try:
        version = path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidModel(
            "MODEL_MISSING",
            f"{path} cannot be read; {_MODELS_HINT}, or write the name of a version of {family!r} "
            "into that file",
        ) from error
    _check_name(f"version in {path}", version)
    return version


def sha256_of(path: Path) -> str:
    """Hexadecimal sha256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _check_name(what: str, name: str) -> None:
    if not re.fullmatch(NAME_PATTERN, name):
        raise InvalidModel(
            "MODEL_NAME_INVALID",
            f"{what} is {name!r:.80}; expected 1 to 64 characters of a-z, 0-9, '.', '_' and '-', "
            "the first a letter or digit",
        )


def _read_manifest(path: Path) -> Manifest:
    try:
        return Manifest.model_validate_json(path.read_bytes())
    except OSError as error:
        raise InvalidModel(
            "MODEL_MISSING",
            f"{path} cannot be read; {_MODELS_HINT}, or copy the complete model directory there",
        ) from error
    except ValidationError as error:
        problems = "; ".join(
            f"{'.'.join(map(str, problem['loc'])) or 'file'}: {problem['msg']}"
            for problem in error.errors()
        )
        raise InvalidModel(
            "MANIFEST_INVALID",
            f"{path} is not a manifest this version can read ({problems}); "
            "export the model again or use the software it was made for",
        ) from error


def _check_files(path: Path, manifest: Manifest) -> None:
    listed, expected = set(manifest.files), set(expected_files(manifest))
    if listed != expected:
        raise InvalidModel(
            "MANIFEST_INVALID",
            f"{path / MANIFEST_FILE} does not list the files of its codecs: "
            f"missing {sorted(expected - listed)}, unknown {sorted(listed - expected)}; "
            "export the model again",
        )
    for name, digest in sorted(manifest.files.items()):
        file = path / name
        if not file.is_file():
            raise InvalidModel(
                "MODEL_INCOMPLETE", f"{file} is missing; copy the complete model directory again"
            )
        if sha256_of(file) != digest:
            raise InvalidModel(
                "MODEL_DAMAGED",
                f"{file} is not the file of sha256 {digest} that the manifest lists; "
                "copy the complete model directory again",
            )


def manifest_digest(manifest: bytes) -> str:
    """The content of `DIGEST_FILE`, as `sha256sum` writes and checks it."""
    return f"{hashlib.sha256(manifest).hexdigest()}  {MANIFEST_FILE}\n"


def _check_manifest(path: Path) -> None:
    """Detect damage that leaves a readable manifest: thresholds are in it.

    Models written before there was a digest are accepted without it.
    """
    digest = path / DIGEST_FILE
    if not digest.exists():
        return
    if digest.read_bytes() != manifest_digest((path / MANIFEST_FILE).read_bytes()).encode():
        raise InvalidModel(
            "MANIFEST_DAMAGED",
            f"{path / MANIFEST_FILE} does not have the sha256 in {DIGEST_FILE}; copy the complete "
            "model directory again",
        )


def _check_ids(path: Path, manifest: Manifest) -> None:
    sealed = seal(manifest, manifest.files)
    claims = {"embedding_space": (manifest.embedding_space, sealed.embedding_space)}
    for point, codec in manifest.codecs.items():
        claims[f"codecs.{point}.codec_id"] = (codec.codec_id, sealed.codecs[point].codec_id)
    for field, (claimed, actual) in claims.items():
        if claimed != actual:
            raise InvalidModel(
                "MODEL_ID_MISMATCH",
                f"{path / MANIFEST_FILE} claims {field} {claimed}, but its files and "
                f"configuration make it {actual}; export the model again",
            )
