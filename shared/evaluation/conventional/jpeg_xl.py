"""JPEG XL (ISO/IEC 18181), written by libjxl: the bare codestream."""

from shared.evaluation.conventional.codec import Codec, Picture, save

_SIGNATURE_BYTES = 2


class JpegXl(Codec):
    """Effort 7 of 10; the setting is libjxl's quality, 0 (distance 25) to 100 in half steps.

    Effort 9 takes six times as long without better embeddings at equal size. Needs the extra
    `evaluate`.
    """

    name = "JPEG XL"
    settings = tuple(step / 2 for step in range(201))

    def encode(self, picture: Picture, setting: float) -> list[bytes]:
        """One codestream."""
        _register()
        return [save(picture, "JXL", quality=setting, effort=7, num_threads=1)]

    def decode(self, file: bytes) -> Picture:
        """Decode a file that `encode` has made."""
        _register()
        return super().decode(file)

    def payload_bytes(self, file: bytes) -> int:
        """All bytes but the two-byte signature."""
        return len(file) - _SIGNATURE_BYTES


def _register() -> None:
    # Imported here, so that the other codecs work without the extra.
    import pillow_jxl  # noqa: F401, PLC0415 - registers the format with Pillow
