"""StyleGAN2's networks: a mapping network, a synthesis network of modulated convolutions, a residual discriminator."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from itertools import pairwise
from math import sqrt

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn.functional import leaky_relu

from ganzoo import (
    AdversarialConfig,
    Attributes,
    Discriminator,
    Image,
    Label,
    Latent,
    Network,
    OptimizerConfig,
    Scores,
    Signature,
    StyleGenerator,
    Styles,
)
from ganzoo_plugins.networks.condition import OneHot
from ganzoo_plugins.networks.sizes import num_downsamples
from ganzoo_plugins.networks.style import (
    GAIN,
    EqualizedConv2d,
    EqualizedLinear,
    Filter,
    MinibatchDeviation,
    ModulatedConv2d,
    activated,
    channels_of,
    normalized,
)

__all__ = [
    "MappedGenerator",
    "MappingNetwork",
    "ResidualDown",
    "StyleGAN2Config",
    "StyleGAN2Discriminator",
    "StyleGAN2Generator",
    "StyledLayer",
    "Synthesis",
    "SynthesisBlock",
    "SynthesisNetwork",
    "ToImage",
]

Conditions = Sequence[Label | Attributes]


class StyleGAN2Config(AdversarialConfig):
    """Settings of StyleGAN2."""

    latent_dim: int = Field(128, ge=1, description="size of the latent z")
    style_dim: int = Field(128, ge=1, description="size of w, which the mapping network makes of z")
    mapping_layers: int = Field(2, ge=1, description="layers of the mapping network")
    channel_base: int = Field(512, ge=1, description="channels times resolution, as long as channel_max is not reached")
    channel_max: int = Field(64, ge=1, description="the most channels of a map")
    mixing: float = Field(0.9, ge=0, le=1, description="share of samples with styles of two latents (style mixing)")
    deviation_group: int = Field(4, ge=1, description="samples that a minibatch deviation is taken over")
    conditional: bool = Field(False, description="draw samples for the labels or attributes of the data")
    optimizer: OptimizerConfig = Field(
        OptimizerConfig(lr=5e-3, betas=(0.0, 0.99)), description="optimizer of both, before lazy regularizers"
    )


class MappingNetwork(Network):
    """Latents [N, L] and conditions to styles w [N, D]: fully connected layers that learn at 1% of the rate.

    With ``latent_dim`` 0 it maps conditions alone. ``mean`` is the moving average of w, which truncation goes towards.
    """

    mean: Tensor

    def __init__(self, latent_dim: int, style_dim: int, layers: int, conditions: Conditions = ()) -> None:
        inputs = [Latent((latent_dim,))] if latent_dim else []
        super().__init__(Signature((*inputs, *conditions), Latent((style_dim,), name="w")))
        self.latent = latent_dim
        self.encode = OneHot(conditions) if conditions else None
        if self.encode is not None:
            self.embed = EqualizedLinear(self.encode.size, style_dim)
        sizes = [latent_dim + style_dim * (self.encode is not None), *[style_dim] * layers]
        self.layers = nn.ModuleList(EqualizedLinear(*pair, rate=0.01) for pair in pairwise(sizes))
        self.register_buffer("mean", torch.zeros(style_dim))

    def forward(self, *inputs: Tensor) -> Tensor:
        parts = [normalized(inputs[0])] if self.latent else []
        if self.encode is not None:
            parts.append(normalized(self.embed(self.encode(*inputs[len(parts) :]))))
        x = torch.cat(parts, 1)
        for layer in self.layers:
            x = activated(layer, x)
        return x


class StyledLayer(nn.Module):
    """A modulated 3x3 convolution, noise of a learned strength, bias, and leaky ReLU: [N, I, H, W] to [N, O, H', W'].

    Noise is drawn anew in training; outside of it, it is the same for all samples, as in the authors' code.
    """

    noise: Tensor

    def __init__(self, style_dim: int, inputs: int, outputs: int, size: tuple[int, int], up: bool) -> None:
        super().__init__()
        self.affine = EqualizedLinear(style_dim, inputs, bias=1.0)
        self.convolution = ModulatedConv2d(inputs, outputs, 3, up=up)
        self.strength = nn.Parameter(torch.zeros(()))
        self.bias = nn.Parameter(torch.zeros(outputs))
        self.register_buffer("noise", torch.randn(size))

    def forward(self, x: Tensor, w: Tensor) -> Tensor:
        # The gain of the leaky ReLU is that of the three terms, as in ``activated``. All have the precision of the map:
        # with one of float32 it became that, and each pass from there on took several times as long.
        x = self.convolution(x, self.affine(w), GAIN)
        noise = torch.randn(x.shape[0], 1, *x.shape[2:], device=x.device) if self.training else self.noise
        noise, bias = noise * (self.strength * GAIN), self.bias[:, None, None] * GAIN
        return leaky_relu(x + noise.to(x.dtype) + bias.to(x.dtype), 0.2)


class ToImage(nn.Module):
    """A modulated 1x1 convolution without demodulation to the channels of the image."""

    def __init__(self, style_dim: int, inputs: int, channels: int) -> None:
        super().__init__()
        self.affine = EqualizedLinear(style_dim, inputs, bias=1.0)
        self.convolution = ModulatedConv2d(inputs, channels, 1, demodulate=False)
        self.bias = nn.Parameter(torch.zeros(channels))
        self.scale = 1 / sqrt(inputs)

    def forward(self, x: Tensor, w: Tensor) -> Tensor:
        return self.convolution(x, self.affine(w), self.scale) + self.bias[:, None, None]


class SynthesisBlock(nn.Module):
    """The layers of one resolution, and what they add to the image; ``styles`` is how many styles they take."""

    def __init__(self, style_dim: int, before: int, after: int, size: tuple[int, int], image: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList([StyledLayer(style_dim, after, after, size, up=False)])
        if before:
            self.layers.insert(0, StyledLayer(style_dim, before, after, size, up=True))
        self.to_image = ToImage(style_dim, after, image)
        self.doubled = Filter("up", gain=4)

    def forward(self, x: Tensor, image: Tensor | None, styles: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        for layer, w in zip(self.layers, styles, strict=False):
            x = layer(x, w)
        added = self.to_image(x, styles[len(self.layers)])
        return x, added if image is None else self.doubled(image) + added


class SynthesisNetwork(Network, ABC):
    """Styles [N, L, D], one for each of its ``num_styles`` layers, to images [N, C, H, W]."""

    num_styles: int

    @abstractmethod
    def forward(self, w: Tensor) -> Tensor:
        """Return the images."""


class Synthesis(SynthesisNetwork):
    """Styles [N, L, D], one for each layer, to images [N, C, H, W]: a learned constant, then blocks that double it.

    The images of all resolutions are added up (skip connections). Nothing bounds them; outside of training they are
    clamped to the range.
    """

    def __init__(self, config: StyleGAN2Config, sample: Image) -> None:
        count, start = num_downsamples(sample)
        channels = channels_of(config.channel_base, config.channel_max, count)[::-1]
        self.num_styles = 2 * count + 2
        super().__init__(Signature((Styles(self.num_styles, config.style_dim),), sample))
        self.constant = nn.Parameter(torch.randn(channels[0], *start))
        self.blocks = nn.ModuleList(
            SynthesisBlock(config.style_dim, before, after, (start[0] << level, start[1] << level), sample.channels)
            for level, (before, after) in enumerate(pairwise([0, *channels]))
        )
        self.limits = sample.range

    def forward(self, w: Tensor) -> Tensor:
        styles = w.unbind(1)
        # One start map for all samples: the first layer's styles make it N.
        x, image, first = self.constant[None], None, 0
        for block in self.blocks:
            assert isinstance(block, SynthesisBlock)
            # The last style of a block is also the first of the next.
            x, image = block(x, image, styles[first : first + len(block.layers) + 1])
            first += len(block.layers)
        assert image is not None
        return image if self.training else image.clamp(*self.limits)


class MappedGenerator(StyleGenerator):
    """Latents [N, L], and conditions, to images [N, C, H, W]: one style for all ``styles`` of a synthesis network.

    A subclass makes that, ``synthesis``.
    """

    synthesis: SynthesisNetwork

    def __init__(self, config: StyleGAN2Config, styles: int, sample: Image, conditions: Conditions = ()) -> None:
        super().__init__((Latent((config.latent_dim,)), *conditions), styles, config.style_dim, sample)
        self.mapping = MappingNetwork(config.latent_dim, config.style_dim, config.mapping_layers, conditions)

    @property
    def means(self) -> Mapping[str, Tensor]:
        return {"w": self.mapping.mean}

    def mapped(self, *inputs: Tensor) -> Tensor:
        w: Tensor = self.mapping(*inputs)
        return w.unsqueeze(1).expand(-1, self.synthesis.num_styles, -1)

    def drawn(self, styles: Tensor) -> Tensor:
        return self.synthesis(styles)


class StyleGAN2Generator(MappedGenerator):
    """The generator with skip connections."""

    def __init__(self, config: StyleGAN2Config, sample: Image, conditions: Conditions = ()) -> None:
        super().__init__(config, 2 * num_downsamples(sample)[0] + 2, sample, conditions)
        self.synthesis = Synthesis(config, sample)

    @property
    def noises(self) -> Mapping[str, Tensor]:
        return {name: each for name, each in self.named_buffers() if name.endswith(".noise")}


class ResidualDown(nn.Module):
    """Two convolutions, the second to half the size, and a 1x1 convolution around them: [N, I, H, W] to half of it."""

    def __init__(self, before: int, after: int) -> None:
        super().__init__()
        self.first = EqualizedConv2d(before, before, 3)
        self.second = EqualizedConv2d(before, after, 3, resample="down")
        self.skip = EqualizedConv2d(before, after, 1, gain=sqrt(0.5), bias=False, resample="down")

    def forward(self, x: Tensor) -> Tensor:
        return activated(self.second, activated(self.first, x), GAIN * sqrt(0.5)) + self.skip(x)


class StyleGAN2Discriminator(Discriminator):
    """Images [N, C, H, W], and conditions, to one score each: residual blocks, minibatch deviation, projection."""

    def __init__(self, config: StyleGAN2Config, sample: Image, conditions: Conditions = ()) -> None:
        super().__init__(Signature((sample, *conditions), Scores()))
        count, (height, width) = num_downsamples(sample)
        channels = channels_of(config.channel_base, config.channel_max, count)
        last = channels[-1]
        self.from_image = EqualizedConv2d(sample.channels, channels[0], 1)
        self.blocks = nn.Sequential(*(ResidualDown(*pair) for pair in pairwise(channels)))
        self.deviation = MinibatchDeviation(config.deviation_group)
        self.convolution = EqualizedConv2d(last + 1, last, 3)
        self.hidden = EqualizedLinear(last * height * width, last)
        self.mapping = MappingNetwork(0, config.style_dim, config.mapping_layers, conditions) if conditions else None
        self.score = EqualizedLinear(last, config.style_dim if conditions else 1)

    def forward(self, x: Tensor, *conditions: Tensor) -> Tensor:
        x = self.blocks(activated(self.from_image, x))
        x = activated(self.convolution, self.deviation(x))
        x = self.score(activated(self.hidden, x.flatten(1)))
        if self.mapping is None:
            return x.squeeze(1)
        return (x * self.mapping(*conditions)).sum(1) / sqrt(x.shape[1])
