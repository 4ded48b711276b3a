"""Encode aligned crops to compact maps with torch, for evaluation on a GPU."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from shared.inference.crop_encoder import CropEncoder
from shared.inference.device import open_device
from shared.inference.extractor import open_extractor
from shared.inference.networks import load_compnet
from shared.inference.pixels import to_network
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
            self._extractor = open_extractor(model, self._device)

    def _compress(self, batch: NDArray[np.float32]) -> NDArray[np.float32]:
        with torch.inference_mode():
            latents = self._network(self._placed(batch))
        answers: NDArray[np.float32] = latents.contiguous().cpu().numpy()
        return answers

    def _embed(self, crops: NDArray[np.uint8]) -> NDArray[np.float32]:
        return self._extractor.embed(self._placed(to_network(crops, self._normalisation)))

    def _placed(self, batch: NDArray[np.float32]) -> Tensor:
        return torch.from_numpy(batch).to(self._device, memory_format=torch.channels_last)
