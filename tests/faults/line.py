"""A bad line: delay, jitter, loss, little bandwidth and cuts, as `tc netem` makes them.

Kernels of containers and small devices often lack netem. So the line is a TUN device whose packets
this process carries. It is a mirror: whoever connects to `FAR` reaches what listens on `NEAR`, and
sees it come from `FAR`, since every packet comes back with its two addresses exchanged. Checksums
stay valid, as they are sums. Whatever goes between the two addresses is real TCP of the kernel.
"""

import fcntl
import os
import random
import select
import shutil
import struct
import subprocess
import threading
import time
from collections import deque
from dataclasses import dataclass
from pathlib import Path
from typing import Self

NEAR, FAR = "10.203.77.1", "10.203.77.2"
_DEVICE = Path("/dev/net/tun")
_NAME = "cf-line"
_TUNSETIFF, _IFF_TUN, _IFF_NO_PI = 0x400454CA, 0x0001, 0x1000
_MTU = 1500
_IPV4 = 4
_QUEUE_S = 1.0  # a longer queue of a thin line drops packets


@dataclass(frozen=True, slots=True)
class Weather:
    """How a line is, in each direction.

    Attributes:
        delay_s: of every packet.
        jitter_s: at most this much more; the order stays.
        loss: share of packets that are lost, in [0, 1].
        bytes_per_s: of both directions together; 0: without limit.
    """

    delay_s: float = 0.0
    jitter_s: float = 0.0
    loss: float = 0.0
    bytes_per_s: float = 0.0


GOOD = Weather()
CUT = Weather(loss=1.0)


class Line:
    """The line, while the context is open. It needs /dev/net/tun and the right to use it.

    Attributes:
        weather: replace it at any time.
        carried: packets so far.
        lost: packets so far.
    """

    def __init__(self, chance: random.Random) -> None:
        self.weather = GOOD
        self.carried = 0
        self.lost = 0
        self._chance = chance
        self._free_at = 0.0
        self._last = 0.0
        self._under_way: deque[tuple[float, bytes]] = deque()
        self._closing = threading.Event()

    @staticmethod
    def missing() -> str:
        """Return why this machine cannot have a line; "" if it can."""
        if shutil.which("ip") is None:
            return "the program ip is missing"
        try:
            os.close(_opened(f"cf-{os.getpid()}"))
        except OSError as error:
            return f"{_DEVICE}: {error.strerror}"
        return ""

    def __enter__(self) -> Self:
        """Open the device."""
        self._file = _opened(_NAME)
        for command in (
            f"addr add {NEAR} peer {FAR} dev {_NAME}",
            f"link set {_NAME} up mtu {_MTU}",
        ):
            subprocess.run(["ip", *command.split()], check=True)  # noqa: S607 - Debian's path
        self._thread = threading.Thread(target=self._carry, name="line", daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Close it; connections over it break."""
        self._closing.set()
        self._thread.join()
        os.close(self._file)

    def _carry(self) -> None:
        while not self._closing.is_set():
            wait = self._under_way[0][0] - time.monotonic() if self._under_way else 0.2
            if select.select([self._file], [], [], max(0.0, min(wait, 0.2)))[0]:
                self._take(os.read(self._file, _MTU))
            while self._under_way and self._under_way[0][0] <= time.monotonic():
                os.write(self._file, self._under_way.popleft()[1])

    def _take(self, packet: bytes) -> None:
        if packet[0] >> 4 != _IPV4:
            return
        self.carried += 1
        weather, now = self.weather, time.monotonic()
        start = max(now, self._free_at)
        if self._chance.random() < weather.loss or start > now + _QUEUE_S:
            self.lost += 1
            return
        self._free_at = start
        if weather.bytes_per_s:
            self._free_at += len(packet) / weather.bytes_per_s
        delay = weather.delay_s + weather.jitter_s * self._chance.random()
        self._last = max(self._last, self._free_at + delay)
        mirrored = packet[:12] + packet[16:20] + packet[12:16] + packet[20:]
        self._under_way.append((self._last, mirrored))


def _opened(name: str) -> int:
    file = os.open(_DEVICE, os.O_RDWR)
    try:
        request = struct.pack("16sH", name.encode(), _IFF_TUN | _IFF_NO_PI)
        fcntl.ioctl(file, _TUNSETIFF, request)
    except OSError:
        os.close(file)
        raise
    return file
