"""Certificates for the tests of TLS."""

import subprocess
from pathlib import Path


def openssl(*arguments: str | Path) -> None:
    subprocess.run(["openssl", *map(str, arguments)], check=True, capture_output=True)  # noqa: S607


class Authority:
    """A certificate authority in a folder."""

    def __init__(self, folder: Path, name: str, *, days: int = 2) -> None:
        self.folder, self.name = folder, name
        self.certificate = folder / f"{name}.crt"
        self._key = folder / f"{name}.key"
        self._request(self._key, self.certificate, name, "-x509", "-days", str(days))

    def issue(self, name: str) -> tuple[Path, Path]:
        """Certificate and key for localhost."""
        certificate, key = self.folder / f"{name}.crt", self.folder / f"{name}.key"
        request, extension = self.folder / f"{name}.csr", self.folder / f"{name}.ext"
        self._request(key, request, name)
        extension.write_text("subjectAltName=DNS:localhost,IP:127.0.0.1\n")
        signing = ["-CA", self.certificate, "-CAkey", self._key, "-CAcreateserial", "-days", "2"]
        openssl(
            *["x509", "-req", "-in", request, "-out", certificate, "-extfile", extension], *signing
        )
        return certificate, key

    @staticmethod
    def _request(key: Path, out: Path, name: str, *more: str) -> None:
        curve = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
        openssl("req", *curve, "-keyout", key, "-out", out, "-subj", f"/CN={name}", *more)
