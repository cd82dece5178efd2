"""ProGAN's networks, which grow: levels of one resolution each, the newest faded in."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from itertools import pairwise
from math import prod, sqrt

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d, interpolate, leaky_relu

from ganzoo import (
    AdversarialConfig,
    Discriminator,
    Generator,
    Image,
    Latent,
    Network,
    OptimizerConfig,
    Scores,
    Signature,
)
from ganzoo_plugins.networks.layers import AvgPool2d
from ganzoo_plugins.networks.sizes import num_downsamples
from ganzoo_plugins.networks.style import (
    GAIN,
    EqualizedConv2d,
    EqualizedLinear,
    MinibatchDeviation,
    activated,
    channels_of,
    normalized,
)

__all__ = ["Growing", "Level", "ProGANConfig", "ProGANDiscriminator", "ProGANGenerator", "enlarged", "mixed", "reduced"]


class ProGANConfig(AdversarialConfig):
    """Settings of ProGAN."""

    latent_dim: int = Field(128, ge=1, description="size of the latent, which is scaled to a hypersphere")
    channel_base: int = Field(512, ge=1, description="channels times resolution, as long as channel_max is not reached")
    channel_max: int = Field(64, ge=1, description="the most channels of a map")
    deviation_group: int = Field(4, ge=1, description="samples that a minibatch deviation is taken over")
    stable: int = Field(20_000, ge=1, description="images that each resolution but the last is trained on alone")
    fade: int = Field(20_000, ge=1, description="images that a new resolution is faded in over")
    progressive: bool = Field(True, description="grow from the smallest level on; off: all levels from the start")
    place_bias: bool = Field(
        False,
        description="a bias for each pixel of the start map, as in pytorch_GAN_zoo, not for each channel",
    )
    n_critic: int | None = Field(1, ge=1, description="discriminator steps a generator step")
    optimizer: OptimizerConfig = Field(OptimizerConfig(lr=5e-3, betas=(0.0, 0.99)), description="optimizer of both")


def enlarged(x: Tensor, factor: int) -> Tensor:
    """Repeat each pixel of [N, C, H, W] ``factor`` times in both directions."""
    return x if factor == 1 else interpolate(x, scale_factor=float(factor), mode="nearest")


def reduced(x: Tensor, factor: int) -> Tensor:
    """Return the means of squares of ``factor`` x ``factor`` pixels of [N, C, H, W]."""
    return x if factor == 1 else avg_pool2d(x, factor)


def mixed(old: Tensor, new: Tensor, alpha: Tensor) -> Tensor:
    """Return the mean of two tensors, in which ``new`` has the share ``alpha`` [], from 0 to 1."""
    return old + (new - old) * alpha


class Level(nn.Module):
    """The layers of one resolution: 3x3 convolutions with leaky ReLU, with ``pixel_norm`` each normalized.

    ``image`` is the 1x1 convolution between its maps and images. Of a level that another has been laid upon it is used
    while that one is faded in, and None afterwards.
    """

    image: EqualizedConv2d | None

    def __init__(self, channels: Sequence[int], image: EqualizedConv2d, *, pixel_norm: bool) -> None:
        super().__init__()
        self.convolutions = nn.ModuleList(EqualizedConv2d(*pair, 3, gain=GAIN) for pair in pairwise(channels))
        self.image, self.pixel_norm = image, pixel_norm

    def forward(self, x: Tensor) -> Tensor:
        """Map [N, I, H, W] to [N, O, H, W]."""
        for convolution in self.convolutions:
            x = activated(convolution, x, 1)  # the gain is that of the weights
            x = normalized(x) if self.pixel_norm else x
        return x


class Growing(Network, ABC):
    """A network with a level for each resolution, from the smallest on: at first one, and :meth:`grow` adds the next.

    The new level's share ``alpha`` rises from 0 to 1 while it is faded in, until :meth:`settle`. Images have the full
    size from the start.
    """

    alpha: Tensor

    def __init__(self, signature: Signature, sample: Image, config: ProGANConfig) -> None:
        super().__init__(signature)
        self.count, self.start = num_downsamples(sample)
        self.channels = channels_of(config.channel_base, config.channel_max, self.count)[::-1]
        self.levels = nn.ModuleList()
        self.progressive = config.progressive
        self.register_buffer("alpha", torch.ones(()))

    @abstractmethod
    def level(self, number: int) -> Level:
        """Make a level."""

    def begin(self) -> None:
        """Add the first level, or all of them if the network does not grow."""
        self.levels.append(self.level(0))
        for _ in range(0 if self.progressive else self.count):
            self.grow()
            self.settle()
        self.alpha.fill_(1)

    def grow(self) -> None:
        """Add the level of the next resolution."""
        self.levels.append(self.level(len(self.levels)))
        self.alpha.zero_()

    def settle(self) -> None:
        """Remove what the level before the newest was needed for while that was faded in."""
        before = self.levels[-2]
        assert isinstance(before, Level)
        before.image = None

    @property
    def factor(self) -> int:
        """How many times the size of the image is that of the newest level."""
        return 1 << (self.count + 1 - len(self.levels))

    def step_down(self) -> tuple[Level, Level | None]:
        """Return the newest level, and the one before it if that still has a way to the image."""
        newest, *before = self.levels[-1:-3:-1]
        assert isinstance(newest, Level)
        older = before[0] if before else None
        return newest, older if isinstance(older, Level) and older.image is not None else None


class ProGANGenerator(Growing, Generator):
    """Latent [N, L] to images [N, C, H, W].

    A linear layer to the start map; levels whose maps are doubled before; pixel norm behind every layer and of z.
    Nothing bounds the images; outside of training they are clamped to the range.
    """

    def __init__(self, config: ProGANConfig, sample: Image) -> None:
        super().__init__(Signature((Latent((config.latent_dim,)),), sample), sample, config)
        self.shape = (self.channels[0], *self.start)
        # The authors' gain: as if it were a convolution over the start map.
        gain = GAIN / sqrt(prod(self.start))
        self.dense = EqualizedLinear(config.latent_dim, prod(self.shape), gain=gain, bias=None)
        self.bias = nn.Parameter(torch.zeros(self.shape if config.place_bias else (self.shape[0], 1, 1)))
        self.limits = sample.range
        self.begin()

    def level(self, number: int) -> Level:
        after = self.channels[number]
        channels = [self.channels[number - 1], after, after] if number else [after, after]
        image = EqualizedConv2d(after, self.signature.output.shape[0], 1)
        return Level(channels, image, pixel_norm=True)

    def forward(self, z: Tensor) -> Tensor:
        x = normalized(leaky_relu(self.dense(normalized(z)).unflatten(1, self.shape) + self.bias, 0.2))
        before = x
        for number, level in enumerate(self.levels):
            before, x = x, level(enlarged(x, 2) if number else x)
        newest, older = self.step_down()
        assert newest.image is not None
        image = newest.image(x)
        if older is not None:
            assert older.image is not None
            image = mixed(enlarged(older.image(before), 2), image, self.alpha)
        image = enlarged(image, self.factor)
        return image if self.training else image.clamp(*self.limits)


class ProGANDiscriminator(Growing, Discriminator):
    """Images [N, C, H, W] to one score each: levels whose maps are halved behind, minibatch deviation, two layers."""

    def __init__(self, config: ProGANConfig, sample: Image) -> None:
        super().__init__(Signature((sample,), Scores()), sample, config)
        last = self.channels[0]
        self.deviation = MinibatchDeviation(config.deviation_group)
        self.convolution = EqualizedConv2d(last + 1, last, 3, gain=GAIN)
        self.hidden = EqualizedLinear(last * prod(self.start), last, gain=GAIN)
        self.score = EqualizedLinear(last, 1)
        self.halved = AvgPool2d()
        self.begin()

    def level(self, number: int) -> Level:
        before = self.channels[number]
        channels = [before, before, self.channels[number - 1]] if number else [before]
        image = EqualizedConv2d(self.signature.inputs[0].shape[0], before, 1, gain=GAIN)
        return Level(channels, image, pixel_norm=False)

    def forward(self, x: Tensor) -> Tensor:
        image = reduced(x, self.factor)
        newest, older = self.step_down()
        assert newest.image is not None
        x = activated(newest.image, image, 1)
        for number in range(len(self.levels) - 1, 0, -1):
            x = self.halved(self.levels[number](x))
            if older is not None and older is self.levels[number - 1]:
                assert older.image is not None
                x = mixed(activated(older.image, self.halved(image), 1), x, self.alpha)
        x = activated(self.convolution, self.deviation(x), 1)
        return self.score(activated(self.hidden, x.flatten(1), 1)).squeeze(1)
