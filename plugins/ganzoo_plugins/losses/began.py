"""BEGAN: the discriminator is an autoencoder, and a feedback loop balances its two reconstruction errors."""

from collections.abc import Mapping
from typing import Any

import torch
from pydantic import Field
from torch import Tensor, nn

from ganzoo import Discriminator, Loss, LossConfig, UserError

__all__ = ["BEGAN", "BEGANConfig"]


class BEGANConfig(LossConfig):
    """Settings of BEGAN."""

    gamma: float = Field(
        0.5,
        ge=0,
        le=1,
        description="diversity ratio: reconstruction error of fake samples over that of real ones, at the equilibrium",
    )
    lambda_k: float = Field(
        0.001, ge=0, description="step size of k, the weight of fake samples in the discriminator's loss"
    )


class BEGAN(Loss[BEGANConfig]):
    """Boundary equilibrium (BEGAN: Boundary Equilibrium Generative Adversarial Networks, arXiv:1703.10717).

    With L(x) the error with which an autoencoder reconstructs x, and scores D(x) = -L(x): the discriminator minimizes
    L(x) - k L(G(z)), the generator L(G(z)), and after each discriminator step k, which starts at 0, moves by
    lambda_k (gamma L(x) - L(G(z))) within [0, 1]. Logged are ``k`` and the paper's measure of convergence, L(x) +
    abs(gamma L(x) - L(G(z))). L(G(z)) is that of the discriminator step's fakes, where the paper takes those of the
    generator step that goes with it. A score's sign means nothing.
    """

    # Scores are minus an error, so they are negative for real and fake samples alike.
    signed = False

    def __init__(self, config: BEGANConfig | None = None) -> None:
        super().__init__(config)
        self._k = torch.zeros(())

    def discriminator(self, real: Tensor, fake: Tensor) -> Tensor:
        """Return L(x) - k L(G(z))."""
        self._k = self._k.to(fake)  # where it stays
        # A copy, as the backward pass still needs this k when after() has moved it.
        return self._k.clone() * fake.mean() - real.mean()

    def generator(self, fake: Tensor, real: Tensor | None) -> Tensor:
        """Return L(G(z))."""
        # k weighs fakes for the discriminator alone: the generator always has the full gradient.
        return -fake.mean()

    def after(self, real: Tensor, fake: Tensor) -> Mapping[str, Tensor]:
        """Move k and return it with the measure of convergence."""
        # Proportional control: if fakes are reconstructed too well for gamma, the balance is positive, k grows, and
        # the discriminator raises their error; in the other case it attends to real samples.
        of_real, of_fake = -real.mean(), -fake.mean()
        balance = self.config.gamma * of_real - of_fake
        self._k = self._k.to(balance)
        self._k.add_(self.config.lambda_k * balance).clamp_(0, 1)
        return {"k": self._k.clone(), "convergence": of_real + balance.abs()}

    def check(self, discriminator: nn.Module) -> None:
        """Refuse a discriminator that does not say that it is an autoencoder: ``reconstructs = True``."""
        if not (isinstance(discriminator, Discriminator) and discriminator.reconstructs):
            raise UserError(
                "began needs a discriminator that is an autoencoder and scores a sample with minus the error of its "
                "reconstruction (it says so by reconstructs = True), and this one is not; train the model began with "
                "it, or choose another loss"
            )

    def state_dict(self) -> dict[str, Any]:
        """Return k."""
        # k integrates over the whole training; a resumed run that began at 0 would lose the balance.
        return {"k": self._k}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take k back."""
        self._k = state["k"].clone()
