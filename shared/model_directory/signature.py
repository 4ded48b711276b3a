"""Signatures of model directories: Ed25519, over the manifest.

The manifest lists the digests of all files. A digest finds damage; a signature also finds a model
that somebody else put there. It does not say which of several signed versions is to serve.
"""

import base64
import binascii
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key, load_pem_public_key

from shared.errors import InvalidModel
from shared.model_directory.load import MANIFEST_FILE, ModelDirectory

SIGNATURE_FILE = "manifest.sig"
"""64 bytes in base64, beside the manifest."""


@dataclass(frozen=True, slots=True)
class Signer:
    """Who must have signed a model.

    Attributes:
        key: the public key.
    """

    key: Ed25519PublicKey

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read a public key from a PEM file.

        Raises:
            InvalidModel: MODEL_KEY_INVALID; the file cannot be read, or holds another kind of key.
        """
        try:
            key = load_pem_public_key(path.read_bytes())
        except (OSError, ValueError) as error:
            raise _bad_key(path, "public", str(error)) from None
        if not isinstance(key, Ed25519PublicKey):
            raise _bad_key(path, "public", "it is of another kind")
        return cls(key)

    def check(self, folder: Path) -> None:
        """Check that the manifest in a folder is signed.

        Raises:
            InvalidModel: MODEL_NOT_SIGNED; or MODEL_SIGNATURE_WRONG, of another manifest or by
                another key.
        """
        path = folder / SIGNATURE_FILE
        try:
            signature = base64.b64decode(path.read_bytes().strip(), validate=True)
        except FileNotFoundError:
            raise InvalidModel(
                "MODEL_NOT_SIGNED",
                f"{folder} has no {SIGNATURE_FILE}, and models must be signed here; "
                "sign it with `compactface model sign`",
            ) from None
        except (OSError, binascii.Error):
            signature = b""
        try:
            self.key.verify(signature, (folder / MANIFEST_FILE).read_bytes())
        except InvalidSignature:
            raise InvalidModel(
                "MODEL_SIGNATURE_WRONG",
                f"{path} is not the signature of the manifest beside it by the key set here",
            ) from None


def sign(model: ModelDirectory, key: Path) -> None:
    """Write the signature of a verified model, in place of an earlier one.

    Args:
        model: what is signed.
        key: PEM file of a private key, without a password.

    Raises:
        InvalidModel: MODEL_KEY_INVALID.
    """
    try:
        private = load_pem_private_key(key.read_bytes(), password=None)
    except (OSError, ValueError, TypeError) as error:  # TypeError: a password is needed
        raise _bad_key(key, "private", str(error)) from None
    if not isinstance(private, Ed25519PrivateKey):
        raise _bad_key(key, "private", "it is of another kind")
    signature = private.sign((model.path / MANIFEST_FILE).read_bytes())
    partial = model.path / f".{SIGNATURE_FILE}.{os.getpid()}"
    partial.write_bytes(base64.b64encode(signature) + b"\n")
    partial.rename(model.path / SIGNATURE_FILE)


def _bad_key(path: Path, kind: str, why: str) -> InvalidModel:
    return InvalidModel(
        "MODEL_KEY_INVALID", f"{path} is not the PEM file of an Ed25519 {kind} key: {why}"
    )
