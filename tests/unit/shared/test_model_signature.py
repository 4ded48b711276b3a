"""A model that must be signed is believed only with the signature of its own manifest."""

import hashlib
import shutil
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)
from typer.testing import CliRunner

from command_line.model import app
from shared.errors import InvalidModel
from shared.model_directory import ModelDirectory
from shared.model_directory.signature import Signer, sign
from tests.keys import signing_keys
from tests.tiny_model import FAMILY


@pytest.fixture
def models(tiny_models: Path, tmp_path: Path) -> Path:
    """A copy, of version 1."""
    shutil.copytree(tiny_models / FAMILY / "1", tmp_path / "models" / FAMILY / "1")
    (tmp_path / "models" / FAMILY / "current").write_text("1\n")
    return tmp_path / "models"


def refused(models: Path, public: Path) -> str:
    with pytest.raises(InvalidModel) as found:
        ModelDirectory.load(models, FAMILY, signer=Signer.read(public))
    return found.value.reason


def test_a_signed_model_is_loaded(models: Path, tmp_path: Path) -> None:
    own, public = signing_keys(tmp_path)
    sign(ModelDirectory.load(models, FAMILY), own)
    signer = Signer.read(public)
    assert ModelDirectory.load(models, FAMILY, signer=signer).signer is signer


def test_a_model_without_a_signature_is_refused(models: Path, tmp_path: Path) -> None:
    _, public = signing_keys(tmp_path)
    assert refused(models, public) == "MODEL_NOT_SIGNED"


def test_a_signature_by_another_key_is_refused(models: Path, tmp_path: Path) -> None:
    own, public = signing_keys(tmp_path)
    _, other = signing_keys(tmp_path, "other")
    sign(ModelDirectory.load(models, FAMILY), own)
    assert refused(models, other) == "MODEL_SIGNATURE_WRONG"
    sign(ModelDirectory.load(models, FAMILY), tmp_path / "other.pem")
    assert refused(models, public) == "MODEL_SIGNATURE_WRONG"


def test_a_manifest_changed_together_with_its_digest_is_refused(
    models: Path, tmp_path: Path
) -> None:
    own, public = signing_keys(tmp_path)
    model = ModelDirectory.load(models, FAMILY)
    sign(model, own)
    manifest = model.path / "manifest.json"
    manifest.write_bytes(manifest.read_bytes() + b" ")
    digest = hashlib.sha256(manifest.read_bytes()).hexdigest()
    (model.path / "manifest.sha256").write_text(f"{digest}  manifest.json\n")
    ModelDirectory.load(models, FAMILY)
    assert refused(models, public) == "MODEL_SIGNATURE_WRONG"


@pytest.mark.parametrize("signature", [b"", b"no base64!", b"AAAA", b"\xff" * 64])
def test_anything_else_is_no_signature(models: Path, tmp_path: Path, signature: bytes) -> None:
    _, public = signing_keys(tmp_path)
    (models / FAMILY / "1" / "manifest.sig").write_bytes(signature)
    assert refused(models, public) == "MODEL_SIGNATURE_WRONG"


def test_only_an_ed25519_key_is_read(models: Path, tmp_path: Path) -> None:
    own, public = signing_keys(tmp_path)
    other = generate_private_key(SECP256R1())
    curve, locked = tmp_path / "curve.pem", tmp_path / "locked.pem"
    curve.write_bytes(other.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    curve_public = other.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    (tmp_path / "curve.pub").write_bytes(curve_public)
    password = BestAvailableEncryption(b"secret")
    locked.write_bytes(
        Ed25519PrivateKey.generate().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, password)
    )
    model = ModelDirectory.load(models, FAMILY)
    for path in (public, curve, locked, tmp_path / "missing"):
        with pytest.raises(
            InvalidModel, match=f"{path.name} is not the PEM file of an Ed25519 pri"
        ):
            sign(model, path)
    for path in (own, tmp_path / "curve.pub", tmp_path / "missing"):
        with pytest.raises(
            InvalidModel, match=f"{path.name} is not the PEM file of an Ed25519 pub"
        ):
            Signer.read(path)
    assert not (model.path / "manifest.sig").exists()


def test_the_program_signs_and_verifies(models: Path, tmp_path: Path) -> None:
    own, public = signing_keys(tmp_path)
    options = ["--models", str(models), "--family", FAMILY]
    signed = CliRunner().invoke(app, ["sign", "--key", str(own), *options], catch_exceptions=False)
    assert "manifest.sig written" in signed.output
    verified = CliRunner().invoke(
        app, ["verify", "--public-key", str(public), *options], catch_exceptions=False
    )
    assert "the signature is right" in verified.output
