"""StyleGAN3's synthesis network: Fourier features, and layers between whose samples there is one continuous signal."""

from collections.abc import Sequence
from math import ceil, log2, pi, sqrt
from typing import NamedTuple, cast

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn.functional import conv2d, conv_transpose2d, hardtanh, leaky_relu, linear

from ganzoo import Image, OptimizerConfig, Signature, Styles, UserError, full_precision, whole_batch, widened
from ganzoo_plugins.networks.style import EPSILON, GAIN, EqualizedLinear, filtered
from ganzoo_plugins.networks.stylegan2 import Conditions, MappedGenerator, StyleGAN2Config, SynthesisNetwork

__all__ = [
    "Band",
    "FilteredLayer",
    "FourierFeatures",
    "StyleGAN3Config",
    "StyleGAN3Generator",
    "bands",
    "lowpass",
    "resampling",
]

_TAPS = 6
"""Taps of a filter for each sample that it doubles, or halves, the rate by."""

_CLAMP = 256.0
"""What activations are clamped to, as in the authors' code, in all precisions."""

_OUTPUT = 0.25
"""Scale of the images, so that the last layer's are of about unit variance."""


class StyleGAN3Config(StyleGAN2Config):
    """Settings of StyleGAN3; channels are those of the discriminator, and of the generator but for ``rotation``."""

    mixing: float = Field(0.0, ge=0, le=1, description="share of samples with styles of two latents (style mixing)")
    channel_max: int = Field(32, ge=1, description="the most channels of a map")
    layers: int = Field(6, ge=3, description="layers of the synthesis network, behind the Fourier features")
    critical: int = Field(2, ge=1, description="last layers whose cutoff is all that the resolution can hold")
    margin: int = Field(4, ge=2, description="pixels around the map that are computed and cut off in the end")
    rotation: bool = Field(
        False,
        description="configuration R, equivariant to rotation too: 1x1 kernels, radial filters, twice the channels",
    )
    optimizer: OptimizerConfig = Field(
        OptimizerConfig(lr=2.5e-3, betas=(0.0, 0.99)), description="optimizer of both, before lazy regularizers"
    )
    magnitude_decay: float = Field(0.999, ge=0, lt=1, description="decay of the average of the maps' mean squares")


class Band(NamedTuple):
    """What a map of the network holds (arXiv:2106.12423, section 3.2 and appendix C.1); rates are a unit of length."""

    cutoff: float
    """The frequency up to which signals pass."""
    half_width: float
    """How far from there they are stopped."""
    rate: int
    """Samples of a unit of length, which the image has one of in each direction."""
    size: int
    """Side of the map, its margins included."""
    channels: int


def bands(config: StyleGAN3Config, sample: Image) -> list[Band]:
    """Return what the maps hold, from the Fourier features to the image: ``config.layers`` + 2 of them.

    Raises :class:`~ganzoo.UserError` for a size that is no power of 2, or below 16.
    """
    size = sample.height
    if size != sample.width or size < 16 or size & (size - 1):
        raise UserError(
            f"this model draws square images of 16, 32, 64 ... pixels a side, not {size}x{sample.width}; resize them, "
            "as with --data folder --set data.size=64"
        )
    if config.critical >= config.layers:
        raise UserError("model.critical is less than model.layers: there are layers whose cutoff rises")
    # Cutoff and stopband rise geometrically: from 2 and 2^2.1 to half of the resolution, and 2^0.3 times that.
    base, most = config.channel_base << config.rotation, config.channel_max << config.rotation
    cutoff, stop = size / 2, size / 2 * 2**0.3
    found = []
    for layer in range(config.layers + 1):
        share = min(layer / (config.layers - config.critical), 1)
        passed, stopped = 2 * (cutoff / 2) ** share, 2**2.1 * (stop / 2**2.1) ** share
        rate = 1 << ceil(log2(min(2 * stopped, size)))
        side = size if layer >= config.layers - 1 else rate + 2 * config.margin
        channels = max(round(min(base / 2 / passed, most)), 1)
        found.append(Band(passed, max(stopped, rate / 2) - passed, rate, side, channels))
    image = found[-1]._replace(channels=sample.channels)
    return [found[0], *found[:-1], image]


def lowpass(taps: int, cutoff: float, width: float, rate: float, *, radial: bool = False) -> Tensor:
    """Return a low-pass filter, float64, whose sum is 1: [taps], or [taps, taps] that is ``radial``ly symmetric.

    The ideal one within a Kaiser window, whose attenuation follows from the ``width`` of the transition band
    (arXiv:2106.12423, appendix C.2); one tap is no filter.
    """
    if taps == 1:
        return torch.ones(1, dtype=torch.float64)
    attenuation = 2.285 * (taps - 1) * pi * width / (rate / 2) + 7.95
    beta = 0.0
    if attenuation > 50:
        beta = 0.1102 * (attenuation - 8.7)
    elif attenuation > 21:
        beta = 0.5842 * (attenuation - 21) ** 0.4 + 0.07886 * (attenuation - 21)
    window = torch.kaiser_window(taps, periodic=False, beta=beta, dtype=torch.float64)
    at = (torch.arange(taps, dtype=torch.float64) - (taps - 1) / 2) / rate
    if radial:
        r = torch.hypot(at[:, None], at)  # nowhere 0, as the number of taps is even
        taken = torch.special.bessel_j1(2 * pi * cutoff * r) / r * torch.outer(window, window)
    else:
        taken = torch.sinc(2 * cutoff * at) * window
    return taken / taken.sum()


class Resampling(NamedTuple):
    """How a layer goes to a higher rate for its nonlinearity, and from there to the rate of its map."""

    factors: tuple[int, int]
    up: Tensor
    down: Tensor


def resampling(config: StyleGAN3Config, maps: Sequence[Band], layer: int) -> Resampling:
    """Return the rates and the filters of a layer, float64; the layer of the image has none."""
    before, after = maps[layer : layer + 2]
    image, critical = layer == config.layers, layer >= config.layers - config.critical
    rate = max(before.rate, after.rate) * (1 if image else 2)
    factors = rate // before.rate, rate // after.rate
    taps = [1 if image or factor == 1 else _TAPS * factor for factor in factors]
    radial = config.rotation and not critical
    up = lowpass(taps[0], before.cutoff, 2 * before.half_width, rate)
    return Resampling(factors, up, lowpass(taps[1], after.cutoff, 2 * after.half_width, rate, radial=radial))


class FourierFeatures(nn.Module):
    """Styles [N, D] to the first map [N, C, H, W]: waves of all directions, turned and moved by a learned transform.

    The frequencies are drawn once, uniformly from the circular band up to the cutoff; those that the transform makes
    too high for the map fade out (arXiv:2106.12423, section 3 and appendix F).
    """

    frequencies: Tensor
    phases: Tensor
    places: Tensor

    def __init__(self, style_dim: int, band: Band) -> None:
        super().__init__()
        frequencies = torch.randn(band.channels, 2)
        radii = frequencies.square().sum(1, keepdim=True).sqrt()
        self.register_buffer("frequencies", frequencies / (radii * radii.square().exp() ** 0.25) * band.cutoff)
        self.register_buffer("phases", torch.rand(band.channels) - 0.5)
        at = ((torch.arange(band.size) + 0.5) / band.size - 0.5) * (band.size / band.rate)
        y, x = torch.meshgrid(at, at, indexing="ij")
        self.register_buffer("places", torch.stack([x, y], 2), persistent=False)  # [H, W, 2]
        self.weight = nn.Parameter(torch.randn(band.channels, band.channels))
        # At first the transform of all styles is the identity: cosine and sine, and the shift.
        self.affine = EqualizedLinear(style_dim, 4)
        assert self.affine.bias is not None
        with torch.no_grad():
            self.affine.weight.zero_()
            self.affine.bias.copy_(torch.tensor([1.0, 0.0, 0.0, 0.0]))
        self.cutoff, self.highest = band.cutoff, band.rate / 2

    def forward(self, w: Tensor) -> Tensor:
        """Return the map."""
        with full_precision(w.device):  # phases of many turns
            affine = widened(self.affine(w))
            affine = affine / affine[:, :2].square().sum(1, keepdim=True).sqrt()
            cosine, sine, right, down = affine[:, :, None].unbind(1)  # [N, 1]
            across, along = self.frequencies.unbind(1)  # [C]
            turned = torch.stack([across * cosine + along * sine, along * cosine - across * sine], 1)  # [N, 2, C]
            phases = self.phases - turned[:, 0] * right - turned[:, 1] * down
            amplitudes = 1 - (turned.square().sum(1).sqrt() - self.cutoff) / (self.highest - self.cutoff)
            angles = (self.places.flatten(0, 1) @ turned).unflatten(1, self.places.shape[:2]) + phases[:, None, None]
            waves = (2 * pi * angles).sin() * amplitudes.clamp(0, 1)[:, None, None]
            return linear(waves, self.weight / sqrt(len(self.weight))).permute(0, 3, 1, 2)


class FilteredLayer(nn.Module):
    """A modulated convolution, bias, and a leaky ReLU at a higher rate: maps [N, I, h, w] and styles to [N, O, H, W].

    The nonlinearity would make frequencies that the map cannot hold, so the signal is sampled more densely before it
    and filtered behind it (arXiv:2106.12423, section 3.1). ``image`` has a 1x1 kernel, and neither demodulation nor
    nonlinearity. Maps are divided by the root of their running mean square ``magnitude``, which follows in passes
    of a training that have no gradient: those of the discriminator's step.
    """

    magnitude: Tensor
    up: Tensor
    down: Tensor

    def __init__(self, config: StyleGAN3Config, maps: Sequence[Band], layer: int) -> None:
        super().__init__()
        before, after = maps[layer : layer + 2]
        self.image, self.decay = layer == config.layers, config.magnitude_decay
        kernel = 1 if self.image or config.rotation else 3
        self.affine = EqualizedLinear(config.style_dim, before.channels, bias=1.0)
        self.weight = nn.Parameter(torch.randn(after.channels, before.channels, kernel, kernel))
        self.bias = nn.Parameter(torch.zeros(after.channels))
        self.register_buffer("magnitude", torch.ones(()))
        self.factors, up, down = resampling(config, maps, layer)
        # Of the zeros between the samples the factor makes up for, once along each axis. The gain of the leaky ReLU is
        # here too, as it costs nothing: a leaky ReLU of a multiple is the multiple of it.
        self.register_buffer("up", up.float() * self.factors[0] * sqrt(GAIN), persistent=False)
        self.register_buffer("down", down.float(), persistent=False)
        # Samples lie in the middle of their pixels, and so the next map in the middle of the signal at the higher rate
        # (appendix C.3), of which no more is computed than that map needs.
        given = (before.size + kernel - 2) * self.factors[0] + len(up)
        self.cropped = (given - (after.size - 1) * self.factors[1] - len(down)) // 2

    def forward(self, x: Tensor, w: Tensor) -> Tensor:
        """Return the next map."""
        style = widened(self.affine(w))
        if self.training and not torch.is_grad_enabled():
            square = whole_batch(widened(x).square().flatten(1).mean(1)).mean()
            self.magnitude.copy_(torch.lerp(square, self.magnitude, self.decay))
        gain, weight = self.magnitude.rsqrt(), cast(Tensor, self.weight)
        if self.image:
            style = style / sqrt(weight.shape[1])
        else:
            with full_precision(x.device):  # sums of squares over many weights
                weight = weight * (weight.square().mean((1, 2, 3), keepdim=True)).rsqrt()
                style = style * (style.square().mean(1, keepdim=True) + EPSILON).rsqrt()
                scale = (linear(style.square(), weight.square().sum((2, 3))) + EPSILON).rsqrt()[:, :, None, None]
        x = conv2d(x * (style * gain)[:, :, None, None], weight, padding=weight.shape[2] - 1)
        if self.image:
            return (x + self.bias[:, None, None]).clamp(-_CLAMP, _CLAMP)
        x, factors = x * scale + self.bias[:, None, None], self.factors
        x = filtered(x, self.up, conv_transpose2d, stride=factors[0], padding=self.cropped)
        return filtered(hardtanh(leaky_relu(x, 0.2), -_CLAMP, _CLAMP), self.down, stride=factors[1])


class AliasFreeSynthesis(SynthesisNetwork):
    """Styles [N, L, D], the first for the Fourier features and one for each layer, to images [N, C, H, W].

    Nothing bounds the images; outside of training they are clamped to the range.
    """

    def __init__(self, config: StyleGAN3Config, sample: Image) -> None:
        maps = bands(config, sample)
        self.num_styles = len(maps)
        super().__init__(Signature((Styles(self.num_styles, config.style_dim),), sample))
        self.input = FourierFeatures(config.style_dim, maps[0])
        self.layers = nn.ModuleList(FilteredLayer(config, maps, layer) for layer in range(config.layers + 1))
        self.limits = sample.range

    def forward(self, w: Tensor) -> Tensor:
        first, *others = w.unbind(1)
        x = self.input(first)
        for layer, style in zip(self.layers, others, strict=True):
            x = cast(FilteredLayer, layer)(x, style)
        x = x * _OUTPUT
        return x if self.training else x.clamp(*self.limits)


class StyleGAN3Generator(MappedGenerator):
    """Latents [N, L], and conditions, to images [N, C, H, W]: StyleGAN2's mapping network, an alias-free synthesis."""

    def __init__(self, config: StyleGAN3Config, sample: Image, conditions: Conditions = ()) -> None:
        super().__init__(config, config.layers + 2, sample, conditions)
        self.synthesis = AliasFreeSynthesis(config, sample)
