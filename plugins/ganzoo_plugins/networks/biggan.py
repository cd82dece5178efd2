"""How SAGAN and BigGAN arrange SNGAN's residual blocks: channels by the size of the images, and where attention is."""

from itertools import pairwise

from torch import nn

from ganzoo import Image, UserError
from ganzoo_plugins.networks.attention import SelfAttention, attends
from ganzoo_plugins.networks.resnet import DownBlock
from ganzoo_plugins.networks.sizes import num_downsamples

__all__ = ["attention_layers", "attentive_features", "generator_widths"]

# Multiples of the width by the number of upsampling steps, from the smallest map to the image: BigGAN's tables for
# 512 (7 steps), 256, 128, 64 and 32 pixels (3); SAGAN's for 128 is the same. The images of 2 steps, 28x28, have 32's.
_UP = {
    7: (16, 16, 8, 8, 4, 2, 1, 1),
    6: (16, 16, 8, 8, 4, 2, 1),
    5: (16, 16, 8, 4, 2, 1),
    4: (16, 16, 8, 4, 2),
    3: (4, 4, 4, 4),
    2: (4, 4, 4),
}
# The discriminator's, from the image down: of what each block returns. All blocks halve the map but the last one, and
# for small images the last two.
_DOWN = {7: _UP[7][::-1], 6: _UP[6][::-1], 5: _UP[5][::-1], 4: (1, 2, 4, 8, 16), 3: (4, 4, 4, 4), 2: (4, 4, 4, 4)}


def generator_widths(sample: Image, width: int) -> tuple[list[int], tuple[int, int]]:
    """Return the channels of the generator's maps, the smallest first, and height and width of that one.

    Raises :class:`~ganzoo.UserError` for sizes that :func:`~ganzoo_plugins.networks.sizes.num_downsamples` refuses, and
    above 7 steps.
    """
    count, start = num_downsamples(sample)
    if count not in _UP:
        raise UserError(
            f"this model draws images of up to 7 halvings, such as 512x512, not {sample.height}x{sample.width}; resize "
            "them, as with --data folder --set data.size=256"
        )
    return [width * multiple for multiple in _UP[count]], start


def attention_layers(sample: Image, widths: list[int], side: int) -> nn.ModuleList:
    """Return what follows each block of a generator: self-attention at the maps of this side, or nothing."""
    levels = range(len(widths) - 2, -1, -1)
    return nn.ModuleList(
        SelfAttention(after) if attends(sample, side, level) else nn.Identity()
        for after, level in zip(widths[1:], levels, strict=True)
    )


def attentive_features(sample: Image, width: int, side: int) -> tuple[nn.Sequential, int]:
    """Return the discriminator up to its pooling, images to features [N, C, h, w] behind their ReLU, and C."""
    count = len(generator_widths(sample, width)[0]) - 1
    widths = [width * multiple for multiple in _DOWN[count]]
    halving = len(widths) - (1 if count > 3 else 2)
    layers: list[nn.Module] = []
    for index, (before, after) in enumerate(pairwise([sample.channels, *widths])):
        layers.append(DownBlock(before, after, downsample=index < halving, first=index == 0))
        if index < halving and attends(sample, side, index + 1):
            layers.append(SelfAttention(after))
    return nn.Sequential(*layers, nn.ReLU()), widths[-1]
