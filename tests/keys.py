"""Keys that sign models."""

from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)


def signing_keys(folder: Path, name: str = "key") -> tuple[Path, Path]:
    """Files of a private key and its public one."""
    private = Ed25519PrivateKey.generate()
    own, public = folder / f"{name}.pem", folder / f"{name}.pub"
    own.write_bytes(private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    public.write_bytes(
        private.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    )
    return own, public
