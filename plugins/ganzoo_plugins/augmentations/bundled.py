"""The augmentations of Differentiable Augmentation (arXiv:2006.10738)."""

import torch
from pydantic import Field
from torch import Tensor
from torch.nn.functional import pad

from ganzoo import Augmentation, AugmentationConfig


class ColorConfig(AugmentationConfig):
    """Settings of changes of color."""

    strength: float = Field(
        1.0,
        ge=0,
        le=1,
        description="1: brightness is shifted by up to a quarter of the range, saturation multiplied by 0 to 2 and "
        "contrast by 0.5 to 1.5; less: that much less of each",
    )


class Color(Augmentation[ColorConfig]):
    """Changes brightness, saturation and contrast."""

    def __call__(self, x: Tensor) -> Tensor:
        # Alpha is not a color: it says where the image is, and brightness would make transparent parts opaque.
        if x.shape[1] == 4:
            return torch.cat([self(x[:, :3]), x[:, 3:]], dim=1)
        low, high = self.pixel_range
        drawn = torch.rand(3 * len(x), device=x.device).view(3, -1, 1, 1, 1)
        if self.config.strength < 1:
            drawn = (drawn - 0.5) * self.config.strength + 0.5
        brightness, saturation, contrast = drawn
        x = x + (brightness - 0.5) * ((high - low) / 2)
        if x.shape[1] > 1:
            gray = x.mean(dim=1, keepdim=True)
            x = torch.lerp(gray, x, 2 * saturation)
        mean = x.mean(dim=(1, 2, 3), keepdim=True)
        return torch.lerp(mean, x, 0.5 + contrast)


class TranslationConfig(AugmentationConfig):
    """Settings of translations."""

    reach: float = Field(0.125, gt=0, le=1, description="how far an image is moved each way, as a share of its size")


class Translation(Augmentation[TranslationConfig]):
    """Moves each image by up to an eighth of its size in each direction; the free border is filled with zeros."""

    def __call__(self, x: Tensor) -> Tensor:
        n, _, height, width = x.shape
        reach_y, reach_x = (int(size * self.config.reach + 0.5) for size in (height, width))
        down, right = (torch.arange(size, device=x.device) for size in (height, width))
        rows = torch.randint(2 * reach_y + 1, (n, 1, 1), device=x.device) + down[:, None]
        columns = torch.randint(2 * reach_x + 1, (n, 1, 1), device=x.device) + right
        # One gather with an index for each image replaces a loop over the batch; gradients flow through indexing.
        padded = pad(x, (reach_x, reach_x, reach_y, reach_y)).permute(0, 2, 3, 1)
        return padded[torch.arange(n, device=x.device)[:, None, None], rows, columns].permute(0, 3, 1, 2)


class CutoutConfig(AugmentationConfig):
    """Settings of cutout."""

    size: float = Field(0.5, gt=0, le=1, description="height and width of the rectangle, as a share of the image's")


class Cutout(Augmentation[CutoutConfig]):
    """Sets a random rectangle to zero; it may reach over the border."""

    def __call__(self, x: Tensor) -> Tensor:
        n, _, height, width = x.shape

        def covered(size: int) -> Tensor:
            hole = int(size * self.config.size)
            middle = torch.randint(size + 1, (n, 1), device=x.device)
            place = torch.arange(size, device=x.device)
            return (place >= middle - hole // 2) & (place < middle - hole // 2 + hole)

        hole = covered(height)[:, None, :, None] & covered(width)[:, None, None, :]
        return x.masked_fill(hole, 0.0)
