"""TLS and mutual TLS with certificates that are read again from disk when they change."""

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
    """Credentials that follow the files on disk; None where no certificate is configured.

    Raises:
        SettingsError: a file cannot be read, or certificate and key do not belong together.
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
        files.changed,  # type: ignore[arg-type] # None keeps the present ones; the stub forgets it
        require_client_authentication=settings.mutual_tls,
    )


class HttpsFiles:
    """TLS for an HTTP server, with certificates that are read again when they change."""

    def __init__(self, certificate: Path, key: Path) -> None:
        """Read the files.

        Raises:
            SettingsError: one cannot be read, or they do not belong together.
        """
        self._files = _CertificateFiles(certificate, key, None)
        try:
            self.context = self._files.context()
        except (OSError, ssl.SSLError) as error:
            raise SettingsError([f"TLS files {self._files.names}: {error}"]) from None

    def renew(self) -> None:
        """Let `context` show the files as they are now, in handshakes that begin from now on."""
        with suppress(OSError, ssl.SSLError):  # in the middle of a rotation the old ones serve
            if self._files.stale:
                self._files.context()  # files that do not fit each other must not get in
                self._files.load_into(self.context)

    def wrap(self, connection: socket.socket) -> ssl.SSLSocket:
        """An accepted connection with TLS; the handshake comes with the first read."""
        self.renew()
        return self.context.wrap_socket(connection, server_side=True, do_handshake_on_connect=False)


class _CertificateFiles:
    """The PEM files of one server and when they last changed."""

    def __init__(self, certificate: Path, key: Path, client_ca: Path | None) -> None:
        self._certificate, self._key, self._client_ca = certificate, key, client_ca
        self._seen: _Stamp = ()

    @property
    def names(self) -> str:
        return ", ".join(map(str, self._paths()))

    def read(self) -> grpc.ServerCertificateConfiguration:
        """Read all files, checked: gRPC itself would only fail later, in each handshake."""
        stamp = self._stamp()
        self.context()
        configuration = grpc.ssl_server_certificate_configuration(
            [(self._key.read_bytes(), self._certificate.read_bytes())],
            root_certificates=self._client_ca.read_bytes() if self._client_ca else None,
        )
        self._seen = stamp
        return configuration

    def context(self) -> ssl.SSLContext:
        """A context of the standard library with the same files, as they are now."""
        stamp = self._stamp()
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.load_into(context)
        if self._client_ca:
            context.load_verify_locations(self._client_ca)
        self._seen = stamp
        return context

    def load_into(self, context: ssl.SSLContext) -> None:
        """Let a context show the certificate from now on."""
        context.load_cert_chain(self._certificate, self._key)

    @property
    def stale(self) -> bool:
        """Whether the files changed since they were read."""
        return self._stamp() != self._seen

    def changed(self) -> grpc.ServerCertificateConfiguration | None:
        """Asked at every handshake: new certificates, or None to keep the present ones.

        Files caught in the middle of a rotation do not fit each other; they are tried again at
        the next handshake.
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
