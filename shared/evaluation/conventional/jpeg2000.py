"""JPEG 2000 (ITU-T T.800), written by OpenJPEG: the bare codestream, without the JP2 container."""

from shared.evaluation.conventional.codec import Codec, Picture, save

# OpenJPEG adds a comment of 41 bytes unless another one is given; this one is cut out later.
_COMMENT = "."
_COMMENT_SEGMENT = b"\xff\x64\x00\x05\x00\x01."
# Packet data has no two bytes above 0xFF8F, so this marker is unambiguous.
_START_OF_DATA = b"\xff\x93"
_END_OF_CODESTREAM = b"\xff\xd9"


class Jpeg2000(Codec):
    """One tile, one quality layer, 9/7 wavelet over five resolutions, colour transform.

    The setting is the compression ratio, in steps of 0.5 %; the encoder truncates its embedded
    stream accordingly. Six resolutions, the encoder's default, are 0.3 dB worse for crops.
    """

    name = "JPEG2000"
    settings = tuple(2 ** (12 - step / 128) for step in range(12 * 128 + 1))

    def encode(self, picture: Picture, setting: float) -> list[bytes]:
        """One codestream, without the encoder's comment."""
        codestream = save(
            picture,
            "JPEG2000",
            no_jp2=True,
            irreversible=True,
            mct=1,
            num_resolutions=5,
            quality_mode="rates",
            quality_layers=[setting],
            comment=_COMMENT,
        )
        return [codestream.replace(_COMMENT_SEGMENT, b"", 1)]

    def payload_bytes(self, file: bytes) -> int:
        """The tile's packets, from the last header to the end marker."""
        headers = file.index(_START_OF_DATA) + len(_START_OF_DATA)
        return len(file) - headers - len(_END_OF_CODESTREAM)
