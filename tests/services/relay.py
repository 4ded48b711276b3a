"""A TCP relay between a client and a service that counts what the client does."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress


class Relay:
    """Counts.

    Attributes:
        port: where it listens.
        connections: made by clients.
        packets: that came from clients, a lower bound of what they wrote.
        there: bytes from clients to the service.
        back: bytes from the service to clients.
        refusing: whether new connections are closed at once.
    """

    def __init__(self, target_port: int) -> None:
        self.port = 0
        self.connections = 0
        self.packets = 0
        self.there = self.back = 0
        self.refusing = False
        self._target_port = target_port
        self._writers: list[asyncio.StreamWriter] = []

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Relay one connection."""
        self.connections += 1
        if self.refusing:
            writer.close()
            return
        there, back = await asyncio.open_connection("127.0.0.1", self._target_port)
        self._writers += [writer, back]
        await asyncio.gather(self._pump(reader, back, going=True), self._pump(there, writer))

    async def _pump(
        self, source: asyncio.StreamReader, sink: asyncio.StreamWriter, *, going: bool = False
    ) -> None:
        with suppress(ConnectionError):
            while data := await source.read(1 << 16):
                self.packets += going
                self.there += len(data) if going else 0
                self.back += 0 if going else len(data)
                sink.write(data)
        sink.close()

    def close(self) -> None:
        """Cut all connections."""
        for writer in self._writers:
            writer.close()


class Proxy(Relay):
    """An HTTP proxy that knows CONNECT only."""

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer CONNECT, then relay to the target that it names."""
        request = await reader.readuntil(b"\r\n\r\n")
        method, target, _ = request.split(b" ", 2)
        assert method == b"CONNECT"
        self._target_port = int(target.rpartition(b":")[2])
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        await super().serve(reader, writer)


@asynccontextmanager
async def listening(relay: Relay) -> AsyncIterator[Relay]:
    """Let it listen on a free port."""
    server = await asyncio.start_server(relay.serve, "127.0.0.1", 0)
    relay.port = server.sockets[0].getsockname()[1]
    try:
        yield relay
    finally:
        server.close()
        relay.close()
