"""TLS and mutual TLS with certificates that are reloaded from disk when they change."""

import socket
import ssl
from contextlib import suppress
from pathlib import Path
from typing import TypeAlias

import grpc
import structlog

from shared.serving.settings import ServiceSettings
from shared.serving.settings_loader import SettingsError

_log = structlog.get_logger(__name__)
_Stamp: TypeAlias = tuple[tuple[int, int], ...]


def server_credentials(settings: ServiceSettings) -> grpc.ServerCredentials | None:
    """Credentials that follow the files on disk; None if no certificate is configured.

    Raises:
        SettingsError: a file is unreadable, or certificate and key do not match.
    """
    if settings.tls_certificate is None or settings.tls_key is None:
        return None
    files = _CertificateFiles(settings.tls_certificate, settings.tls_key, settings.tls_client_ca)
    try:
        initial = files.read()
    except (OSError, ssl.SSLError) as error:
        raise SettingsError([f"TLS files {files.names}: {error}"]) from None
    return grpc.dynamic_ssl_server_credentials(
        initial,
        files.changed,  # type: ignore[arg-type] # the stub lacks None, which keeps the current ones
        require_client_authentication=settings.mutual_tls,
    )


def https_files(certificate: Path | None, key: Path | None) -> "HttpsFiles | None":
    """Return TLS for an HTTP server; None without files. Raises as `HttpsFiles`."""
    return HttpsFiles(certificate, key) if certificate and key else None


class HttpsFiles:
    """TLS for an HTTP server, with certificates that are reloaded when they change."""

    def __init__(self, certificate: Path, key: Path) -> None:
        """Read the files.

        Raises:
            SettingsError: a file is unreadable, or they do not match.
        """
        self._files = _CertificateFiles(certificate, key, None)
        try:
            self.context = self._files.context()
        except (OSError, ssl.SSLError) as error:
            raise SettingsError([f"TLS files {self._files.names}: {error}"]) from None

    def renew(self) -> None:
        """Reload changed files into `context`, for subsequent handshakes."""
        with suppress(OSError, ssl.SSLError):  # during a rotation the old ones remain in use
            if self._files.stale:
                self._files.context()  # mismatched files must not be loaded
                self._files.load_into(self.context)

    def wrap(self, connection: socket.socket) -> ssl.SSLSocket:
        """Wrap an accepted connection in TLS; the first read performs the handshake."""
        self.renew()
        return self.context.wrap_socket(connection, server_side=True, do_handshake_on_connect=False)


class _CertificateFiles:
    """The PEM files of a server and their modification times."""

    def __init__(self, certificate: Path, key: Path, client_ca: Path | None) -> None:
        self._certificate, self._key, self._client_ca = certificate, key, client_ca
        self._seen: _Stamp = ()

    @property
    def names(self) -> str:
        return ", ".join(map(str, self._paths()))

    def read(self) -> grpc.ServerCertificateConfiguration:
        """Read and validate all files: gRPC itself would only fail later, in each handshake."""
        stamp = self._stamp()
        self.context()
        configuration = grpc.ssl_server_certificate_configuration(
            [(self._key.read_bytes(), self._certificate.read_bytes())],
            root_certificates=self._client_ca.read_bytes() if self._client_ca else None,
        )
        self._seen = stamp
        return configuration

    def context(self) -> ssl.SSLContext:
        """Create a standard-library context from the current files."""
        stamp = self._stamp()
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.load_into(context)
        if self._client_ca:
            context.load_verify_locations(self._client_ca)
        self._seen = stamp
        return context

    def load_into(self, context: ssl.SSLContext) -> None:
        """Load the certificate into a context."""
        context.load_cert_chain(self._certificate, self._key)

    @property
    def stale(self) -> bool:
        """Whether the files changed since they were read."""
        return self._stamp() != self._seen

    def changed(self) -> grpc.ServerCertificateConfiguration | None:
        """Return changed certificates, or None to keep the current ones; called at every handshake.

        During a rotation the files may not match; the next handshake retries.
        """
        try:
            return self.read() if self.stale else None
        except (OSError, ssl.SSLError) as error:
            _log.warning("certificates not reloaded", files=self.names, error=str(error))
            return None

    def _paths(self) -> list[Path]:
        return [path for path in (self._certificate, self._key, self._client_ca) if path]

    def _stamp(self) -> _Stamp:
        stats = [path.stat() for path in self._paths()]
        return tuple((stat.st_mtime_ns, stat.st_ino) for stat in stats)
