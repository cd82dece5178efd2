"""A progressive GAN for tests: from 4 x 4 pixels to the size of the data, each new level faded in."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any, ClassVar

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d, interpolate, leaky_relu

from ganzoo import (
    AdversarialConfig,
    AdversarialTrainer,
    Batch,
    Discriminator,
    Generator,
    Image,
    Latent,
    Scores,
    Signature,
    UserError,
)


class GrowingConfig(AdversarialConfig):
    width: int = Field(4, ge=1, description="channels")
    first: int = Field(3, ge=1, description="step of the first growth")
    fade: int = Field(4, ge=1, description="steps that a level is faded in over")


class Level(nn.Module):
    """A convolution at one resolution, and the way between its features and an image."""

    def __init__(self, width: int, image: nn.Module) -> None:
        super().__init__()
        self.body, self.image = nn.Conv2d(width, width, 3, padding=1), image


class Grower(Generator):
    def __init__(self, width: int, sample: Image) -> None:
        super().__init__(Signature((Latent((5,)),), sample))
        self.base, self.levels = nn.Linear(5, width * 16), nn.ModuleList()
        self.register_buffer("alpha", torch.ones(()))
        self.add(width)

    def add(self, width: int) -> nn.Module:
        self.levels.append(Level(width, nn.Conv2d(width, self.signature.output.shape[0], 1)))
        return self.levels[-1]

    def forward(self, z: Tensor) -> Tensor:
        x, image = self.base(z).unflatten(1, (-1, 4, 4)), None
        for number, level in enumerate(self.levels):
            x = interpolate(x, scale_factor=2.0) if number else x
            x = leaky_relu(level.body(x), 0.2)
            before, image = image, level.image(x) if number >= len(self.levels) - 2 else None
        if before is not None:
            image = torch.lerp(interpolate(before, scale_factor=2.0), image, self.alpha)
        size = self.signature.output.shape[1] // (4 * 2 ** (len(self.levels) - 1))
        return interpolate(image, scale_factor=float(size)).tanh()


class Shrinker(Discriminator):
    def __init__(self, width: int, sample: Image) -> None:
        super().__init__(Signature((sample,), Scores()))
        self.score, self.levels = nn.Linear(width * 16, 1), nn.ModuleList()
        self.register_buffer("alpha", torch.ones(()))
        self.add(width)

    def add(self, width: int) -> nn.Module:
        self.levels.append(Level(width, nn.Conv2d(self.signature.inputs[0].shape[0], width, 1)))
        return self.levels[-1]

    def forward(self, image: Tensor) -> Tensor:
        size = 4 * 2 ** (len(self.levels) - 1)
        image = avg_pool2d(image, image.shape[-1] // size) if image.shape[-1] > size else image
        last = self.levels[-1]
        x = leaky_relu(last.body(leaky_relu(last.image(image), 0.2)), 0.2)
        for number, level in reversed(list(enumerate(self.levels[:-1]))):
            x = avg_pool2d(x, 2)
            if number == len(self.levels) - 2:
                x = torch.lerp(leaky_relu(level.image(avg_pool2d(image, 2)), 0.2), x, self.alpha)
            x = leaky_relu(level.body(x), 0.2)
        return self.score(x.flatten(1)).squeeze(1)


class Progressive(AdversarialTrainer[GrowingConfig]):
    """Progressive Growing of GANs, arXiv:1710.10196, without its normalizations."""

    defaults: ClassVar[dict[str, Any]] = {
        "steps": 20,
        "batch_size": 8,
        "data": {"name": "digits"},
        "loss": {"name": "non_saturating"},
    }

    def build_generator(self, sample: Image) -> Generator:
        if sample.height != sample.width or sample.height not in (8, 16, 32, 64):
            raise UserError(f"this model draws images of 8x8, 16x16, 32x32 or 64x64, not {sample.shape[1:]}")
        return Grower(self.config.width, sample)

    def build_discriminator(self, sample: Image) -> Discriminator:
        return Shrinker(self.config.width, sample)

    @cached_property
    def stages(self) -> Sequence[int]:  # type: ignore[override]
        levels = (self.data.sample.shape[1] // 4).bit_length() - 1
        return [self.config.first + 2 * self.config.fade * level for level in range(levels)]

    def grow(self, stage: int) -> None:
        for name, network in self.networks.items():
            level: Any = network.add(self.config.width)  # type: ignore[operator]
            self.optimizers[name].add_param_group({"params": [*level.parameters()]})

    def fade(self, step: Tensor) -> None:
        if self.stage:
            share = ((step + 1 - self.stages[self.stage - 1]) / self.config.fade).clamp(0, 1)
            for network in (self.generator, self.discriminator):
                network.alpha.copy_(share)

    def discriminator_loss(self, batch: Batch, step: Tensor | None = None) -> dict[str, Tensor]:
        assert step is not None
        self.fade(step)
        return super().discriminator_loss(batch)
