"""Muon: momentum with orthogonalized updates, for convolution filters."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence

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
            # Filters of one shape are stacked: a GPU would wait for many small operations.
            alike = defaultdict(list)
            for parameter in group["params"]:
                if parameter.grad is not None:
                    alike[parameter.shape].append(parameter)
            for parameters in alike.values():
                self._update(parameters, group)

    def _update(self, parameters: Sequence[nn.Parameter], group: dict[str, float]) -> None:
        matrices = torch.stack([self._momentum(each, group).flatten(1) for each in parameters])
        directions = orthogonalized(matrices) * (0.2 * max(matrices.shape[1:]) ** 0.5)
        for parameter, direction in zip(parameters, directions, strict=True):
            parameter.mul_(1 - group["lr"] * group["weight_decay"])
            parameter.add_(direction.view_as(parameter), alpha=-group["lr"])

    def _momentum(self, parameter: nn.Parameter, group: dict[str, float]) -> Tensor:
        gradient, state = parameter.grad, self.state[parameter]
        assert gradient is not None
        if "momentum" not in state:
            state["momentum"] = torch.zeros_like(gradient)
        momentum = state["momentum"].lerp_(gradient, 1 - group["momentum"])
        return gradient.lerp(momentum, group["momentum"])


def orthogonalized(matrices: Tensor) -> Tensor:
    """U V^T of the singular value decompositions U S V^T, approximated by Newton-Schulz.

    Args:
        matrices: (..., M, N).
    """
    wide = matrices.shape[-2] <= matrices.shape[-1]
    x = (matrices if wide else matrices.mT).bfloat16()
    x = x / (x.norm(dim=(-2, -1), keepdim=True) + 1e-7)
    for _ in range(_STEPS):
        gram = x @ x.mT
        x = _A * x + (_B * gram + _C * gram @ gram) @ x
    turned: Tensor = (x if wide else x.mT).to(matrices.dtype)
    return turned
