"""Names of cameras: an encoder's own names, which its caller's authenticated name precedes."""

import re

from shared.errors import InvalidInput

MAX_CAMERA_CHARACTERS = 64
_NAME = re.compile(rf"[A-Za-z0-9._-]{{0,{MAX_CAMERA_CHARACTERS}}}")
_ANONYMOUS = "anonymous"
_MAX_ID_CHARACTERS = 128


def check_camera(name: str, *, field: str) -> None:
    """Check an encoder's name for a camera; "" is valid.

    Raises:
        InvalidInput: INVALID_CAMERA, in `field`.
    """
    if not _NAME.fullmatch(name):
        raise InvalidInput(
            "INVALID_CAMERA",
            f"camera is {name!r:.80}; at most {MAX_CAMERA_CHARACTERS} letters, digits, '.', '_' "
            "and '-' are accepted",
            field=field,
        )


def camera_id(caller: str, camera: str) -> str:
    """Name a camera for all encoders: "caller/camera", 1 to 128 characters.

    An encoder can name only cameras of its own, since `camera` contains no slash.

    Args:
        caller: name from the encoder's token or certificate; "" without authentication.
        camera: the encoder's name for the camera, checked; "": it has one camera.
    """
    if not (caller and camera):
        return caller or camera or _ANONYMOUS
    return f"{caller[: _MAX_ID_CHARACTERS - 1 - len(camera)]}/{camera}"


def encoder_of(camera: str) -> str:
    """The part of a camera id that names the encoder; "": none."""
    return camera.rpartition("/")[0]
