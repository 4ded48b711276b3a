"""Client certificates of open connections, checked against the certificate authorities in force.

gRPC checks a certificate once, at the handshake, and a connection may last for weeks.
"""

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

import structlog
from cryptography import x509
from cryptography.exceptions import InvalidSignature

from shared.errors import Unauthenticated
from shared.serving.interceptor import Context

_MAX_CLIENTS = 4096
_LONGEST_CHAIN = 8

_log = structlog.get_logger(__name__)


class ClientAuthorities:
    """The authorities that may certify clients, reloaded when their file changes."""

    def __init__(self, path: Path) -> None:
        """Use a file of PEM certificates; if it cannot be read, the last ones count."""
        self._path = path
        self._stamp: tuple[int, int, int] | None = None
        self._authorities: Sequence[x509.Certificate] = ()
        self._trusted = lru_cache(_MAX_CLIENTS)(self._is_trusted)

    def check(self, context: Context) -> None:
        """Check that the client's certificate still comes from an authority in force.

        Raises:
            Unauthenticated: it does not (CERTIFICATE_UNTRUSTED).
        """
        shown = context.auth_context()
        chain = [*shown.get("x509_pem_cert", ()), *shown.get("x509_pem_cert_chain", ())]
        self._reload()
        if chain and not self._trusted(b"\n".join(chain)):
            raise Unauthenticated(
                "CERTIFICATE_UNTRUSTED",
                "the authority of this connection's client certificate was removed; connect with "
                "a new certificate",
            )

    def _reload(self) -> None:
        try:
            status = self._path.stat()
            stamp = (status.st_mtime_ns, status.st_ino, status.st_size)
            if stamp == self._stamp:
                return
            self._authorities = x509.load_pem_x509_certificates(self._path.read_bytes())
        except (OSError, ValueError) as error:
            _log.warning("client_authorities_not_reloaded", error=str(error))
            return
        self._stamp = stamp
        self._trusted.cache_clear()

    def _is_trusted(self, pem: bytes) -> bool:
        certificate, *between = x509.load_pem_x509_certificates(pem)
        for _ in range(_LONGEST_CHAIN):
            if any(_issued(authority, certificate) for authority in self._authorities):
                return True
            issuer = next((each for each in between if _issued(each, certificate)), None)
            if issuer is None:
                return False
            certificate = issuer
        return False


def _issued(issuer: x509.Certificate, certificate: x509.Certificate) -> bool:
    try:
        certificate.verify_directly_issued_by(issuer)
    except (ValueError, TypeError, InvalidSignature):
        return False
    return True
