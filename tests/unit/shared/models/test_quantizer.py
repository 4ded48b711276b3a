import pytest
import torch

from shared.models.quantizer import quantize_straight_through


@pytest.mark.parametrize("levels", [2, 3, 16])
def test_every_value_becomes_the_nearest_of_evenly_spaced_levels(levels: int) -> None:
    latent = torch.linspace(-1, 1, 101)
    points = torch.linspace(-1, 1, levels)
    seen = quantize_straight_through(latent, levels=levels)
    nearest = (latent[:, None] - points).abs().amin(dim=1)
    assert torch.allclose((seen - latent).abs(), nearest, atol=1e-6)
    assert {round(float(value), 4) for value in seen} == {round(float(each), 4) for each in points}


def test_gradients_pass_as_if_nothing_were_rounded() -> None:
    latent = torch.tensor([-0.9, 0.05, 0.4], requires_grad=True)
    weights = torch.tensor([1.0, -2.0, 3.0])
    (quantize_straight_through(latent, levels=3) * weights).sum().backward()
    assert latent.grad is not None
    assert torch.equal(latent.grad, weights)
