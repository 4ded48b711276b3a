"""Decoding in a process of its own, whose memory and time the system limits.

Some files state their size twice, and the decoder allocates by the one that Pillow does not show;
others keep a decoder busy for seconds, and a thread cannot be stopped. A process can, and what it
took is given back.
"""

import json
import os
import signal
import struct
import subprocess
import sys

import numpy as np
from numpy.typing import NDArray

from shared.errors import InvalidImage

_OWN_MEMORY = 72 * 1024 * 1024
"""What the interpreter and its libraries take before a picture is seen."""
_SIZE = struct.Struct("<II")
_REFUSED = 3


def decode_apart(
    data: bytes,
    *,
    max_pixels: int,
    max_memory: int,
    max_seconds: float,
    patience_s: float | None,
) -> tuple[NDArray[np.uint8], int] | None:
    """What `picture.decode_here` makes of a file.

    Args:
        data: the file.
        max_pixels: more would not be a picture of the size that its header claims.
        max_memory: bytes that decoding may take.
        max_seconds: time of a core that decoding may take.
        patience_s: time on the clock after which nobody waits for it any more; None: for ever.

    Returns:
        (H, W, 3) uint8 RGB and its reduction; None: damaged, of more pixels than it may have, or
        beyond the limit of memory.

    Raises:
        InvalidImage: DECODING_TOO_SLOW, or as `decode_here`.
    """
    command = "from shared.faces.apart import main; main()"
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
        "OPENBLAS_NUM_THREADS": "1",  # each would have memory of its own
        "OMP_NUM_THREADS": "1",
    }
    memory = max_memory + _OWN_MEMORY
    try:
        done = subprocess.run(  # noqa: S603 - our own code
            [sys.executable, "-c", command, str(memory), str(max_seconds)],
            input=data,
            capture_output=True,
            env=environment,
            timeout=patience_s,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise _too_slow(data, f"{patience_s:.3g} s") from None
    if done.returncode == -signal.SIGPROF:
        raise _too_slow(data, f"{max_seconds:g} s of a core")
    if done.returncode == _REFUSED:
        raise InvalidImage(*json.loads(done.stdout))
    if done.returncode or len(done.stdout) < _SIZE.size:
        return None
    return _picture(done.stdout, max_pixels)


def _too_slow(data: bytes, limit: str) -> InvalidImage:
    return InvalidImage(
        "DECODING_TOO_SLOW", f"picture of {len(data)} bytes was not decoded within {limit}"
    )


def _picture(output: bytes, max_pixels: int) -> tuple[NDArray[np.uint8], int] | None:
    sides, reduction = _SIZE.unpack_from(output), output[_SIZE.size]
    pixels = np.frombuffer(output, np.uint8, offset=_SIZE.size + 1)
    if not 0 < sides[0] * sides[1] <= max_pixels or pixels.size != 3 * sides[0] * sides[1]:
        return None
    return pixels.reshape(*sides, 3), reduction


def main() -> None:
    """Read a file from standard input and write its pixels to standard output."""
    import resource  # noqa: PLC0415 - POSIX only, and only needed in the subprocess

    from PIL import AvifImagePlugin  # noqa: PLC0415 - as here: the parent has its own

    from shared.faces.picture import decode_here  # noqa: PLC0415 - it imports this module

    memory, max_seconds = int(sys.argv[1]), float(sys.argv[2])
    AvifImagePlugin.DEFAULT_MAX_THREADS = 1  # each would have a stack and frames of its own
    resource.setrlimit(resource.RLIMIT_DATA, (memory, memory))
    # Counts the time of a core, as RLIMIT_CPU does, but not in whole seconds; nothing handles it.
    signal.setitimer(signal.ITIMER_PROF, max_seconds)
    try:
        picture, reduction = decode_here(sys.stdin.buffer.read())
    except InvalidImage as error:
        sys.stdout.write(json.dumps([error.reason, error.message]))
        sys.stdout.flush()
        sys.exit(_REFUSED)
    sys.stdout.buffer.write(_SIZE.pack(*picture.shape[:2]) + bytes([reduction]))
    sys.stdout.buffer.write(picture.data)
