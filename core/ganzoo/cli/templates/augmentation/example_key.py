"""An augmentation: Gaussian noise, of another strength for each image."""

import torch
from pydantic import Field
from torch import Tensor

from ganzoo import Augmentation, AugmentationConfig


class ExampleKeyConfig(AugmentationConfig):
    """Settings of the augmentation."""

    scale: float = Field(0.1, ge=0, le=1, description="largest standard deviation, as a share of the value range")


class ExampleKey(Augmentation[ExampleKeyConfig]):
    """Adds noise to colors (Instance Noise, arXiv:1610.04490); how opaque an image with alpha is stays as it is.

    It draws from torch's default generator on the images' device, reads no value of a tensor and keeps nothing between
    calls: so it can be captured as part of a CUDA graph, and a resumed training goes on as it was.
    """

    def __call__(self, x: Tensor) -> Tensor:
        """Return changed images [N, C, H, W]; gradients pass through, and ``x`` stays as it is."""
        low, high = self.pixel_range
        strength = torch.rand(len(x), 1, 1, 1, device=x.device) * self.config.scale * (high - low)
        noise = torch.randn_like(x) * strength
        if x.shape[1] == 4:
            noise = torch.cat([noise[:, :3], torch.zeros_like(noise[:, 3:])], dim=1)
        return x + noise
