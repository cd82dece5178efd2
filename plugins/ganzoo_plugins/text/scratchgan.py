"""ScratchGAN: a GAN of text without maximum likelihood, by dense rewards and large batches."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import torch
from pydantic import Field
from torch import Tensor
from torch.nn.functional import softplus

from ganzoo import Batch, DataSpec, OptimizerConfig, Phase, whole_batch
from ganzoo_plugins.networks.lstm import LSTMDiscriminator
from ganzoo_plugins.text.common import TextConfig, TextTrainer

__all__ = ["ScratchGAN", "ScratchGANConfig", "discounted"]

_BETAS = (0.5, 0.999)


class ScratchGANConfig(TextConfig):
    """Settings of ScratchGAN."""

    hidden_dim: int = Field(128, ge=1, description="size of the generator's LSTM; 512 in the paper, of two layers")
    discriminator_dim: int = Field(128, ge=1, description="size of the discriminator's LSTM; 512 in the paper")
    dropout: float = Field(0.1, ge=0, lt=1, description="share of the discriminator's embedding that is left out")
    gamma: float = Field(0.23, ge=0, le=1, description="how much the reward of the next token counts")
    baseline_decay: float = Field(0.08, ge=0, lt=1, description="share of the baseline that stays from step to step")
    gradient: Literal["reinforce", "gumbel"] = Field(
        "reinforce", description="of the generator: by rewards, or straight through a Gumbel softmax (arXiv:1611.01144)"
    )
    gumbel_temperature: float = Field(1.0, gt=0, description="of the Gumbel softmax")
    optimizer: OptimizerConfig = Field(
        OptimizerConfig(lr=1e-3, betas=_BETAS), description="optimizer of the generator; a rate of 1e-4 in the paper"
    )
    discriminator_optimizer: OptimizerConfig = Field(
        OptimizerConfig(lr=5e-3, betas=_BETAS, weight_decay=1e-6),
        description="optimizer of the discriminator; a rate of 9.4e-3 in the paper",
    )


class ScratchGAN(TextTrainer[ScratchGANConfig]):
    """Training language GANs from Scratch (arXiv:1905.09922).

    The discriminator says of each token whether it is real, given those before it. The reward of a token is 2 D - 1,
    which lies in -1..1, and of what follows, discounted by ``gamma``; of that a moving mean over all positions is taken
    off (REINFORCE with a baseline).
    """

    # The noise of rewards moves the generator: rates that fall to 0 and an average over 500 steps take it out. At a
    # constant rate a sixth of the sentences is wrong, with an average over 100 steps a tenth.
    defaults = {"steps": 6_000, "batch_size": 256, "ema": 0.998, "lr_schedule": "linear", "data": {"name": "grammar"}}

    def __init__(self, config: ScratchGANConfig, data: DataSpec, loss: object = None, regularizers: Any = None) -> None:
        super().__init__(config, data, loss, regularizers)
        self.discriminator = LSTMDiscriminator(
            self.sample,
            embedding_dim=config.embedding_dim,
            hidden_dim=config.discriminator_dim,
            dropout=config.dropout,
        )
        self.networks["discriminator"] = self.discriminator
        self.optimizers["discriminator"] = config.discriminator_optimizer.build(self.discriminator.parameters())
        self.baseline = torch.zeros(())

    def phases(self) -> Sequence[Phase]:
        """A step of each network."""
        loss = self.generator_loss if self.config.gradient == "reinforce" else self.relaxed_loss
        return [
            Phase("discriminator", self.discriminator_loss, updates=("discriminator",)),
            Phase("generator", loss, updates=("generator",)),
        ]

    def discriminator_loss(self, batch: Batch) -> dict[str, Tensor]:
        """Return the cross entropy over all tokens, half of real and half of drawn ones."""
        real = batch[self.data.sample.name]
        scores = self.discriminator(torch.cat([real, self.generator.draw(len(real))]))
        on_real, on_fake = scores.chunk(2)
        loss = (softplus(-on_real).mean() + softplus(on_fake).mean()) / 2
        # Whose signs show what the reward of a drawn token is worth.
        return {"loss": loss, "real": on_real.detach().sigmoid().mean(), "fake": on_fake.detach().sigmoid().mean()}

    def generator_loss(self, batch: Batch) -> dict[str, Tensor]:
        """Return what has the gradient of minus the expected reward."""
        tokens = self.generator.draw(len(batch[self.data.sample.name]))
        with torch.no_grad():
            rewards = discounted(2 * self.discriminator(tokens).sigmoid() - 1, self.config.gamma)
            self.baseline = self.baseline.to(rewards.device)  # where it stays
            decay = self.config.baseline_decay
            self.baseline.mul_(decay).add_((1 - decay) * whole_batch(rewards).mean())
            advantage = rewards - self.baseline
        chance = self.generator.log_likelihood(tokens)
        return {"loss": -(advantage * chance).mean(), "reward": rewards.mean(), "entropy": -chance.detach().mean()}

    def relaxed_loss(self, batch: Batch) -> dict[str, Tensor]:
        """Return the cross entropy of drawn tokens taken for real ones; its gradient goes through the rows."""
        rows = self.generator.relaxed(len(batch[self.data.sample.name]), self.config.gumbel_temperature)
        return {"loss": softplus(-self.discriminator(rows)).mean()}

    def state_dict(self) -> dict[str, Any]:
        """Add the baseline."""
        return {**super().state_dict(), "baseline": self.baseline}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take the baseline back."""
        super().load_state_dict(state)
        self.baseline = state["baseline"].clone()


def discounted(rewards: Tensor, gamma: float) -> Tensor:
    """Return the sum of each reward, [N, L], and those that follow it, each by ``gamma`` less than the one before."""
    total, sums = torch.zeros_like(rewards[:, 0]), []
    for reward in rewards.flip(1).unbind(1):
        total = reward + gamma * total
        sums.append(total)
    return torch.stack(sums[::-1], 1)
