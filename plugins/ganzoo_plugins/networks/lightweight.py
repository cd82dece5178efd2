"""FastGAN's networks as lightweight-gan has them: skip-layer excitation, a discriminator that reconstructs."""

from collections.abc import Iterable
from math import prod
from typing import Literal, cast

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn.functional import conv2d, interpolate, mse_loss, pad

from ganzoo import AdversarialConfig, Discriminator, Generator, Image, Latent, Scores, Signature, UserError

__all__ = ["LightweightConfig", "LightweightDiscriminator", "LightweightGenerator"]

_SMALL = 32
"""Side of the copy of the image that the second score is of."""


class LightweightConfig(AdversarialConfig):
    """Settings of the generator and the discriminator."""

    latent_dim: int = Field(128, ge=1, description="size of the latent")
    channel_base: int = Field(1024, ge=1, description="channels of a map are this over its side, up to channel_max")
    channel_max: int = Field(64, ge=1, description="channels of the small maps")
    attention: tuple[int, ...] = Field((), description="sides of the maps that attention comes before")
    heads: int = Field(1, ge=1, description="heads of each attention")
    head_dim: int = Field(16, ge=1, description="channels of a head")
    score_map: Literal[1, 5] = Field(5, description="side of the map of scores of the image")

    def channels(self, level: int) -> int:
        """Return the channels of a map whose side is 2 to the ``level``."""
        return max(min(self.channel_base >> level, self.channel_max), 1)


class Blur(nn.Module):
    """The filter [1, 2, 1] in both directions, each channel by itself; maps are mirrored at their edge."""

    taps: Tensor

    def __init__(self) -> None:
        super().__init__()
        line = torch.tensor([1.0, 2.0, 1.0])
        self.register_buffer("taps", torch.outer(line, line)[None, None] / 16, persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        channels = x.shape[1]
        return conv2d(pad(x, [1, 1, 1, 1], "reflect"), self.taps.expand(channels, 1, 3, 3), groups=channels)


class Noise(nn.Module):
    """Adds Gaussian noise, one map for all channels, of a learned strength; in training alone."""

    def __init__(self) -> None:
        super().__init__()
        self.strength = nn.Parameter(torch.zeros(1))

    def forward(self, x: Tensor) -> Tensor:
        if not self.training:
            return x
        return x + self.strength * torch.randn(len(x), 1, *x.shape[2:], device=x.device, dtype=x.dtype)


class ChannelNorm(nn.Module):
    """Normalizes the channels of each place, with a learned scale and shift."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(channels, 1, 1))
        self.shift = nn.Parameter(torch.zeros(channels, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        x = x - x.mean(1, keepdim=True)  # not var_mean, which over one dimension of four is slow
        return x * torch.rsqrt(x.square().mean(1, keepdim=True) + 1e-5) * self.scale + self.shift


class LocalAndGlobalAttention(nn.Module):
    """Added to its input: attention to the 3x3 neighborhood and, linear in the number of places, to the whole map.

    The global one is that of Efficient Attention (arXiv:1812.01243): queries are normalized over channels, keys over
    places, and so keys and values meet first, in a matrix of channels by channels.
    """

    def __init__(self, channels: int, config: LightweightConfig) -> None:
        super().__init__()
        self.heads = config.heads, config.head_dim
        inner = config.heads * config.head_dim
        self.norm = ChannelNorm(channels)
        self.global_query = nn.Conv2d(channels, inner, 1, bias=False)
        self.global_key_value = nn.Sequential(
            nn.Conv2d(channels, channels, 3, padding=1, groups=channels, bias=False),
            nn.Conv2d(channels, 2 * inner, 1, bias=False),
        )
        self.query = nn.Conv2d(channels, inner, 1, bias=False)
        self.key_value = nn.Conv2d(channels, 2 * inner, 1, bias=False)
        self.activation = nn.GELU()
        self.output = nn.Conv2d(2 * inner, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        y = self.norm(x)
        height, width = x.shape[2:]
        heads, scale = self.heads, self.heads[1] ** -0.5

        query = self.global_query(y).unflatten(1, heads).flatten(3).softmax(2) * scale  # [N, heads, D, HW]
        key, value = (part.unflatten(1, heads).flatten(3) for part in self.global_key_value(y).chunk(2, 1))
        everywhere = (value @ key.softmax(3).mT) @ query
        everywhere = self.activation(everywhere.flatten(1, 2).unflatten(2, (height, width)))

        # Beyond the edge there are zeros, which take part in the softmax. Neighbors are views of the padded map, one
        # after the other, and only their weights are put together: nothing is nine times as large as a map.
        shifts = [(slice(row, row + height), slice(column, column + width)) for row in range(3) for column in range(3)]
        query = self.query(y).contiguous().unflatten(1, heads) * scale
        key, value = (
            pad(part.contiguous(), [1, 1, 1, 1]).unflatten(1, heads) for part in self.key_value(y).chunk(2, 1)
        )
        weights = torch.stack([(query * key[..., i, j]).sum(2, keepdim=True) for i, j in shifts]).softmax(0)
        near = sum(weight * value[..., i, j] for weight, (i, j) in zip(weights, shifts, strict=True)).flatten(1, 2)
        return x + self.output(torch.cat([everywhere, near], 1))


class Excitation(nn.Module):
    """A map [N, C, H, W] to a factor in 0..1 for each channel of a larger one, [N, D, 1, 1].

    The map is averaged with weights of its own (Global Context Networks, arXiv:2012.13375); the factors are those of
    FastGAN's skip-layer excitation (arXiv:2101.04775, eq. 1).
    """

    def __init__(self, channels: int, factors: int) -> None:
        super().__init__()
        between = max(3, factors // 2)
        self.weight = nn.Conv2d(channels, 1, 1)
        self.body = nn.Sequential(
            nn.Conv2d(channels, between, 1), nn.LeakyReLU(0.1), nn.Conv2d(between, factors, 1), nn.Sigmoid()
        )

    def forward(self, x: Tensor) -> Tensor:
        weights = self.weight(x).flatten(2).softmax(2)  # [N, 1, HW]
        return self.body((x.flatten(2) @ weights.mT)[..., None])


class UpLevel(nn.Module):
    """Twice the height and width: [N, C, H, W] to [N, D, 2H, 2W]."""

    def __init__(self, before: int, after: int, attention: nn.Module, excited: int) -> None:
        super().__init__()
        self.attention = attention
        self.body = nn.Sequential(
            *_doubled(before),
            Blur(),
            nn.ZeroPad2d((2, 1, 2, 1)),
            nn.Conv2d(before, 2 * after, 4),
            Noise(),
            nn.BatchNorm2d(2 * after),
            nn.GLU(1),
        )
        self.excitation = Excitation(after, excited) if excited else None

    def forward(self, x: Tensor) -> Tensor:
        return self.body(self.attention(x))


class LightweightGenerator(Generator):
    """Latent [N, L] to images [N, C, H, W]; the maps of 16 to 128 pixels scale the channels of those 16 times as large.

    Nothing bounds the images; outside of training they are clamped to the range.
    """

    def __init__(self, config: LightweightConfig, sample: Image) -> None:
        super().__init__(Signature((Latent((config.latent_dim,)),), sample))
        last, latent = _level(sample), config.latent_dim
        # Beyond 256 pixels the maps have 3 channels, as in lightweight-gan: hardly more than the image.
        widths = [latent, *(3 if level >= 8 else config.channels(level) for level in range(2, last))]
        self.start = nn.Sequential(nn.ConvTranspose2d(latent, 2 * latent, 4), nn.BatchNorm2d(2 * latent), nn.GLU(1))
        self.levels = nn.ModuleList()
        for index, level in enumerate(range(2, last)):
            larger = level + _SKIP
            excited = widths[larger - 2] if level >= 3 and larger <= last else 0
            attention = _attention(widths[index], level, config)
            self.levels.append(UpLevel(widths[index], widths[index + 1], attention, excited))
        self.image = nn.Conv2d(widths[-1], sample.channels, 3, padding=1)
        self.limits = sample.range
        _initialize(self)

    def forward(self, z: Tensor) -> Tensor:
        x = self.start(z[:, :, None, None])
        # Of length 1 at each place; written out, as of a norm that is expanded a file does not tell the size.
        x = x * torch.rsqrt(x.square().sum(1, keepdim=True).clamp_min(1e-24))
        factors: dict[int, Tensor] = {}
        for level, layer in enumerate(cast("Iterable[UpLevel]", self.levels), 2):
            x = layer(x)
            if layer.excitation is not None:
                factors[level + _SKIP] = layer.excitation(x)
            if level + 1 in factors:
                x = x * factors[level + 1]
        images = self.image(x)
        return images if self.training else images.clamp(*self.limits)


class DownLevel(nn.Module):
    """Half the height and width, in two branches that are added: [N, C, H, W] to [N, D, H/2, W/2]."""

    def __init__(self, before: int, after: int) -> None:
        super().__init__()
        self.blur = Blur()
        self.body = nn.Sequential(
            nn.PixelUnshuffle(2),
            nn.Conv2d(4 * before, after, 1),
            nn.LeakyReLU(0.1),
            nn.Conv2d(after, after, 3, padding=1),
            nn.LeakyReLU(0.1),
        )
        self.skip = nn.Sequential(nn.AvgPool2d(2), nn.Conv2d(before, after, 1), nn.LeakyReLU(0.1))

    def forward(self, x: Tensor) -> Tensor:
        x = self.blur(x)
        return self.body(x) + self.skip(x)


class Decoder(nn.Sequential):
    """A map [N, C, 8, 8] to images [N, D, 128, 128]."""

    def __init__(self, channels: int, image_channels: int) -> None:
        widths = [max(channels >> halvings, 1) for halvings in range(4)]
        layers: list[nn.Module] = []
        for width, after in zip(widths, [*widths[1:], image_channels], strict=True):
            layers += [*_doubled(width), nn.Conv2d(width, 2 * after, 3, padding=1), nn.GLU(1)]
        super().__init__(*layers)


class LightweightDiscriminator(Discriminator):
    """Images [N, C, H, W] to scores [N, M + 1]: a map of M of the image, and behind it one of a copy of 32x32 pixels.

    Its maps are decoded to the image, so that they keep what there is in it (arXiv:2101.04775, section 3.2).
    """

    def __init__(self, config: LightweightConfig, sample: Image) -> None:
        super().__init__(Signature((sample,), Scores((config.score_map**2 + 1,))))
        last, channels = _level(sample), sample.channels
        first = min(8, last)
        widths = [config.channels(level) for level in range(first, 2, -1)]
        if last <= 8:
            widths[0] = channels
        self.reduction = nn.Sequential()  # to 256 pixels
        for level in range(last, 8, -1):
            after = widths[0] if level == 9 else channels
            self.reduction.extend([Blur(), nn.Conv2d(channels, after, 4, 2, 1), nn.LeakyReLU(0.1)])
        self.attentions, self.levels = nn.ModuleList(), nn.ModuleList()
        for level, before, after in zip(range(first, 3, -1), widths, widths[1:], strict=False):
            self.attentions.append(_attention(before, level, config))
            self.levels.append(DownLevel(before, after))
        width = widths[-1]
        head: list[nn.Module] = [nn.Conv2d(width, width, 1)]
        if config.score_map == 1:
            head = [Blur(), nn.Conv2d(width, width, 3, 2, 1)]
        self.head = nn.Sequential(*head, nn.LeakyReLU(0.1), nn.Conv2d(width, 1, 4), nn.Flatten())
        self.small_head = nn.Sequential(
            nn.Conv2d(channels, 64, 3, padding=1),
            LocalAndGlobalAttention(64, config),
            DownLevel(64, 32),
            LocalAndGlobalAttention(32, config),
            nn.AvgPool2d(4),
            nn.Conv2d(32, 1, 4),
            nn.Flatten(),
        )
        self.decoder = Decoder(width, channels)
        self.part_decoder = Decoder(widths[-2], channels) if last >= 9 else None
        _initialize(self)

    def forward(self, x: Tensor) -> Tensor:
        return self.scores(x, self.maps(x))

    def maps(self, x: Tensor) -> list[Tensor]:
        """Return the maps of 16x16 and 8x8 places that an image ends in."""
        maps = [self.reduction(x)]
        for attention, level in zip(self.attentions, self.levels, strict=True):
            maps.append(level(attention(maps[-1])))
        return maps[-2:]

    def scores(self, x: Tensor, maps: list[Tensor]) -> Tensor:
        """Return the scores of images and their maps."""
        return torch.cat([self.head(maps[-1]), self.small_head(interpolate(x, (_SMALL, _SMALL)))], 1)

    def reconstruction(self, x: Tensor, maps: list[Tensor]) -> Tensor:
        """Return the mean squared error of the images that the maps are decoded to, of 128x128 pixels.

        From 512 pixels on a quarter of the image, drawn for each batch, is decoded from its part of the larger map too.
        """
        drawn = self.decoder(maps[-1])
        error = mse_loss(drawn, interpolate(x, drawn.shape[2:]))
        if self.part_decoder is not None:
            quarter = torch.randint(4, (1,), device=x.device)
            image, part = (_quarters(each).index_select(0, quarter)[0] for each in (x, maps[-2]))
            drawn = self.part_decoder(part)
            error = error + mse_loss(drawn, interpolate(image, drawn.shape[2:]))
        return error


_SKIP = 4
"""Doublings between a map and the one whose channels it scales."""


def _level(sample: Image) -> int:
    """Return the power of 2 that the sides are; raises :class:`~ganzoo.UserError` if they are none of 32 to 1024."""
    level = sample.height.bit_length() - 1
    if sample.height != sample.width or sample.height != 1 << level or not 5 <= level <= 10:
        raise UserError(
            "this model draws square images of 32, 64, 128, 256, 512 or 1024 pixels a side, not "
            f"{sample.height}x{sample.width}; resize them, as with --data folder --set data.size=64"
        )
    return level


def _attention(channels: int, level: int, config: LightweightConfig) -> nn.Module:
    """Return what comes before the next level: attention where the settings name this side, else nothing."""
    return LocalAndGlobalAttention(channels, config) if 1 << level in config.attention else nn.Identity()


def _doubled(channels: int) -> list[nn.Module]:
    return [nn.Conv2d(channels, 4 * channels, 1), nn.SiLU(), nn.PixelShuffle(2)]


def _quarters(x: Tensor) -> Tensor:
    """Return the quarters of maps [N, C, 2H, 2W] as [4, N, C, H, W]."""
    parts = x.unflatten(3, (2, -1)).unflatten(2, (2, -1))  # [N, C, 2, H, 2, W]
    return parts.permute(2, 4, 0, 1, 3, 5).flatten(0, 1)


def _initialize(network: nn.Module) -> None:
    """Draw the weights of convolutions from N(0, 2 / fan-in), as lightweight-gan does."""
    for module in network.modules():
        if type(module) is nn.Conv2d:
            nn.init.normal_(module.weight, std=(2 / prod(module.weight.shape[1:])) ** 0.5)
