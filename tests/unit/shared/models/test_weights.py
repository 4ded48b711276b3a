"""Weights survive storage as what the documentation promises, and nothing else is loaded."""

import pytest
import torch
from torch import nn

from shared.errors import InvalidModel
from shared.models.recnet import RecNet
from shared.models.sphere20 import Sphere20
from shared.models.weights import Storage, load_weights, weights_to_bytes


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)
    torch.manual_seed(0)


def _recnet() -> RecNet:
    return RecNet(channels=6, widths=(8, 8, 16, 16))


@pytest.mark.parametrize(("storage", "tolerance"), [("int8", 1 / 254), ("float16", 2**-11)])
def test_each_output_channel_is_stored_within_its_own_precision(
    storage: Storage, tolerance: float
) -> None:
    """A deconvolution's output channels are its second axis; one loud channel costs no other."""
    network = _recnet()
    deconvolution = network.layers[2]
    assert isinstance(deconvolution, nn.ConvTranspose2d)
    with torch.no_grad():
        deconvolution.weight[:, 3] *= 1000

    loaded = load_weights(_recnet(), weights_to_bytes(network, storage=storage))

    stored = loaded.layers[2].weight
    assert isinstance(stored, torch.Tensor)
    error = (stored - deconvolution.weight).abs().amax((0, 2, 3))
    largest = deconvolution.weight.abs().amax((0, 2, 3))
    assert (error <= largest * tolerance * 1.001).all()
    assert error.max() > 0


def test_small_tensors_are_stored_exactly() -> None:
    network = _recnet()
    with torch.no_grad():
        for name, value in network.named_parameters():
            if name.endswith("bias"):
                value.uniform_()
    loaded = load_weights(_recnet(), weights_to_bytes(network, storage="int8"))
    before, after = network.state_dict(), loaded.state_dict()
    small = [name for name, value in before.items() if value.ndim == 1]
    assert len(small) == 15
    assert all(torch.equal(before[name], after[name]) for name in small)


@pytest.mark.parametrize("storage", ["int8", "float16"])
def test_storing_what_was_loaded_changes_nothing(storage: Storage) -> None:
    once = load_weights(_recnet(), weights_to_bytes(_recnet(), storage=storage))
    twice = load_weights(_recnet(), weights_to_bytes(once, storage=storage))
    assert weights_to_bytes(once, storage=storage) == weights_to_bytes(once, storage=storage)
    for name, value in once.state_dict().items():
        torch.testing.assert_close(twice.state_dict()[name], value, rtol=1e-6, atol=0)


def test_loaded_networks_are_float32_and_at_rest() -> None:
    loaded = load_weights(_recnet().half(), weights_to_bytes(_recnet(), storage="float16"))
    assert not loaded.training
    assert not any(parameter.requires_grad for parameter in loaded.parameters())


def test_half_width_sphere20_takes_eight_megabytes() -> None:
    network = Sphere20(width=0.5)
    assert len(weights_to_bytes(network, storage="int8")) < 8.5e6


def test_eight_bits_keep_the_direction_of_embeddings() -> None:
    network = Sphere20(width=0.125).eval()
    crops = torch.rand(4, 3, 112, 96) * 2 - 1
    with torch.inference_mode():
        before = network(crops)
        after = load_weights(network, weights_to_bytes(network, storage="int8"))(crops)
    assert torch.cosine_similarity(before, after).min() > 0.999


def test_weights_of_another_width_are_refused() -> None:
    content = weights_to_bytes(Sphere20(width=0.25), storage="int8")
    with pytest.raises(InvalidModel, match="not those of this Sphere20") as caught:
        load_weights(Sphere20(width=0.125), content)
    assert caught.value.reason == "WEIGHTS_MISMATCH"


@pytest.mark.parametrize("content", [b"", b"not safetensors", b"\x02" + b"\0" * 7 + b"[]"])
def test_files_of_another_kind_are_refused(content: bytes) -> None:
    with pytest.raises(InvalidModel) as caught:
        load_weights(_recnet(), content)
    assert caught.value.reason == "WEIGHTS_UNREADABLE"


@pytest.mark.parametrize(("storage", "value"), [("int8", float("nan")), ("float16", 1e6)])
def test_weights_that_cannot_be_stored_are_refused(storage: Storage, value: float) -> None:
    network = _recnet()
    with torch.no_grad():
        network.layers[2].weight[0, 0, 0, 0] = value  # type: ignore[index, operator]
    with pytest.raises(InvalidModel, match=r"layers\.2\.weight"):
        weights_to_bytes(network, storage=storage)
