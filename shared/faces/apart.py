"""Decode in a subprocess whose memory the operating system limits.

An AVIF file states its size twice, and the decoder allocates by the one that Pillow does not
expose. Only the operating system can enforce a memory limit.
"""

import io
import os
import subprocess
import sys

import numpy as np
from numpy.typing import NDArray

from shared.faces.pixels import reduced, rgb_of_image

_OWN_MEMORY = 96 * 1024 * 1024
"""Memory of the interpreter and its libraries before decoding, in bytes."""
_TIMEOUT_S = 60


def decode_avif_apart(
    data: bytes, size: tuple[int, int], reduction: int, max_memory: int
) -> NDArray[np.uint8] | None:
    """Decode the first picture of an AVIF file.

    Args:
        data: the file.
        size: width and height that its header claims.
        reduction: decode at 1/`reduction` of the size.
        max_memory: memory limit for decoding, in bytes.

    Returns:
        (H, W, 3) uint8 RGB; None if the file is damaged, has another size, or needs more memory.
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
    """Read a file from standard input and write its pixels to standard output."""
    import resource  # noqa: PLC0415 - POSIX only, and only needed in the subprocess

    from PIL import AvifImagePlugin, Image  # noqa: PLC0415 - only needed in the subprocess

    reduction, max_memory = map(int, sys.argv[1:])
    Image.MAX_IMAGE_PIXELS = None
    AvifImagePlugin.DEFAULT_MAX_THREADS = 1  # each thread has its own stack and frames
    limit = max_memory + _OWN_MEMORY
    resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))
    with Image.open(io.BytesIO(sys.stdin.buffer.read()), formats=["AVIF"]) as image:
        image.load()
        sys.stdout.buffer.write(rgb_of_image(image, reduction).data)
