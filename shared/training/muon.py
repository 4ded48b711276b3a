"""Muon: momentum with orthogonalized updates, for convolution filters."""

from collections.abc import Callable, Iterable

import torch
from torch import Tensor, nn

# Five iterations of this polynomial map every singular value into about [0.7, 1.2].
_STEPS, _A, _B, _C = 5, 3.4445, -4.7750, 2.0315


class Muon(torch.optim.Optimizer):
    """An optimizer whose update has equal singular values in all directions.

    Filters are treated as matrices (out, in * height * width); torch's own Muon takes matrices
    only. Updates are scaled to AdamW's usual size, so that both share one learning rate.

    Sources: Jordan et al., Muon, 2024; the scale: Liu et al., Muon is scalable for LLM
    training, 2025.
    """

    def __init__(
        self,
        parameters: Iterable[nn.Parameter] | Iterable[dict[str, object]],
        *,
        lr: float = 1e-3,
        momentum: float = 0.95,
        weight_decay: float = 0.0,
    ) -> None:
        defaults = {"lr": lr, "momentum": momentum, "weight_decay": weight_decay}
        super().__init__(parameters, defaults)

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        """Take one step; `closure` is not supported."""
        assert closure is None
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None:
                    self._update(parameter, parameter.grad, group)

    def _update(self, parameter: Tensor, gradient: Tensor, group: dict[str, float]) -> None:
        state = self.state[parameter]
        if "momentum" not in state:
            state["momentum"] = torch.zeros_like(gradient)
        momentum = state["momentum"].lerp_(gradient, 1 - group["momentum"])
        matrix = gradient.lerp(momentum, group["momentum"]).flatten(1)
        direction = orthogonalized(matrix) * (0.2 * max(matrix.shape) ** 0.5)
        parameter.mul_(1 - group["lr"] * group["weight_decay"])
        parameter.add_(direction.view_as(parameter), alpha=-group["lr"])


def orthogonalized(matrix: Tensor) -> Tensor:
    """U V^T of the singular value decomposition U S V^T, approximated by Newton-Schulz."""
    wide = matrix.shape[0] <= matrix.shape[1]
    x = (matrix if wide else matrix.T).bfloat16()
    x = x / (x.norm() + 1e-7)
    for _ in range(_STEPS):
        gram = x @ x.T
        x = _A * x + (_B * gram + _C * gram @ gram) @ x
    turned: Tensor = (x if wide else x.T).to(matrix.dtype)
    return turned
