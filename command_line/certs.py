"""`compactface certs`: a certificate authority for development, and its certificates."""

import errno
import ipaddress
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey

app = typer.Typer(
    no_args_is_help=True,
    help="Certificates for development and small installations. Keys are stored unencrypted.",
)

Folder = Annotated[Path, typer.Option("--out", file_okay=False, help="Folder of the files.")]
Days = Annotated[int, typer.Option(min=1, max=3650, help="Validity in days.")]
_FOLDER = Path("certificates")
_MAX_NAME = 64  # X.509's limit for common names


@app.command()
def authority(*, out: Folder = _FOLDER, days: Days = 3650) -> None:
    """Create a certificate authority: ca.pem for all parties, and ca.key, which signs."""
    from cryptography import x509

    out.mkdir(mode=0o700, parents=True, exist_ok=True)
    key = _new_key()
    name = _name("compactface authority")
    certificate = (
        _begin(name, name, key, days)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(signs=True), critical=True)
        .sign(key, _hash())
    )
    _write(out, "ca", key, certificate)


@app.command()
def issue(
    name: Annotated[
        str,
        typer.Argument(help="Name of a service or a camera; the access file maps it to a role."),
    ],
    *,
    host: Annotated[
        list[str],
        typer.Option(help="Host name or address of the service; may be repeated."),
    ] = ["localhost", "127.0.0.1"],  # noqa: B006 - required by Typer
    out: Folder = _FOLDER,
    days: Days = 365,
) -> None:
    """Issue a certificate for a service or a client: NAME.pem and NAME.key."""
    from cryptography import x509
    from cryptography.hazmat.primitives.serialization import load_pem_private_key
    from cryptography.x509.oid import ExtendedKeyUsageOID

    if not name or Path(name).name != name or name.startswith(".") or len(name) > _MAX_NAME:
        raise typer.BadParameter(
            f"{name!r:.80} must be 1 to {_MAX_NAME} characters and a valid file name"
        )
    if name == "ca":
        raise typer.BadParameter("ca is the name of the authority")
    root = x509.load_pem_x509_certificate((out / "ca.pem").read_bytes())
    root_key = load_pem_private_key((out / "ca.key").read_bytes(), None)
    if root.public_key() != root_key.public_key():
        raise typer.BadParameter(f"{out / 'ca.key'} is not the key of {out / 'ca.pem'}")
    key = _new_key()
    certificate = (
        _begin(_name(name), root.subject, key, days)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(signs=False), critical=True)
        .add_extension(
            x509.ExtendedKeyUsage(
                [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
            ),
            critical=False,
        )
        .add_extension(x509.SubjectAlternativeName([*map(_host, host)]), critical=False)
        .sign(root_key, _hash())  # type: ignore[arg-type] # our own key, an elliptic one
    )
    _write(out, name, key, certificate)


def _new_key() -> "EllipticCurvePrivateKey":
    from cryptography.hazmat.primitives.asymmetric import ec

    return ec.generate_private_key(ec.SECP256R1())


def _hash() -> "hashes.SHA256":
    from cryptography.hazmat.primitives import hashes

    return hashes.SHA256()


def _name(text: str) -> "x509.Name":
    from cryptography import x509
    from cryptography.x509.oid import NameOID

    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def _host(text: str) -> "x509.GeneralName":
    from cryptography import x509

    try:
        return x509.IPAddress(ipaddress.ip_address(text))
    except ValueError:
        return x509.DNSName(text)


def _usage(*, signs: bool) -> "x509.KeyUsage":
    from cryptography import x509

    return x509.KeyUsage(
        digital_signature=not signs,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs,
        crl_sign=signs,
        encipher_only=False,
        decipher_only=False,
    )


def _begin(
    subject: "x509.Name", issuer: "x509.Name", key: "EllipticCurvePrivateKey", days: int
) -> "x509.CertificateBuilder":
    from cryptography import x509

    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))  # tolerates clock skew
        .not_valid_after(now + timedelta(days=days))
    )


def _write(
    folder: Path, name: str, key: "EllipticCurvePrivateKey", certificate: "x509.Certificate"
) -> None:
    """Write key and certificate; never overwrites files."""
    from cryptography.hazmat.primitives import serialization

    pem = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    files = (
        (folder / f"{name}.key", pem, 0o600),
        (folder / f"{name}.pem", certificate.public_bytes(serialization.Encoding.PEM), 0o644),
    )
    for path, _, _ in files:  # before the first is written: a key must fit its certificate
        if path.exists():
            raise FileExistsError(errno.EEXIST, "File exists", str(path))
    for path, content, mode in files:
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as file:
            file.write(content)
        typer.echo(path)
