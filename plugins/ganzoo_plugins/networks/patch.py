"""The discriminator of patches."""

from itertools import pairwise
from typing import Literal

import torch
from torch import Tensor, nn

from ganzoo import Discriminator, Image, Mask, Scores, Signature, UserError
from ganzoo_plugins.networks.layers import InstanceNorm2d

__all__ = ["PatchDiscriminator"]


class PatchDiscriminator(Discriminator):
    """Images [N, C, H, W] to a map of scores [N, 1, h, w], one for each patch (arXiv:1611.07004, section 3.2.2).

    4x4 convolutions: ``layers`` of stride 2, with twice as many channels each, and two of stride 1; leaky ReLU, and a
    ``norm`` but at the first and the last. Three layers see patches of 70x70 pixels as in the paper, two 34x34, one
    16x16. Images that are scored together, such as an input and its translation or an image and its mask, are joined
    along their channels.
    """

    def __init__(
        self, images: tuple[Image | Mask, ...], width: int, layers: int, norm: Literal["instance", "batch", "none"]
    ) -> None:
        super().__init__(Signature(images, Scores()))
        smallest = 2 ** (layers + 2)
        if min(min(image.shape[1:]) for image in images) < smallest:
            raise UserError(
                f"a discriminator of {layers} layers needs images of at least {smallest}x{smallest}; lower "
                "model.patch_layers"
            )
        channels = [width * min(2**index, 8) for index in range(layers + 1)]
        body: list[nn.Module] = [
            nn.Conv2d(sum(image.shape[0] for image in images), width, 4, stride=2, padding=1),
            nn.LeakyReLU(0.2, inplace=True),
        ]
        for index, (before, after) in enumerate(pairwise(channels), start=1):
            stride = 2 if index < layers else 1
            body.append(nn.Conv2d(before, after, 4, stride=stride, padding=1))
            if norm != "none":
                body.append(nn.BatchNorm2d(after) if norm == "batch" else InstanceNorm2d(after))
            body.append(nn.LeakyReLU(0.2, inplace=True))
        self.body = nn.Sequential(*body, nn.Conv2d(channels[-1], 1, 4, padding=1))

    def forward(self, *images: Tensor) -> Tensor:
        return self.body(torch.cat(images, dim=1) if len(images) > 1 else images[0])
