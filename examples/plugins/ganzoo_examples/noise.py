"""An augmentation: noise of a random strength, another for each image."""

import torch
from pydantic import Field
from torch import Tensor

from ganzoo import Augmentation, AugmentationConfig


class NoiseConfig(AugmentationConfig):
    """How strong it is at most."""

    scale: float = Field(0.1, ge=0, le=1, description="largest standard deviation, as a share of the value range")


class Noise(Augmentation[NoiseConfig]):
    """Adds Gaussian noise to colors; how opaque an image with alpha is stays as it is."""

    def __call__(self, x: Tensor) -> Tensor:
        low, high = self.pixel_range
        strength = torch.rand(len(x), 1, 1, 1, device=x.device) * self.config.scale * (high - low)
        noise = torch.randn_like(x) * strength
        if x.shape[1] == 4:
            noise = torch.cat([noise[:, :3], torch.zeros_like(noise[:, 3:])], dim=1)
        return x + noise
