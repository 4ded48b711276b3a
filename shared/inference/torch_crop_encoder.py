"""Encode aligned crops to compact maps with torch, for evaluation on a GPU."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from shared.inference.crop_encoder import CropEncoder
from shared.inference.device import open_device
from shared.inference.networks import load_compnet, load_extractor
from shared.model_directory import ModelDirectory


class TorchCropEncoder(CropEncoder):
    """CompNet on torch, on any device.

    Its maps equal those of `OnnxCropEncoder`; where that computes in 8 bits, but for a few symbols
    that are one level apart.
    """

    def __init__(
        self, model: ModelDirectory, point: str | None = None, *, device: str = "cpu"
    ) -> None:
        super().__init__(model, point)
        self._device = open_device(device)
        self._network = load_compnet(model, point, self._device)
        if self.extractor is not None:
            self._extractor = load_extractor(model, self._device)

    def _compress(self, batch: NDArray[np.float32]) -> NDArray[np.float32]:
        return self._run(self._network, batch)

    def _embed(self, batch: NDArray[np.float32]) -> NDArray[np.float32]:
        return self._run(self._extractor, batch)

    @torch.inference_mode()
    def _run(self, network: nn.Module, batch: NDArray[np.float32]) -> NDArray[np.float32]:
        crops = torch.from_numpy(batch).to(self._device, memory_format=torch.channels_last)
        answers: NDArray[np.float32] = network(crops).contiguous().cpu().numpy()
        return answers
