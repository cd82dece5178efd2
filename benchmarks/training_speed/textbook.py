"""The textbook: training loops as tutorials show them, which yield the losses of each generator step.

A forward pass each for real and fake samples, every parameter requiring its gradient all the time (CycleGAN's authors
alone freeze the discriminators), the optimizer as it comes, ``loss.item()`` at every step, no averaged weights.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

Losses = tuple[list[float], float]
"""The discriminator's losses and the generator's, of one generator step."""


@dataclass
class Setup:
    """What a loop trains: networks and optimizers by ganzoo's names, batches without an end, and what to weigh how."""

    networks: dict[str, nn.Module]
    optimizers: dict[str, Optimizer]
    batches: Iterator[tuple[Tensor, ...]]
    latent: tuple[int, ...]
    settings: Any
    """The model's settings: ``n_critic``, or CycleGAN's weights."""
    r1: tuple[float, int] | None
    """Weight and interval of the penalty R1, if there is one."""
    device: torch.device


def train_wgan_gp(setup: Setup) -> Iterator[Losses]:
    generator, critic = setup.networks["generator"], setup.networks["discriminator"]
    while True:
        losses: list[float] = []
        for _ in range(setup.settings.n_critic):
            real = next(setup.batches)[0].to(setup.device)
            fake = generator(torch.randn(len(real), *setup.latent, device=setup.device)).detach()
            epsilon = torch.rand(len(real), 1, 1, 1, device=setup.device)
            mixed = (epsilon * real + (1 - epsilon) * fake).requires_grad_()
            (gradient,) = torch.autograd.grad(critic(mixed).sum(), mixed, create_graph=True)
            penalty = ((gradient.flatten(1).norm(2, dim=1) - 1) ** 2).mean()
            loss = critic(fake).mean() - critic(real).mean() + 10 * penalty
            step(setup.optimizers["discriminator"], loss)
            losses.append(loss.item())
        loss = -critic(generator(torch.randn(len(real), *setup.latent, device=setup.device))).mean()
        step(setup.optimizers["generator"], loss)
        yield losses, loss.item()


def train_gan(setup: Setup) -> Iterator[Losses]:
    generator, discriminator = setup.networks["generator"], setup.networks["discriminator"]
    cross_entropy = nn.BCEWithLogitsLoss()
    for number in count():
        losses: list[float] = []
        for _ in range(setup.settings.n_critic):
            real = next(setup.batches)[0].to(setup.device)
            ones, zeros = torch.ones(len(real), 1, device=setup.device), torch.zeros(len(real), 1, device=setup.device)
            fake = generator(torch.randn(len(real), *setup.latent, device=setup.device)).detach()
            loss = cross_entropy(discriminator(real), ones) + cross_entropy(discriminator(fake), zeros)
            step(setup.optimizers["discriminator"], loss)
            losses.append(loss.item())
        if setup.r1 and number % setup.r1[1] == 0:
            penalize(setup, discriminator, next(setup.batches)[0], setup.optimizers["discriminator"])
        fake = generator(torch.randn(len(real), *setup.latent, device=setup.device))
        loss = cross_entropy(discriminator(fake), ones)
        step(setup.optimizers["generator"], loss)
        yield losses, loss.item()


def train_cyclegan(setup: Setup) -> Iterator[Losses]:
    a_to_b, b_to_a = setup.networks["a_to_b"], setup.networks["b_to_a"]
    discriminators = [setup.networks["discriminator_a"], setup.networks["discriminator_b"]]
    optimizer_g, optimizer_d = setup.optimizers["generators"], setup.optimizers["discriminators"]
    settings, l1 = setup.settings, nn.L1Loss()
    pools = [ImagePool(settings.pool), ImagePool(settings.pool)]

    def squares(scores: Tensor, label: float) -> Tensor:
        return nn.functional.mse_loss(scores, torch.full_like(scores, label)) / 2

    for number in count():
        real_a, real_b = (images.to(setup.device) for images in next(setup.batches))
        for discriminator in discriminators:
            discriminator.requires_grad_(False)
        fake_b, fake_a = a_to_b(real_a), b_to_a(real_b)
        loss = squares(discriminators[1](fake_b), 1.0) + squares(discriminators[0](fake_a), 1.0)
        loss = loss + settings.cycle_weight * (l1(b_to_a(fake_b), real_a) + l1(a_to_b(fake_a), real_b))
        if settings.identity_weight:
            loss = loss + settings.identity_weight * (l1(a_to_b(real_b), real_b) + l1(b_to_a(real_a), real_a))
        step(optimizer_g, loss)
        for discriminator in discriminators:
            discriminator.requires_grad_(True)
        # ganzoo's discriminators see a batch of their own, so these do too
        reals = (images.to(setup.device) for images in next(setup.batches))
        optimizer_d.zero_grad()
        total = 0.0
        for discriminator, pool, real, fake in zip(discriminators, pools, reals, (fake_a, fake_b), strict=True):
            loss_d = squares(discriminator(real), 1.0) + squares(discriminator(pool(fake.detach())), 0.0)
            loss_d.backward()
            total += loss_d.item()
        optimizer_d.step()
        if setup.r1 and number % setup.r1[1] == 0:
            for index, discriminator in enumerate(discriminators):
                penalize(setup, discriminator, next(setup.batches)[index], optimizer_d)
        yield [total], loss.item()


class ImagePool:
    """The pool of earlier translations, as CycleGAN's authors write it."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.images: list[Tensor] = []

    def __call__(self, images: Tensor) -> Tensor:
        shown = []
        for image, chance, place in zip(images, *torch.rand(2, len(images)), strict=True):
            if len(self.images) < self.size:
                self.images.append(image)
            elif chance < 0.5:
                index = int(place * self.size)
                image, self.images[index] = self.images[index], image
            shown.append(image)
        return torch.stack(shown)


def penalize(setup: Setup, discriminator: nn.Module, real: Tensor, optimizer: Optimizer) -> None:
    """Step on R1 alone, as StyleGAN2 does every few steps."""
    assert setup.r1
    weight, interval = setup.r1
    real = real.to(setup.device).requires_grad_()
    (gradient,) = torch.autograd.grad(discriminator(real).sum(), real, create_graph=True)
    step(optimizer, weight * interval * gradient.square().sum((1, 2, 3)).mean() / 2)


def step(optimizer: Optimizer, loss: Tensor) -> None:
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
