"""BEGAN: the discriminator is an autoencoder that is to reconstruct real images well and generated ones badly."""

from math import prod, sqrt
from typing import Any

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.autograd import Function

from ganzoo import (
    AdversarialConfig,
    AdversarialTrainer,
    Batch,
    Discriminator,
    Generator,
    Image,
    Latent,
    OptimizerConfig,
    Scores,
    Signature,
    draw_latent,
    full_precision,
    whole_batch,
    widened,
)
from ganzoo_plugins.networks.layers import same_conv2d
from ganzoo_plugins.networks.sizes import num_downsamples

__all__ = ["BEGAN", "BEGANConfig", "BEGANDiscriminator", "BEGANGenerator", "repelling"]

_SMALLEST = 7


class BEGANConfig(AdversarialConfig):
    """Settings of BEGAN."""

    width: int = Field(
        16,
        ge=1,
        description="channels of the decoder, and of the encoder's first map: 2, 3 ... times as many further on",
    )
    repeat: int = Field(1, ge=1, description="convolutions at each size")
    latent_dim: int = Field(12, ge=1, description="size of the latent and of the autoencoder's code; 64 in the paper")
    repel: float = Field(
        0.1, ge=0, description="weight of the term that keeps the codes of generated images apart; 0: as in the paper"
    )
    optimizer: OptimizerConfig = Field(OptimizerConfig(lr=1.5e-3), description="optimizer of both")


class ELU(nn.ELU):
    """ELU with exp(x) - 1 for expm1(x), which takes seven times as long on a CPU; they differ by some 1e-7."""

    def forward(self, x: Tensor) -> Tensor:
        if x.device.type != "cpu" or torch.compiler.is_compiling():
            return super().forward(x)
        return _ELU.apply(x)


class _ELU(Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        y = torch.maximum(x, x.clamp_max(0).exp_().sub_(1))
        ctx.save_for_backward(y)
        return y

    @staticmethod
    def backward(ctx: Any, dy: Tensor) -> Tensor:
        (y,) = ctx.saved_tensors
        return dy * (y.clamp_max(0) + 1)


class BEGANGenerator(Generator):
    """Latent [N, L], uniform in [-1, 1], to images [N, C, H, W].

    The network that is also the discriminator's decoder.
    """

    def __init__(self, config: BEGANConfig, sample: Image) -> None:
        super().__init__(Signature((Latent((config.latent_dim,), "uniform"),), sample))
        self.body = _decoder(config, sample)
        # torch's own start shrinks the signal at every layer, until all latents draw nearly the same image.
        self.body.apply(_initialize)
        self.limits = sample.range

    def forward(self, z: Tensor) -> Tensor:
        images = self.body(z)
        return images if self.training else images.clamp(*self.limits)


class BEGANDiscriminator(Discriminator):
    """An autoencoder; an image's score is minus the mean absolute error of its reconstruction."""

    reconstructs = True

    def __init__(self, config: BEGANConfig, sample: Image) -> None:
        super().__init__(Signature((sample,), Scores()))
        self.encoder = _encoder(config, sample)
        self.decoder = _decoder(config, sample)

    def reconstruct(self, x: Tensor) -> Tensor:
        """Map [N, C, H, W] to the code and back."""
        return self.decoder(self.encoder(x))

    def scores_and_codes(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Map [N, C, H, W] to scores [N] and codes [N, L]."""
        codes = widened(self.encoder(x))
        return -(self.decoder(codes) - x).abs().mean((1, 2, 3)), codes

    def forward(self, x: Tensor) -> Tensor:
        """Map [N, C, H, W] to scores [N], none of them above 0."""
        return self.scores_and_codes(x)[0]


class BEGAN(AdversarialTrainer[BEGANConfig]):
    """BEGAN: Boundary Equilibrium Generative Adversarial Networks (arXiv:1703.10717).

    3x3 convolutions with ELU; the encoder's channels grow linearly and its maps are subsampled by convolutions of
    stride 2; nearest-neighbor upsampling; linear layers without a non-linearity to and from the code. The generator
    is a second decoder. The paper's optional skip connections are left out. As in the paper, nothing bounds what a
    decoder draws; outside of training the generator's images are clamped to the range. With a bounded activation the
    autoencoder is stuck at black images. Pixels are 0 to 1, so that black is the zero of a linear layer.

    The balance is one of mean errors, and what is sparse is easily reconstructed: with balance k the autoencoder gains
    from spoiling a kind of image only if the generator draws it more than 1/k times as often as the data has it. On
    digits k falls to 0.1 or less, and all samples become ones. So by default the generator is also to keep the codes
    of its images apart: the repelling term of Energy-based Generative Adversarial Networks (arXiv:1609.03126, section
    2.4), the mean squared cosine between two codes of a batch. The code has 12 numbers, of which digits need no more:
    with the paper's 64 the autoencoder reconstructs blobs as well, and the generator draws them. The ratio gamma is 0.9
    for 0.5, and k moves faster, as training is short. The preset ``paper`` is the paper's in all of this, with its two
    convolutions at each size, batch size and learning rate.

    Images of any number of channels, of the sizes that ``num_downsamples`` allows; they are
    downsampled to maps of 7 to 16 pixels a side, as 8x8 in the paper.
    """

    discriminator: BEGANDiscriminator
    pixel_range = (0.0, 1.0)
    defaults = {
        "steps": 11_000,
        "batch_size": 32,
        "ema": 0.998,
        "lr_schedule": "linear",
        "lr_warmup": 100,
        "loss": {"name": "began", "gamma": 0.9, "lambda_k": 0.01},
        "data": {"name": "mnist5k"},
    }
    presets = {
        "paper": {
            "steps": 200_000,
            "batch_size": 16,
            "ema": 0.999,
            "lr_warmup": 0,
            "loss": {"name": "began", "gamma": 0.5, "lambda_k": 0.001},
            "model": {"repel": 0.0, "width": 64, "repeat": 2, "latent_dim": 64, "optimizer": {"lr": 1e-4}},
        }
    }

    def build_generator(self, sample: Image) -> Generator:
        return BEGANGenerator(self.config, sample)

    def build_discriminator(self, sample: Image) -> Discriminator:
        return BEGANDiscriminator(self.config, sample)

    def generator_loss(self, batch: Batch) -> dict[str, Tensor]:
        """Return what the generator minimizes."""
        real = batch[self.data.sample.name]
        fake = self.shown(self.generator(draw_latent(self.generator, len(real), self.device)))
        scores, codes = self.discriminator.scores_and_codes(fake)
        loss = self.loss.generator(scores, self.score(self.shown(real), ()) if self.loss.needs_real else None)
        if not self.config.repel:
            return self.with_penalties(loss, batch)
        with full_precision(codes.device):
            similarity = repelling(whole_batch(codes))
        results = self.with_penalties(loss + self.config.repel * similarity, batch)
        return {**results, "similarity": similarity.detach()}


def repelling(codes: Tensor) -> Tensor:
    """Return the mean squared cosine of the angles between two codes, [N, L], of a batch."""
    cosines = nn.functional.normalize(codes, dim=1) @ nn.functional.normalize(codes, dim=1).T
    n = len(codes)
    return (cosines.square().sum() - n) / max(n * (n - 1), 1)


def _scales(sample: Image) -> tuple[int, int, int]:
    """Return the number of downsampling steps, and height and width of the innermost map."""
    count, (height, width) = num_downsamples(sample)
    # Maps of 4 to 6 pixels are left at twice that size, which the paper stops at.
    return (count - 1, 2 * height, 2 * width) if min(height, width) < _SMALLEST else (count, height, width)


def _encoder(config: BEGANConfig, sample: Image) -> nn.Sequential:
    count, height, width = _scales(sample)
    channels = config.width
    layers = [*_repeated(config.repeat, sample.channels, channels)]
    for index in range(count):
        before, channels = channels, (index + 2) * config.width
        layers += [nn.Conv2d(before, channels, 3, stride=2, padding=1), ELU()]
        layers += _repeated(config.repeat, channels, channels)
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(channels * height * width, config.latent_dim))


def _decoder(config: BEGANConfig, sample: Image) -> nn.Sequential:
    count, height, width = _scales(sample)
    channels = config.width
    layers: list[nn.Module] = [
        nn.Linear(config.latent_dim, channels * height * width),
        nn.Unflatten(1, (channels, height, width)),
        *_repeated(config.repeat, channels, channels),
    ]
    for _ in range(count):
        layers += [nn.UpsamplingNearest2d(scale_factor=2), *_repeated(config.repeat, channels, channels)]
    return nn.Sequential(*layers, same_conv2d(channels, sample.channels, 3))


def _repeated(count: int, inputs: int, outputs: int) -> list[nn.Module]:
    """Convolutions that keep the size, each with its ELU."""
    layers: list[nn.Module] = []
    for index in range(count):
        layers += [same_conv2d(outputs if index else inputs, outputs, 3), ELU()]
    return layers


def _initialize(module: nn.Module) -> None:
    """Draw weights that keep the variance from layer to layer, 1.25 being the gain of ELU, and set biases to 0."""
    if isinstance(module, nn.Conv2d | nn.Linear):
        nn.init.normal_(module.weight, std=1.25 / sqrt(prod(module.weight.shape[1:])))
        assert module.bias is not None
        nn.init.zeros_(module.bias)
