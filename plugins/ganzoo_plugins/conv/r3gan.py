"""R3GAN: the relativistic loss, both zero-centered penalties, and residual networks without any normalization."""

from collections.abc import Mapping, Sequence
from functools import cached_property
from math import ceil, cos, pi
from typing import Any

from ganzoo import (
    AdversarialTrainer,
    Attributes,
    DataSpec,
    Discriminator,
    Generator,
    GeneratorRegularizer,
    Image,
    Label,
    Loss,
    Regularizer,
)
from ganzoo_plugins.networks.r3gan import R3GANConfig, R3GANDiscriminator, R3GANGenerator

__all__ = ["R3GAN"]


_STAIRS = 100
"""Steps in which gamma and Adam's second beta follow their curve, so that CUDA graphs hold between two of them."""


def _authors(
    batch: int, gamma: float, widths: tuple[int, ...], half_life: float, augmented: float, fall: float = 2e7
) -> dict[str, Any]:
    """Return settings of the authors' code, of which half-life and schedules are in images; gamma is the final one."""
    images = 12.5 * fall
    return {
        "steps": round(images / batch),
        "batch_size": batch,
        "ema": {"halflife": half_life, "burn_in": round(fall)},
        "lr_schedule": {"name": "cosine", "end": 0.25, "until": fall / images},
        "lr_warmup": 0,
        "regularizer": {key: {"weight": gamma, "interval": 1} for key in ("r1", "r2")},
        "model": {
            "widths": widths,
            "blocks": 2,
            "group": 32 if widths[0] > 1024 else 16,
            "burn_in": round(fall),
            "optimizer": {"lr": 2e-4, "betas": (0.0, 0.99)},
            "augment": {"policy": "ada", "probability": augmented, "ramp": round(fall)},
        },
    }


def _conditional(settings: dict[str, Any]) -> dict[str, Any]:
    return {**settings, "model": {**settings["model"], "conditional": True}}


class R3GAN(AdversarialTrainer[R3GANConfig]):
    """The GAN is dead; long live the GAN! A Modern GAN Baseline (arXiv:2501.05441).

    The relativistic pairing loss with R1 and R2, and networks (configuration E) without normalization, injected noise,
    mapping network or minibatch statistics: residual blocks of grouped convolutions, bilinear resampling, and a learned
    basis for the smallest map, on either side. As in the paper, nothing bounds the generator's output; outside of
    training it is clamped to the range. A bounded activation saturates on black pixels, and the generator dies.

    The defaults are made for small images and a CPU: one block a stage, few channels, both penalties at every fourth
    step. The preset ``paper`` has the paper's CIFAR-10 settings (two blocks, groups of 16, the gamma that it starts
    with) at a third of its channels. ``cifar``, ``ffhq64``, ``ffhq256``, ``imagenet32`` and ``imagenet64`` have the
    authors' widths, batches and schedules. In the first 20 million images (of ImageNet 200 million), along half a
    cosine, the rate falls to a quarter, gamma to a tenth, the second beta rises from 0.9 to 0.99 and the average's
    half-life from 0; the chance of ``ada``'s augmentations rises in a line there. Then all of them stay. ``cifar`` runs
    for 250 million images as theirs, the others for as many times their burn-in; all but ``cifar`` are for a folder of
    images (``--data folder``), those of ImageNet by class.

    With ``model.conditional`` labels or attributes of the data are the condition, embedded behind the latent and
    multiplied with what the discriminator reads.

    Images of any number of channels, of the sizes that ``num_downsamples`` allows.
    """

    defaults = {
        "steps": 8_000,
        "batch_size": 32,
        "ema": 0.998,
        "lr_schedule": "linear",
        "lr_warmup": 100,
        "loss": {"name": "relativistic"},
        "regularizer": {"r1": {"weight": 3.0, "interval": 4}, "r2": {"weight": 3.0, "interval": 4}},
        "data": {"name": "mnist5k"},
    }
    presets = {
        "cifar": _authors(512, 0.005, (768,), 5e6, 0.55),
        "ffhq64": _authors(256, 0.2, (384, 768), 5e5, 0.3),
        "ffhq256": _authors(256, 15.0, (96, 192, 384, 768), 5e5, 0.3),
        "imagenet32": _conditional(_authors(4096, 0.05, (1536,), 5e7, 0.5, 2e8)),
        "imagenet64": _conditional(_authors(4096, 0.1, (1536,), 5e7, 0.4, 2e8)),
        "paper": {
            "steps": 40_000,
            "batch_size": 512,
            "ema": 0.999,
            "lr_schedule": "cosine",
            "lr_warmup": 0,
            "regularizer": {"r1": {"weight": 0.05, "interval": 1}, "r2": {"weight": 0.05, "interval": 1}},
            "model": {"widths": (256,), "blocks": 2, "group": 16, "optimizer": {"lr": 2e-4}},
        },
    }

    def __init__(
        self,
        config: R3GANConfig,
        data: DataSpec,
        loss: Loss | None,
        regularizers: Mapping[str, Regularizer | GeneratorRegularizer],
    ) -> None:
        super().__init__(config, data, loss, regularizers)
        self._weights = {key: each.config.weight for key, each in self.regularizers.items() if key in ("r1", "r2")}
        self._decays = {name: each.param_groups[0].get("betas") for name, each in self.optimizers.items()}
        if config.burn_in:
            self._move(0)

    def conditions_in(self, data: DataSpec) -> tuple[Label | Attributes, ...]:
        """Return all labels and attributes of the data, if the settings say so."""
        return data.conditions if self.config.conditional else ()

    @cached_property
    def stages(self) -> Sequence[int]:  # type: ignore[override]
        """The steps in which gamma and Adam's second beta move on."""
        steps = max(1, round(self.config.burn_in / self.samples_per_step))
        count = min(_STAIRS, steps) if self.config.burn_in else 0
        return [ceil(steps * stair / count) for stair in range(1, count + 1)]

    def grow(self, stage: int) -> None:
        """Move gamma and Adam's second beta on; networks stay as they are."""
        self._move((stage + 1) / len(self.stages))

    def _move(self, share: float) -> None:
        along = (1 - cos(pi * share)) / 2
        for key, weight in self._weights.items():
            penalty = self.regularizers[key]
            penalty.config = penalty.config.model_copy(update={"weight": weight * (10 - 9 * along)})
        for name, betas in self._decays.items():
            if betas is not None:
                for group in self.optimizers[name].param_groups:
                    group["betas"] = (betas[0], 0.9 + (betas[1] - 0.9) * along)

    def build_generator(self, sample: Image) -> Generator:
        return R3GANGenerator(self.config, sample, self.conditions)

    def build_discriminator(self, sample: Image) -> Discriminator:
        return R3GANDiscriminator(self.config, sample, self.conditions)
