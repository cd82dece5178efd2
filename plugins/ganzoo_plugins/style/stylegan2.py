"""StyleGAN2: a generator whose convolutions are modulated by styles, trained with lazy regularization."""

from collections.abc import Mapping
from math import sqrt
from typing import Any

import torch
from torch import Tensor, nn

from ganzoo import (
    AdversarialTrainer,
    Attributes,
    DataSpec,
    Discriminator,
    Generate,
    Generator,
    GeneratorRegularizer,
    Image,
    Label,
    Loss,
    Network,
    OptimizerConfig,
    Regularizer,
    draw_latent,
    whole_batch,
)
from ganzoo_plugins.networks.stylegan2 import (
    MappedGenerator,
    StyleGAN2Config,
    StyleGAN2Discriminator,
    StyleGAN2Generator,
)

__all__ = ["StyleGAN2"]

MEAN_DECAY = 0.998
"""Decay of the moving average of w, for each step of the discriminator."""

_AUTHORS = {
    "optimizer": {"lr": 2.5e-3},
    "latent_dim": 512,
    "style_dim": 512,
    "channel_base": 16384,
    "channel_max": 512,
}
"""What the authors' networks of up to 256x256 have in common."""

_PENALTIES = {"generator": GeneratorRegularizer, "discriminator": Regularizer}


class StyleGAN2(AdversarialTrainer[StyleGAN2Config]):
    """Analyzing and Improving the Image Quality of StyleGAN (arXiv:1912.04958), with adaptive augmentation at hand
    (Training Generative Adversarial Networks with Limited Data, arXiv:2006.06676).

    A generator with skip connections and a residual discriminator, both with FIR-filtered resampling; the
    non-saturating loss, R1 every 16 and path length regularization every 4 steps, with the optimizers' settings
    corrected for it (appendix B); style mixing.

    The defaults are small networks for a CPU, with twice the authors' learning rate and R1's gamma at 1. Settings of
    the authors: ``auto`` (here for 64x64), ``cifar`` and ``paper256``. In ``auto`` gamma follows their rule, 0.0002
    times the pixels of an image over the samples of a step, and the run's config.toml has its value; on small images,
    with small networks, it is so small that the discriminator wins. With ``model.conditional`` labels or attributes of
    the data are the condition.

    Images of any number of channels, of the sizes that ``num_downsamples`` allows. Batches are multiples of
    ``model.deviation_group``.
    """

    generator: MappedGenerator
    discriminator: StyleGAN2Discriminator
    defaults = {
        "steps": 10_000,
        "batch_size": 32,
        "ema": 0.998,
        "loss": {"name": "non_saturating"},
        "regularizer": {"r1": {"weight": 1.0, "interval": 16}, "path_length": {"weight": 2.0, "interval": 4}},
        "data": {"name": "shapes", "condition": "none"},
    }
    presets = {
        "auto": {
            "batch_size": 64,
            "ema": {"halflife": 20_000, "rampup": 0.05},
            "regularizer": {"r1": {"weight": None}},
            "data": {"name": "shapes", "image_size": 64, "condition": "none"},
            "model": _AUTHORS,
        },
        "cifar": {
            "steps": 1_562_500,
            "batch_size": 64,
            "ema": {"halflife": 500_000, "rampup": 0.05},
            "regularizer": {"r1": {"weight": 0.01, "interval": 16}, "path_length": {"weight": 0.0, "interval": 4}},
            "model": {**_AUTHORS, "mixing": 0.0, "deviation_group": 32},
        },
        "paper256": {
            "steps": 390_625,
            "batch_size": 64,
            "ema": {"halflife": 20_000},
            "regularizer": {"r1": {"weight": 1.0, "interval": 16}, "path_length": {"weight": 2.0, "interval": 4}},
            "model": {**_AUTHORS, "mapping_layers": 8, "deviation_group": 8},
        },
    }

    def __init__(
        self,
        config: StyleGAN2Config,
        data: DataSpec,
        loss: Loss | None,
        regularizers: Mapping[str, Regularizer | GeneratorRegularizer],
    ) -> None:
        super().__init__(config, data, loss, regularizers)
        self.batch_multiple = config.pack * config.deviation_group

    def conditions_in(self, data: DataSpec) -> tuple[Label | Attributes, ...]:
        """Return all labels and attributes of the data, if the settings say so."""
        return data.conditions if self.config.conditional else ()

    @classmethod
    def regularizer_settings(cls, data: DataSpec, samples: int) -> Mapping[str, Mapping[str, Any]]:
        """Return R1's gamma by the rule of the authors' configuration ``auto`` (arXiv:2006.06676)."""
        _, height, width = data.sample.shape
        return {"r1": {"weight": 0.0002 * height * width / samples}}

    def optimizer_settings(self, network: str) -> OptimizerConfig:
        """Return the settings for an optimizer that takes further steps, those of the lazy regularizers.

        With k steps of the loss among k + 1, rate and decay are what gives k + 1 steps the effect of k
        (arXiv:1912.04958, appendix B).
        """
        settings, kind = super().optimizer_settings(network), _PENALTIES[network]
        for each in self.regularizers.values():
            k = each.config.interval
            if isinstance(each, kind) and k > 1:
                assert settings.betas is not None
                lr, (first, second), share = settings.lr, settings.betas, k / (k + 1)
                settings = settings.model_copy(update={"lr": lr * share, "betas": (first**share, second**share)})
        return settings

    def build_generator(self, sample: Image) -> Generator:
        return StyleGAN2Generator(self.config, sample, self.conditions)

    def build_discriminator(self, sample: Image) -> Discriminator:
        return StyleGAN2Discriminator(self.config, sample, self.conditions)

    def generate(self, n: int, condition: tuple[Tensor, ...]) -> Tensor:
        """Return ``n`` samples, some of which have styles of a second latent from some layer on."""
        return self.generator.synthesis(self._styles(n, condition))

    def _styles(self, n: int, condition: tuple[Tensor, ...]) -> Tensor:
        """Return the styles of ``n`` samples for each layer [N, L, D]."""
        network, device, count = self.generator, self.device, self.generator.synthesis.num_styles
        w = network.mapping(draw_latent(network, n, device), *condition)
        if not torch.is_grad_enabled():
            # In the discriminator's step, as in the authors' code.
            network.mapping.mean.lerp_(whole_batch(w).mean(0), 1 - MEAN_DECAY)
        styles = w.unsqueeze(1).expand(-1, count, -1)
        if self.config.mixing:
            other = network.mapping(draw_latent(network, n, device), *condition)
            mixed = torch.rand(n, 1, 1, device=device) < self.config.mixing
            first = torch.randint(1, count, (n, 1, 1), device=device)
            later = torch.arange(count, device=device)[:, None] >= first
            styles = torch.where(mixed & later, other.unsqueeze(1), styles)
        return styles

    def differentiated(self, condition: tuple[Tensor, ...], n: int) -> tuple[Generate, Tensor]:
        """Return the synthesis network as a function of the layers' styles times sqrt(L), for half a batch.

        So the squared length is the mean over the L layers of that with respect to each one's style, as in the authors'
        code. The weight that the paper gives for its equation 4, 1 / (log2 r - 1) at resolution r, is 2 / L: of their
        sum.
        """
        half = max(n // 2, 1)
        styles = self._styles(half, tuple(each[:half] for each in condition))
        scale = sqrt(styles.shape[1])
        return lambda scaled: self.generator.synthesis(scaled / scale), styles * scale

    def exports(self, networks: Mapping[str, nn.Module]) -> Mapping[str, Network]:
        """Return the generator, and apart its mapping and its synthesis network."""
        generator = networks["generator"]
        assert isinstance(generator, MappedGenerator)
        return {"generator": generator, "mapping": generator.mapping, "synthesis": generator.synthesis}
