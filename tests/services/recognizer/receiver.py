"""A web server that takes alerts: well, badly, or not at all."""

import base64
import hashlib
import hmac
import json
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

SECRET = "whsec_" + base64.b64encode(bytes(range(32))).decode()


DRIP = -1


@dataclass
class Receiver:
    """What came, and how to answer.

    Attributes:
        port: where it listens.
        status: what it answers with; None: it hangs until `released` is set; `DRIP`: it sends a
            header without an end, a letter at a time.
        got: ids and payloads of all tries, refused or not.
        paths: that were asked for.
        released: ends the hanging.
    """

    port: int = 0
    status: int | None = 204
    got: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    paths: list[str] = field(default_factory=list)
    released: threading.Event = field(default_factory=threading.Event)
    tls: bool = False

    @property
    def url(self) -> str:
        """Where to send alerts."""
        return f"{'https' if self.tls else 'http'}://127.0.0.1:{self.port}/alerts"

    @property
    def events(self) -> list[dict[str, Any]]:
        """The payloads of all tries."""
        return [payload for _, payload in self.got]

    def ids(self) -> list[str]:
        """The event ids of all tries."""
        return [event_id for event_id, _ in self.got]


def verified(headers: Any, body: bytes, secret: str = SECRET) -> dict[str, Any]:
    """The payload, if the signature is right: written after the standard, not after our code."""
    key = base64.b64decode(secret.split("_", 1)[1])
    content = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.{body.decode()}"
    expected = hmac.new(key, content.encode(), hashlib.sha256).digest()
    version, _, signature = headers["webhook-signature"].partition(",")
    assert version == "v1"
    assert base64.b64decode(signature) == expected
    payload: dict[str, Any] = json.loads(body)
    return payload


@contextmanager
def receiving(port: int = 0, context: ssl.SSLContext | None = None) -> Iterator[Receiver]:
    """A receiver on a port of loopback, 0: a free one; with TLS if a context is given."""
    receiver = Receiver(tls=context is not None)

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            receiver.paths.append(self.path)
            receiver.got.append((self.headers["webhook-id"], verified(self.headers, body)))
            if receiver.status is None:
                receiver.released.wait(60)
                return
            if receiver.status == DRIP:
                self.wfile.write(b"HTTP/1.1 200 OK\r\nx-drip: ")
                while not receiver.released.wait(0.05):
                    self.wfile.write(b"x")
                return
            self.send_response(receiver.status)
            self.send_header("location", "/elsewhere")
            self.send_header("content-length", "0")
            self.end_headers()

        def do_GET(self) -> None:
            receiver.paths.append(self.path)
            self.send_error(405)

        def log_message(self, *_: Any) -> None:
            pass

    class Server(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, *_: Any) -> None:
            pass  # callers that hang up

    server = Server(("127.0.0.1", port), Handler)
    if context:
        server.socket = context.wrap_socket(server.socket, server_side=True)
    receiver.port = server.server_address[1]
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield receiver
    finally:
        receiver.released.set()
        server.shutdown()
        thread.join()
        server.server_close()
