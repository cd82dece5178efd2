"""Other GAN libraries, with the textbook's networks and data: a step as their own trainers make it.

They are no dependencies of this project, and take part where they are installed. torchgan 0.1 and vegans 0.4 do without
what they pin (``pip install --no-deps torchgan vegans``); torch-mimicry 0.1 imports TensorFlow, and is left out.
"""

from __future__ import annotations

import math
import os
import tempfile
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from training_speed.textbook import Setup

LOSSES = ("train_gan", "train_wgan_gp")
"""The textbook's loops whose loss both libraries have."""


def torchgan(setup: Setup, wasserstein: bool) -> Callable[[], object]:
    """Return a step of torchgan's: an iteration of its ``Trainer``."""
    from torchgan import losses, models, trainer

    class Generator(models.Generator):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__(math.prod(setup.latent))
            self.body = setup.networks["generator"]

        def forward(self, z: Tensor) -> Any:
            return self.body(z.view(-1, *setup.latent))

    class Discriminator(models.Discriminator):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__(1)
            self.body = setup.networks["discriminator"]

        def forward(self, x: Tensor) -> Any:
            return self.body(x)

    def player(network: type[nn.Module], name: str) -> dict[str, Any]:
        return {"name": network, "optimizer": dict(zip(("name", "args"), _optimizer(setup, name), strict=True))}

    if wasserstein:
        objectives = [
            losses.WassersteinGeneratorLoss(),
            losses.WassersteinDiscriminatorLoss(),
            losses.WassersteinGradientPenalty(),
        ]
    else:
        objectives = [losses.MinimaxGeneratorLoss(), losses.MinimaxDiscriminatorLoss()]
    folder = tempfile.mkdtemp()
    training = trainer.Trainer(
        {"generator": player(Generator, "generator"), "discriminator": player(Discriminator, "discriminator")},
        objectives,
        device=setup.device,
        checkpoints=os.path.join(folder, "model", "gan"),
        recon=os.path.join(folder, "images"),
        log_dir=folder,
    )

    def step() -> None:
        images = next(setup.batches)[0]
        training.batch_size, training.real_inputs = len(images), images.to(setup.device)
        training.train_iter()

    return step


def vegans(setup: Setup, wasserstein: bool) -> Callable[[], object]:
    """Return a step of vegans': what its ``fit`` does with a batch."""
    from vegans.GAN import VanillaGAN, WassersteinGANGP

    generator, discriminator = setup.networks["generator"], setup.networks["discriminator"]
    images = next(setup.batches)[0]
    if not wasserstein:
        discriminator = nn.Sequential(discriminator, nn.Sigmoid())
    optimizers = {name: _optimizer(setup, name) for name in ("generator", "discriminator")}
    names = dict(zip(optimizers, ("Generator", "Adversary"), strict=True))
    training = (WassersteinGANGP if wasserstein else VanillaGAN)(
        generator,
        discriminator,
        x_dim=tuple(images.shape[1:]),
        z_dim=setup.latent if len(setup.latent) > 1 else setup.latent[0],
        optim={names[name]: kind for name, (kind, _) in optimizers.items()},
        optim_kwargs={names[name]: settings for name, (_, settings) in optimizers.items()},
        device=str(setup.device),
        folder=None,
        secure=False,
    )
    training.train()

    def step() -> None:
        real = next(setup.batches)[0].to(setup.device)
        latents = training.sample(n=len(real))
        for name in training.neural_nets:
            training._losses = training.calculate_losses(X_batch=real, Z_batch=latents, who=name)
            training._zero_grad(who=name)
            training._backward(who=name)
            training._step(who=name)

    return step


def _optimizer(setup: Setup, name: str) -> tuple[type[torch.optim.Optimizer], dict[str, Any]]:
    optimizer = setup.optimizers[name]
    return type(optimizer), {key: optimizer.param_groups[0][key] for key in ("lr", "betas", "weight_decay")}


PEERS: dict[str, Callable[[Setup, bool], Callable[[], object]]] = {"torchgan": torchgan, "vegans": vegans}
