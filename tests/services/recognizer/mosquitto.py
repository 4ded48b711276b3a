"""A real broker, mosquitto, and somebody who listens to it."""

import asyncio
import json
import shutil
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from paho.mqtt.client import Client
from paho.mqtt.enums import CallbackAPIVersion

from tests.services.hosting import until

PROGRAM = shutil.which("mosquitto", path="/usr/sbin:/usr/local/sbin") or shutil.which("mosquitto")

needs_mosquitto = pytest.mark.skipif(
    PROGRAM is None, reason="mosquitto is not installed (Debian's package of that name)"
)

USER, PASSWORD = "compactface", "pass word"


@asynccontextmanager
async def broker(
    folder: Path, port: int, *, certificate: Path | None = None, key: Path | None = None
) -> AsyncIterator[None]:
    """A broker on loopback, for `USER` alone; with TLS if a certificate is given."""
    assert PROGRAM is not None
    passwords = folder / "passwords"
    tool = shutil.which("mosquitto_passwd", path=str(Path(PROGRAM).parent.parent / "bin"))
    tool = tool or shutil.which("mosquitto_passwd")
    assert tool is not None
    subprocess.run([tool, "-c", "-b", passwords, USER, PASSWORD], check=True)  # noqa: ASYNC221
    lines = [
        "user root",  # does not change to another one, who could not read the files
        f"listener {port} 127.0.0.1",
        f"password_file {passwords}",
        "allow_anonymous false",
    ]
    if certificate:
        lines += [f"certfile {certificate}", f"keyfile {key}"]
    config = folder / "mosquitto.conf"
    config.write_text("\n".join(lines) + "\n")
    child = await asyncio.create_subprocess_exec(
        PROGRAM, "-c", str(config), stderr=asyncio.subprocess.DEVNULL
    )
    try:
        yield
    finally:
        child.terminate()
        await child.wait()


class Listener:
    """Hears everything that is published.

    Attributes:
        heard: topics and payloads, None for empty ones.
    """

    def __init__(self) -> None:
        self.heard: list[tuple[str, Any]] = []

    def on(self, prefix: str) -> list[Any]:
        """The payloads on topics that begin so."""
        return [payload for topic, payload in self.heard if topic.startswith(prefix)]


@asynccontextmanager
async def listening(port: int, *, ca: Path | None = None) -> AsyncIterator[Listener]:
    """Listen to a broker on loopback."""
    listener = Listener()
    subscribed: list[bool] = []
    client = Client(CallbackAPIVersion.VERSION2)
    client.username_pw_set(USER, PASSWORD)
    if ca:
        client.tls_set(str(ca))
    client.reconnect_delay_set(1, 1)
    client.on_connect = lambda *_: client.subscribe("#", qos=1)
    client.on_subscribe = lambda *_: subscribed.append(True)
    client.on_message = lambda _client, _data, message: listener.heard.append(
        (message.topic, json.loads(message.payload) if message.payload else None)
    )
    client.connect_async("127.0.0.1", port)
    client.loop_start()
    try:
        await until(lambda: bool(subscribed))
        yield listener
    finally:
        client.disconnect()
        await asyncio.to_thread(client.loop_stop)
