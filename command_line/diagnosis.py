"""Diagnose why a call did not reach its service, by connecting again.

gRPC reports a refused connection, a wrong port and every TLS failure with one status code and
internal details. A second connection with the standard library's sockets distinguishes them.
"""

import socket
import ssl
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from compactface.client import Peer, RequestFailed

_WITHIN_S = 3.0
_SERVICES = {
    "encoder": "compactface.v1.EncoderService",
    "recognizer": "compactface.v1.RecognizerService",
}
# The start of an HTTP/2 connection: the preface and an empty SETTINGS frame.
_HTTP2_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\0\0\0\4\0\0\0\0\0"
_HTTP2_SETTINGS = 4  # type of the response's first frame, its fourth byte


def diagnose(failure: "RequestFailed") -> str | None:
    """A one-sentence diagnosis; None if the failure's own message suffices."""
    if failure.peer is None or failure.reason != failure.code:
        return None  # the service itself reported the problem
    if failure.code == "UNIMPLEMENTED":
        return _identify_service(failure.peer)
    if failure.code in {"UNAVAILABLE", "DEADLINE_EXCEEDED"} and not failure.peer.proxy:
        return _connection_problem(failure.peer)
    return None


def _identify_service(peer: "Peer") -> str:
    """The call is unknown to the server: ask its health service which services it has."""
    there = [name for name, service in _SERVICES.items() if _has(peer, service)]
    if not there:
        return f"the server at {peer.target} is not a compactface {peer.service}"
    if peer.service not in there:
        article = "an" if there[0] == "encoder" else "a"
        return f"{peer.target} is {article} {there[0]}; give the address of the {peer.service}"
    return f"the {peer.service} at {peer.target} has a version without this call"


def _has(peer: "Peer", service: str) -> bool:
    import grpc
    from grpc_health.v1 import health_pb2, health_pb2_grpc

    from compactface.client.channel import open_channel

    with open_channel(peer.target, tls=peer.tls, proxy=peer.proxy) as channel:
        request = health_pb2.HealthCheckRequest(service=service)
        try:
            health_pb2_grpc.HealthStub(channel).Check(request, timeout=_WITHIN_S)
        except grpc.RpcError:
            return False
    return True


def _connection_problem(peer: "Peer") -> str | None:
    address = _split(peer.target)
    if address is None:
        return f"{peer.target!r} is not an address; expected HOST:PORT"
    host, port = address
    try:
        with socket.create_connection((host, port), timeout=_WITHIN_S) as connection:
            return _try_tls(peer, host, connection) if peer.tls else _try_plain(peer, host, port)
    except ConnectionRefusedError:
        return f"is the {peer.service} running at {peer.target}? The connection was refused"
    except socket.gaierror:
        return f"host {host!r} not found; is {peer.target} the {peer.service}'s address?"
    except TimeoutError:
        return f"{peer.target} does not answer; is a firewall blocking it?"
    except OSError as error:
        return f"{peer.target} cannot be reached: {error.strerror or error}"


def _split(target: str) -> tuple[str, int] | None:
    """Host and port; None if either is missing."""
    try:
        parts = urlsplit(f"//{target}")
        host, port = parts.hostname, parts.port
    except ValueError:
        return None
    return (host, port) if host and port else None


def _try_tls(peer: "Peer", host: str, connection: socket.socket) -> str | None:
    """Perform the TLS handshake as the client did."""
    assert peer.tls is not None
    context = ssl.create_default_context(cafile=peer.tls.ca)
    context.set_alpn_protocols(["h2"])
    if peer.tls.certificate and peer.tls.key:
        context.load_cert_chain(peer.tls.certificate, peer.tls.key)
    try:
        with context.wrap_socket(connection, server_hostname=host) as secure:
            return _refusal_of_certificate(peer, secure)
    except ssl.SSLCertVerificationError as error:
        return (
            f"the certificate of {peer.target} is not valid for {host} under the roots in "
            f"--ca {peer.tls.ca}: {error.verify_message}"
        )
    except (ssl.SSLError, ConnectionError) as error:
        if _is_alert(error):  # TLS 1.2 checks the client certificate during the handshake
            return _no_certificate_accepted(peer)
        return f"{peer.target} does not use TLS; omit --ca for plain text"


def _refusal_of_certificate(peer: "Peer", secure: ssl.SSLSocket) -> str | None:
    """Detect whether the server rejects our certificate, which TLS 1.3 does after the handshake.

    A server that accepts it sends HTTP/2 SETTINGS at once; otherwise it closes the connection.
    """
    try:
        accepted = bool(secure.recv(1))
    except TimeoutError:
        return None
    except OSError:
        accepted = False
    return None if accepted else _no_certificate_accepted(peer)


def _no_certificate_accepted(peer: "Peer") -> str:
    assert peer.tls is not None
    if peer.tls.certificate is None:
        return f"{peer.target} requires a client certificate: --certificate and --key"
    return f"{peer.target} does not accept --certificate {peer.tls.certificate}"


def _try_plain(peer: "Peer", host: str, port: int) -> str | None:
    if _speaks_tls(host, port):
        return f"{peer.target} uses TLS; give the roots of its certificate with --ca"
    if not _speaks_http2(host, port):
        return (
            f"the server at {peer.target} does not speak gRPC; is it the {peer.service}'s metrics "
            "port?"
        )
    return None


def _speaks_tls(host: str, port: int) -> bool:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.set_alpn_protocols(["h2"])
    try:
        with (
            socket.create_connection((host, port), timeout=_WITHIN_S) as connection,
            context.wrap_socket(connection),
        ):
            return True
    except OSError as error:
        return _is_alert(error)


def _is_alert(error: OSError) -> bool:
    """Whether the peer sent a TLS alert."""
    return isinstance(error, ssl.SSLError) and "ALERT" in (error.reason or "")


def _speaks_http2(host: str, port: int) -> bool:
    try:
        with socket.create_connection((host, port), timeout=_WITHIN_S) as connection:
            connection.sendall(_HTTP2_PREFACE)
            frame = connection.recv(9)
    except OSError:
        return False
    return frame[3:4] == bytes([_HTTP2_SETTINGS])
