"""AVIF (AV1 Image File Format 1.1), written by libavif and libaom."""

from shared.evaluation.conventional.codec import Codec, Picture, save

_STEPS = 63
_BOX_HEADER_BYTES = 8


class Avif(Codec):
    """Speed 4 of 10, tuned for structural similarity, chroma 4:2:0.

    Measured on crops at 347 bytes of payload, by what a face network makes of the pictures: speed
    3 takes twice as long for nothing, speed 6 loses, and so do libaom's other tunings (its own
    choice and squared error) and full chroma. The knob is spread so that its steps are one of
    libavif's 64 quantizers each.
    """

    name = "AVIF"
    settings = tuple(round(100 * step / _STEPS) for step in range(_STEPS + 1))

    def encode(self, picture: Picture, setting: float) -> list[bytes]:
        """One file of a single frame."""
        return [
            save(
                picture,
                "AVIF",
                quality=int(setting),
                speed=4,
                subsampling="4:2:0",
                advanced={"tune": "ssim"},
                max_threads=1,
            )
        ]

    def payload_bytes(self, file: bytes) -> int:
        """The data of the box "mdat": the AV1 bitstream with its sequence header."""
        position = 0
        while position < len(file):
            size = int.from_bytes(file[position : position + 4], "big")
            if file[position + 4 : position + _BOX_HEADER_BYTES] == b"mdat":
                return size - _BOX_HEADER_BYTES
            position += size
        raise ValueError(f"none of the {len(file)} bytes are those of a box mdat")
