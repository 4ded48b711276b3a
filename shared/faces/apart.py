"""Decoding in a process of its own, whose memory the system limits.

An AVIF file states its size twice, and the decoder allocates by the one that Pillow does not
show: only the system can hold it to a budget.
"""

import io
import os
import subprocess
import sys

import numpy as np
from numpy.typing import NDArray

from shared.faces.pixels import reduced, rgb_of_image

_OWN_MEMORY = 96 * 1024 * 1024
"""What the interpreter and its libraries take before a picture is seen."""
_TIMEOUT_S = 60


def decode_avif_apart(
    data: bytes, size: tuple[int, int], reduction: int, max_memory: int
) -> NDArray[np.uint8] | None:
    """The first picture of an AVIF file.

    Args:
        data: the file.
        size: width and height as its header claims.
        reduction: decode to 1/`reduction` of them.
        max_memory: bytes that decoding may take.

    Returns:
        (H, W, 3) uint8 RGB; None: damaged, another size than it claims, or beyond the limit.
    """
    command = "from shared.faces.apart import main; main()"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    width, height = (reduced(side, reduction) for side in size)
    try:
        done = subprocess.run(  # noqa: S603 - our own code
            [sys.executable, "-c", command, str(reduction), str(max_memory)],
            input=data,
            capture_output=True,
            env=environment,
            timeout=_TIMEOUT_S,
            check=True,
        )
    except (subprocess.CalledProcessError, subprocess.TimeoutExpired):
        return None
    if len(done.stdout) != width * height * 3:
        return None
    return np.frombuffer(done.stdout, np.uint8).reshape(height, width, 3)


def main() -> None:
    """Read a file from the standard input and write its pixels to the standard output."""
    import resource  # noqa: PLC0415 - of POSIX alone, and only the process apart needs it

    from PIL import AvifImagePlugin, Image  # noqa: PLC0415 - as here: the parent has its own

    reduction, max_memory = map(int, sys.argv[1:])
    Image.MAX_IMAGE_PIXELS = None
    AvifImagePlugin.DEFAULT_MAX_THREADS = 1  # each would have a stack and frames of its own
    limit = max_memory + _OWN_MEMORY
    resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))
    with Image.open(io.BytesIO(sys.stdin.buffer.read()), formats=["AVIF"]) as image:
        image.load()
        sys.stdout.buffer.write(rgb_of_image(image, reduction).data)
