"""SeqGAN: maximum likelihood first, then rewards of a discriminator for whole samples, by rolling them out."""

import copy
from collections.abc import Sequence
from typing import Any

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn.functional import max_pool1d, relu, softplus

from ganzoo import Batch, DataSpec, Discriminator, OptimizerConfig, Phase, Scores, Signature, Tokens
from ganzoo_plugins.networks.lstm import embedded
from ganzoo_plugins.text.common import TextConfig, TextTrainer

__all__ = ["ConvolutionalDiscriminator", "SeqGAN", "SeqGANConfig"]

FILTERS = {1: 100, 2: 200, 3: 200, 4: 200, 5: 200, 6: 100, 7: 100, 8: 100, 9: 100, 10: 100, 15: 160, 20: 160}
"""How many filters of each width the discriminator has, as the authors' code."""


class SeqGANConfig(TextConfig):
    """Settings of SeqGAN."""

    hidden_dim: int = Field(32, ge=1, description="size of the generator's LSTM")
    mle_steps: int = Field(8_000, ge=0, description="steps of maximum likelihood, before any by rewards")
    warmup_steps: int = Field(1_000, ge=0, description="how many of them train the discriminator, too: the last ones")
    discriminator_steps: int = Field(15, ge=1, description="discriminator steps for each generator step by rewards")
    roll_outs: int = Field(16, ge=1, description="how often a sample is completed from each of its tokens on")
    roll_out_lag: float = Field(0.8, ge=0, lt=1, description="what stays of the completing copy from step to step")
    filters: float = Field(1.0, gt=0, description="the discriminator's filters, as a share of the paper's")
    discriminator_embedding_dim: int = Field(64, ge=1, description="size of the discriminator's embedding")
    dropout: float = Field(0.25, ge=0, lt=1, description="share of the discriminator's features that is left out")
    l2: float = Field(0.2, ge=0, description="weight of half the squared weights of the discriminator's last layer")
    discriminator_optimizer: OptimizerConfig = Field(
        OptimizerConfig(lr=1e-4, betas=(0.9, 0.999)), description="optimizer of the discriminator"
    )


class ConvolutionalDiscriminator(Discriminator):
    """Tokens, int64 [N, L] or rows [N, L, V], to scores [N]: filters of many widths, the largest value of each."""

    def __init__(self, config: SeqGANConfig, sample: Tokens) -> None:
        super().__init__(Signature((sample,), Scores()))
        size = config.discriminator_embedding_dim
        self.embedding = nn.Parameter(torch.empty(sample.vocabulary, size).uniform_(-1, 1))
        counts = {width: max(1, round(config.filters * n)) for width, n in FILTERS.items() if width <= sample.length}
        self.filters = nn.ModuleList(nn.Conv1d(size, count, width) for width, count in counts.items())
        total = sum(counts.values())
        self.transform, self.gate = nn.Linear(total, total), nn.Linear(total, total)  # a highway, arXiv:1505.00387
        self.dropout, self.head = nn.Dropout(config.dropout), nn.Linear(total, 1)
        for layer in self.modules():
            if isinstance(layer, nn.Conv1d | nn.Linear):
                nn.init.trunc_normal_(layer.weight, std=0.1, a=-0.2, b=0.2)
                assert layer.bias is not None
                nn.init.constant_(layer.bias, 0.1)

    def forward(self, x: Tensor) -> Tensor:
        """Score tokens."""
        found = embedded(x, self.embedding).transpose(1, 2)
        maps = [relu(layer(found)) for layer in self.filters]
        features = torch.cat([max_pool1d(each, each.shape[2]).squeeze(2) for each in maps], 1)
        gate = self.gate(features).sigmoid()
        features = gate * relu(self.transform(features)) + (1 - gate) * features
        return self.head(self.dropout(features)).squeeze(1)


class SeqGAN(TextTrainer[SeqGANConfig]):
    """SeqGAN: Sequence Generative Adversarial Nets with Policy Gradient (arXiv:1609.05473).

    The generator learns by maximum likelihood for ``mle_steps``, in the last ``warmup_steps`` of which the
    discriminator learns to tell its samples from real ones; then by REINFORCE. What a token is worth is the chance of
    being taken for real of the whole sample that it begins, over ``roll_outs`` completions of it by a copy of the
    generator that lags behind. As in the authors' code there is no baseline; where that trains the discriminator for
    three epochs on each of five sets of 10,000 samples between two generator steps, here it is
    ``discriminator_steps`` batches of fresh samples.
    """

    discriminator: ConvolutionalDiscriminator
    defaults = {"steps": 8_500, "batch_size": 64, "ema": 0.99, "clip_grad": 5.0, "data": {"name": "oracle"}}

    def __init__(self, config: SeqGANConfig, data: DataSpec, loss: object = None, regularizers: Any = None) -> None:
        super().__init__(config, data, loss, regularizers)
        self.stages = [max(0, config.mle_steps - config.warmup_steps), config.mle_steps]

    def grow(self, stage: int) -> None:
        """Begin with the discriminator; then leave maximum likelihood for rewards."""
        config = self.config
        if stage == 0:
            self.discriminator = ConvolutionalDiscriminator(config, self.sample)
            self.networks["discriminator"] = self.discriminator
            self.optimizers["discriminator"] = config.discriminator_optimizer.build(self.discriminator.parameters())
        else:
            # As a network it is moved, saved and resumed; as one without gradients no phase trains it.
            self.networks["roll_out"] = copy.deepcopy(self.generator).requires_grad_(False)
            # Moments of another loss are of no use; the authors have an optimizer each, too.
            self.optimizers["generator"] = config.optimizer.build(self.generator.parameters())

    def phases(self) -> Sequence[Phase]:
        """Maximum likelihood; the discriminator beside it; rewards, after several steps of the discriminator."""
        likelihood = Phase("likelihood", self.likelihood_loss, updates=("generator",), optimizer="generator")
        if self.stage == 0:
            return [likelihood]
        repeat = self.config.discriminator_steps if self.stage == 2 else 1
        discriminator = Phase("discriminator", self.discriminator_loss, updates=("discriminator",), repeat=repeat)
        if self.stage == 1:
            return [likelihood, discriminator]
        generator = Phase("generator", self.generator_loss, updates=("generator",), after=self.follow)
        return [generator, discriminator]

    def discriminator_loss(self, batch: Batch) -> dict[str, Tensor]:
        """Return the cross entropy over real and drawn samples, with the penalty on the last layer."""
        real = batch[self.data.sample.name]
        on_real, on_fake = self.discriminator(torch.cat([real, self.generator.draw(len(real))])).chunk(2)
        head = self.discriminator.head
        penalty = self.config.l2 * (head.weight.square().sum() + head.bias.square().sum()) / 2
        loss = (softplus(-on_real).mean() + softplus(on_fake).mean()) / 2
        return {"loss": loss + penalty, "real": on_real.detach().sigmoid().mean()}

    def generator_loss(self, batch: Batch) -> dict[str, Tensor]:
        """Return what has the gradient of minus the expected reward, a sample's tokens added up."""
        tokens = self.generator.draw(len(batch[self.data.sample.name]))
        rewards = self.rewards(tokens)
        chance = self.generator.log_likelihood(tokens)
        return {"loss": -(rewards * chance).sum(1).mean(), "reward": rewards[:, -1].mean()}

    @torch.no_grad()
    def rewards(self, tokens: Tensor) -> Tensor:
        """Return what each token of samples, [N, L], is worth: the mean chance that what it begins is taken for real.

        The last one completes the sample, which is scored as it is.
        """
        n, copies = len(tokens), self.config.roll_outs
        roll_out = self.networks["roll_out"]
        assert isinstance(roll_out, type(self.generator))
        self.discriminator.eval()  # rewards without dropout
        chances = [
            self.discriminator(completed).sigmoid().unflatten(0, (copies, n)).mean(0)
            for completed in roll_out.roll_outs(tokens, copies)
        ]
        chances.append(self.discriminator(tokens).sigmoid())
        self.discriminator.train()
        return torch.stack(chances, 1)

    @torch.no_grad()
    def follow(self) -> None:
        """Let the completing copy follow the generator; its embeddings are the generator's, as in the authors' code."""
        share = 1 - self.config.roll_out_lag
        roll_out = self.networks["roll_out"].state_dict()
        for name, weight in self.generator.state_dict().items():
            roll_out[name].lerp_(weight, 1.0 if name.startswith("embedding.") else share)
