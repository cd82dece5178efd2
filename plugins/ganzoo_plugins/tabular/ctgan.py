"""CTGAN: rows of a table, whose numbers have several modes and whose categories may be rare."""

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise

import torch
from pydantic import Field
from torch import Tensor, nn

from ganzoo import (
    AdversarialConfig,
    AdversarialTrainer,
    Attributes,
    Batch,
    Column,
    Discriminator,
    Generator,
    Latent,
    OptimizerConfig,
    Scores,
    Signature,
    Table,
    UserError,
    draw_latent,
    whole_batch,
)

__all__ = ["CTGAN", "CTGANConfig", "RowCritic", "RowGenerator", "Training"]

_TINY = 2.0**-25  # half of the smallest step of uniform float32 numbers: keeps logarithms finite


class CTGANConfig(AdversarialConfig):
    """Settings of CTGAN."""

    latent_dim: int = Field(128, ge=1, description="size of the latent")
    hidden: tuple[int, ...] = Field((256, 256), min_length=1, description="widths of both networks' hidden layers")
    temperature: float = Field(0.2, gt=0, description="tau of the Gumbel softmax: lower is nearer to one category")
    dropout: float = Field(0.5, ge=0, lt=1, description="share of the critic's hidden units that are left out")
    condition_weight: float = Field(1.0, ge=0, description="weight of the cross-entropy to the category asked for")
    pack: int = Field(10, ge=1, description="rows that the critic scores together (PacGAN, arXiv:1712.04086)")
    n_critic: int | None = Field(1, ge=1, description="critic steps a generator step")
    optimizer: OptimizerConfig = Field(
        OptimizerConfig(lr=2e-4, betas=(0.5, 0.9)), description="optimizer of both; the betas are those of the code"
    )


class RowGenerator(Generator):
    """Latent [N, L], uniform noise ``u`` and the category that is asked for to rows [N, D].

    Each hidden layer's output is joined to its input (section 4.4). Numbers end in a tanh; categories and modes in a
    Gumbel softmax, whose noise is made of ``u``: the row is a draw from the network's probabilities. ``y`` has a number
    for each category of each column and is one-hot; where all are 0, a column and its category are drawn by the last
    number of ``u``, as often as the data has it.
    """

    lower: Tensor
    upper: Tensor

    def __init__(self, latent_dim: int, hidden: Sequence[int], temperature: float, sample: Table) -> None:
        self.choices = [part for part, choice in sample.blocks() if choice]
        self.columns = [(column, part) for column, part in sample.parts() if column.categories]
        names = tuple(f"{column.name}={each}" for column, _ in self.columns for each in column.categories)
        if len({*names}) < len(names):
            raise UserError("two categories would be asked for by one name, COLUMN=CATEGORY; rename a column with an =")
        asked = (Attributes(len(names), names, ((0.0,) * len(names),)),) if names else ()
        noise = sum(part.stop - part.start for part in self.choices) + bool(names)
        super().__init__(
            Signature((Latent((latent_dim,)), *((Latent((noise,), "uniform", "u"),) if noise else ()), *asked), sample)
        )
        self.temperature, self.blocks = temperature, list(sample.blocks())
        chances = torch.tensor([share for column, _ in self.columns for share in shares(column)], dtype=torch.float64)
        ends = (chances / max(1, len(self.columns))).cumsum(0)
        self.register_buffer("upper", torch.cat([ends[:-1], torch.full_like(ends[:1], 2)]).float(), persistent=False)
        self.register_buffer("lower", torch.cat([torch.zeros_like(ends[:1]), ends[:-1]]).float(), persistent=False)
        widths = [latent_dim + len(names)]
        self.layers = nn.ModuleList()
        for width in hidden:
            self.layers.append(nn.Sequential(nn.Linear(widths[-1], width), nn.BatchNorm1d(width), nn.ReLU()))
            widths.append(widths[-1] + width)
        self.head = nn.Linear(widths[-1], sample.shape[0])

    def forward(self, z: Tensor, *others: Tensor) -> Tensor:
        return self.drawn(z, *others)[0]

    def drawn(self, z: Tensor, *others: Tensor) -> tuple[Tensor, Tensor]:
        """Return rows [N, D], and the logarithms of their probabilities of categories and modes, 0 for numbers."""
        h, u = z, (others[0] + 1) / 2 if others else z
        if self.columns:
            h = torch.cat([z, self.condition(u[:, -1:], others[1])], 1)
        for layer in self.layers:
            h = torch.cat([layer(h), h], 1)
        raw = self.head(h).float()  # the noise is too fine for bfloat16
        gumbel = -(-u.clamp(_TINY, 1 - _TINY).log()).log()
        rows, logs, start = [], [], 0
        for part, choice in self.blocks:
            values = raw[:, part]
            if not choice:
                rows.append(values.tanh())
                logs.append(torch.zeros_like(values))
                continue
            stop = start + part.stop - part.start
            log = ((values + gumbel[:, start:stop]) / self.temperature).log_softmax(1)
            rows.append(log.exp())
            logs.append(log)
            start = stop
        return torch.cat(rows, 1), torch.cat(logs, 1)

    def condition(self, u: Tensor, asked: Tensor) -> Tensor:
        """Return what is asked for [N, K], and where that is nothing, what uniform numbers [N, 1] in 0..1 draw."""
        drawn = ((u >= self.lower) & (u < self.upper)).to(asked.dtype)
        return torch.where(asked.abs().sum(1, keepdim=True) > 0, asked, drawn)


class RowCritic(Discriminator):
    """Several rows, each with its condition, [N, D], to one score."""

    def __init__(self, hidden: Sequence[int], dropout: float, sample: Table) -> None:
        super().__init__(Signature((sample,), Scores()))
        layers: list[nn.Module] = []
        for before, after in pairwise((*sample.shape, *hidden)):
            layers += [nn.Linear(before, after), nn.LeakyReLU(0.2), nn.Dropout(dropout)]
        self.body = nn.Sequential(*layers, nn.Linear(hidden[-1], 1))

    def forward(self, x: Tensor) -> Tensor:
        return self.body(x).squeeze(1)


class Training(nn.Module):
    """Training by sampling (section 4.3): which category each row of a batch is drawn for, and a real row that has it.

    A column is drawn evenly, its category by the logarithm of its frequency, and the row evenly among those that have
    it. The authors look for the row in the whole table; here it is found in the batch, so that any data set will do and
    a step of any size is one graph: categories that the batch does not have are not asked for in this step.
    """

    mass: Tensor
    where: Tensor

    def __init__(self, sample: Table, size: int) -> None:
        super().__init__()
        found = [
            (torch.tensor(shares(column)) * size + 1, part) for column, part in sample.parts() if column.categories
        ]
        mass = [count.log() / count.log().sum() for count, _ in found]
        self.sizes = [len(each) for each in mass]
        self.register_buffer("mass", torch.cat(mass), persistent=False)
        where = [torch.arange(part.start, part.stop) for _, part in found]
        self.register_buffer("where", torch.cat(where), persistent=False)

    def forward(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Return as many of the rows [N, D], some of them several times, and their conditions, one-hot [N, K]."""
        whole = whole_batch(rows)
        members = whole[:, self.where]
        mass = self.mass * (members.sum(0) > 0)
        mass = torch.cat([part / part.sum() for part in mass.split(self.sizes)])
        # The largest after Gumbel noise is a draw by these probabilities; nothing waits for the device, as
        # torch.multinomial does.
        noise = torch.empty(len(rows), len(mass), device=rows.device).exponential_()
        drawn = (mass / noise).argmax(1, keepdim=True)
        condition = (drawn == torch.arange(len(mass), device=rows.device)).to(rows.dtype)
        same = condition @ members.T
        return whole[(same * (torch.rand_like(same) + 1)).argmax(1)], condition


class CTGAN(AdversarialTrainer[CTGANConfig, Table]):
    """Modeling Tabular Data using Conditional GAN (arXiv:1907.00503).

    Mode-specific normalization is the data's: columns with ``modes`` (:class:`ganzoo.Column`). The critic scores ten
    rows at once, each beside the category that it was drawn for, by WGAN-GP's loss; the generator also minimizes the
    cross-entropy between the category asked for and its Gumbel softmax, as the paper says. The authors' code takes it
    before the noise, by a softmax of temperature 1, decays the generator's weights by 1e-6, and takes Adam's betas of
    (0.5, 0.9), of which the paper says nothing; the betas are used here. A table without categories has no condition.

    The preset ``small`` is for tables of some hundred rows, and deviates: the critic scores each row alone, since a
    batch has few packs and each says little about how the columns of one row belong together; it has no dropout, which
    hides that too, and three steps for each of the generator's; rates are higher and fall to 0, and rows are drawn by
    averaged weights.
    """

    generator: RowGenerator
    defaults = {
        "steps": 20_000,
        "batch_size": 500,
        "loss": {"name": "wgan_gp"},
        "data": {"name": "iris"},
    }
    presets = {
        "small": {
            "steps": 6_000,
            "batch_size": 100,
            "ema": 0.99,
            "lr_schedule": "linear",
            "model": {
                "pack": 1,
                "n_critic": 3,
                "dropout": 0,
                "optimizer": {"name": "adam", "lr": 1e-3, "betas": (0.5, 0.9)},
            },
        }
    }

    def build_generator(self, sample: Table) -> Generator:
        config = self.config
        # No part of a network: it has nothing to learn, and nothing to keep.
        conditional = any(column.categories for column in sample.columns)
        self.sampling = Training(sample, self.data.size) if conditional else None
        return RowGenerator(config.latent_dim, config.hidden, config.temperature, sample)

    def build_discriminator(self, sample: Table) -> Discriminator:
        # The condition stands behind each row: columns of their own, for what packs rows and draws penalties.
        row = self.data.sample
        assert isinstance(row, Table)
        asked = [Column("", categories=column.categories) for column in row.columns if column.categories]
        named = tuple(replace(column, name=str(number)) for number, column in enumerate([*row.columns, *asked]))
        joined = replace(row, columns=named)
        return RowCritic(self.config.hidden, self.config.dropout, joined.packed(self.config.pack))

    def to(self, device: torch.device) -> None:
        super().to(device)
        if self.sampling is not None:
            self.sampling.to(device)

    def chosen(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Return real rows [N, D] and the conditions [N, K] that they were chosen by; K is 0 without categories."""
        rows = batch[self.data.sample.name]
        return self.sampling(rows) if self.sampling is not None else (rows, rows[:, :0])

    def inputs(self, condition: Tensor) -> tuple[Tensor, ...]:
        """Return what the generator is given for conditions [N, K]."""
        n, (_, *others) = len(condition), self.generator.signature.inputs
        noise = tuple(torch.rand(n, *field.shape, device=self.device) * 2 - 1 for field in others[:1])
        return (draw_latent(self.generator, n, self.device), *noise, *([condition] if len(others) > 1 else []))

    def pair(self, batch: Batch) -> tuple[Tensor, Tensor, tuple[Tensor, ...]]:
        real, condition = self.chosen(batch)
        with torch.no_grad():
            fake = self.generator(*self.inputs(condition))
        return self.packed(torch.cat([real, condition], 1)), self.packed(torch.cat([fake, condition], 1)), ()

    def generator_loss(self, batch: Batch) -> dict[str, Tensor]:
        """Return what the generator minimizes: the loss, the condition's cross-entropy, and the weighted penalties."""
        real, condition = self.chosen(batch)
        fake, logs = self.generator.drawn(*self.inputs(condition))
        real_scores = self.score(self.packed(torch.cat([real, condition], 1)), ()) if self.loss.needs_real else None
        loss = self.loss.generator(self.score(self.packed(torch.cat([fake, condition], 1)), ()), real_scores)
        if self.sampling is None:
            return self.with_penalties(loss, batch)
        entropy = -(condition * logs[:, self.sampling.where]).sum(1).mean()
        results = self.with_penalties(loss + self.config.condition_weight * entropy, batch)
        return {**results, "condition": entropy.detach()}


def shares(column: Column) -> Sequence[float]:
    """Return how often the column has each category, 1 in all."""
    known = column.shares or (1.0,) * len(column.categories)
    return [share / sum(known) for share in known]
