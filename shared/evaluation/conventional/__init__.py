from shared.evaluation.conventional.avif import Avif
from shared.evaluation.conventional.codec import Codec, Picture
from shared.evaluation.conventional.jpeg import Jpeg
from shared.evaluation.conventional.jpeg2000 import Jpeg2000
from shared.evaluation.conventional.jpeg_xl import JpegXl
from shared.evaluation.conventional.many import compress_all
from shared.evaluation.conventional.search import Compressed, Measure, compress_to
from shared.evaluation.conventional.thumbnail import Thumbnail
from shared.evaluation.conventional.webp import WebP

CODECS: tuple[Codec, ...] = (Jpeg(), Jpeg2000(), WebP(), Avif(), JpegXl(), Thumbnail())
"""The codecs that compact maps are compared with."""

__all__ = [
    "CODECS",
    "Avif",
    "Codec",
    "Compressed",
    "Jpeg",
    "Jpeg2000",
    "JpegXl",
    "Measure",
    "Picture",
    "Thumbnail",
    "WebP",
    "compress_all",
    "compress_to",
]
