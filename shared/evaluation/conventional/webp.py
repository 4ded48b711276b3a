"""WebP, lossy (RFC 9649 and RFC 6386), written by libwebp."""

from shared.evaluation.conventional.codec import Codec, Picture, save

_STEPS = 127


class WebP(Codec):
    """Method 6, the slowest; 4:2:0 chroma, the only one in VP8.

    The settings are spaced about one VP8 quantizer (of 128) apart: libwebp takes the cube root of
    the quality.
    """

    name = "WebP"
    settings = tuple(100 * (step / _STEPS) ** 3 for step in range(_STEPS + 1))

    def encode(self, picture: Picture, setting: float) -> list[bytes]:
        """One file of a single VP8 chunk."""
        return [save(picture, "WEBP", quality=setting, method=6)]

    def payload_bytes(self, file: bytes) -> int:
        """The data of the chunk "VP8 "."""
        return int.from_bytes(file[16:20], "little")
