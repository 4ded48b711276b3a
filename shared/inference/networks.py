"""The networks of a model directory, with the weights as stored."""

from shared.model_directory import COMPNET_FILE, RECNET_FILE, ModelDirectory
from shared.models.compnet import CompNet
from shared.models.recnet import RecNet
from shared.models.sphere20 import Sphere20
from shared.models.weights import load_weights


def load_compnet(model: ModelDirectory, point: str | None = None) -> CompNet:
    """CompNet of an operating point (None: the default), in eval mode, float32."""
    codec = model.codec(point)
    network = CompNet(channels=codec.channels, widths=codec.widths)
    return load_weights(network, model.codec_path(point, COMPNET_FILE).read_bytes())


def load_recnet(model: ModelDirectory, point: str | None = None) -> RecNet:
    """RecNet of an operating point (None: the default), in eval mode, float32."""
    codec = model.codec(point)
    network = RecNet(channels=codec.channels, widths=codec.widths)
    return load_weights(network, model.codec_path(point, RECNET_FILE).read_bytes())


def load_extractor(model: ModelDirectory) -> Sphere20:
    """The extractor, in eval mode, float32."""
    network = Sphere20(width=model.manifest.extractor.width)
    return load_weights(network, model.extractor_path.read_bytes())
