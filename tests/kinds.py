"""Sequences, tokens and tables as a third party's plugin has them: small data sets, and a tiny GAN of each."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from pydantic import Field
from sites import Site, importable
from torch import Tensor, nn
from torch.nn.functional import one_hot

from ganzoo import (
    AdversarialConfig,
    AdversarialTrainer,
    Batch,
    Column,
    Dataset,
    DatasetConfig,
    DataSpec,
    Discriminator,
    Generator,
    Label,
    Latent,
    Phase,
    Scores,
    Sequence,
    Signature,
    Table,
    TensorDataset,
    Tokens,
    Trainer,
    TrainerConfig,
    draw_latent,
)

SPECS = """
@hookimpl
def ganzoo_specs():
    return [
        Spec("dataset", "tones", "Sine waves of two channels.", "kinds:Waves"),
        Spec("dataset", "words", "Numbers as words.", "kinds:Words"),
        Spec("dataset", "people", "A table.", "kinds:People"),
        Spec("model", "wave_gan", "A 1-D WGAN.", "kinds:WaveGAN"),
        Spec("model", "token_gan", "Tokens with a straight-through gradient.", "kinds:TokenGAN"),
        Spec("model", "token_reinforce", "Tokens with a score-function gradient.", "kinds:ReinforceGAN"),
        Spec("model", "smoother", "Takes series and returns series.", "kinds:Smoother"),
        Spec("model", "table_gan", "Rows of a table.", "kinds:TableGAN"),
    ]
"""


@contextmanager
def installed(folder: Path) -> Iterator[None]:
    """Install the plugin into the folder, and the folder into the path."""
    Site(folder).add("kinds", "1.0", plugin=SPECS)
    with importable(folder):
        yield


class Waves(TensorDataset[DatasetConfig]):
    """Two channels of 32 steps, in -2..2."""

    def __init__(self, config: DatasetConfig) -> None:
        Dataset.__init__(self, config)
        time, random = torch.linspace(0, 1, 32), torch.Generator().manual_seed(0)
        phase = 2 * torch.pi * torch.rand(200, 1, generator=random)
        classes = torch.arange(200) % 3
        angle = phase + 2 * torch.pi * (1 + classes)[:, None] * time
        field = Sequence(2, 32, (-2.0, 2.0), ("left", "right"))
        spec = DataSpec("tones", (field, Label(3)), 200)
        TensorDataset.__init__(self, spec, {"x": 2 * torch.stack([angle.sin(), angle.cos()], 1), "y": classes})


class Words(TensorDataset[DatasetConfig]):
    """Words of five letters."""

    def __init__(self, config: DatasetConfig) -> None:
        Dataset.__init__(self, config)
        words, letters = ("one  ", "two  ", "three", "four ", "five "), tuple(" efhinortuvw")
        rows = torch.tensor([[letters.index(letter) for letter in word] for word in words]).repeat(20, 1)
        spec = DataSpec("words", (Tokens(5, len(letters), letters),), len(rows))
        TensorDataset.__init__(self, spec, {"x": rows})


class People(TensorDataset[DatasetConfig]):
    """Age, height and town."""

    def __init__(self, config: DatasetConfig) -> None:
        Dataset.__init__(self, config)
        random = np.random.Generator(np.random.Philox(0))
        age = random.uniform(0, 90, 300)
        columns = {
            "age": age,
            "height": 90 + age.clip(0, 20) * 4,
            "town": np.array(["Köln", "東京", "Oslo"])[age.astype(int) % 3],
        }
        field = Table(
            (Column("age", (0, 100)), Column("height", (50, 220)), Column("town", categories=("Köln", "東京", "Oslo")))
        )
        spec = DataSpec("people", (field,), 300)
        TensorDataset.__init__(self, spec, {"x": torch.from_numpy(field.encoded(columns))})


class TinyConfig(AdversarialConfig):
    """What all of them have."""

    width: int = Field(8, ge=1, description="width of the layers")


class WaveGenerator(Generator):
    """Latent [N, 4] and a class to series [N, C, L] by transposed convolutions."""

    def __init__(self, width: int, sample: Sequence, conditions: tuple[Any, ...]) -> None:
        super().__init__(Signature((Latent((4,)), *conditions), sample))
        self.classes = nn.Embedding(conditions[0].classes, 4)
        self.first = nn.Linear(8, width * sample.length // 4)
        self.body = nn.Sequential(
            nn.ReLU(),
            nn.ConvTranspose1d(width, width, 4, 2, 1),
            nn.ReLU(),
            nn.ConvTranspose1d(width, sample.channels, 4, 2, 1),
        )
        self.high = sample.range[1]

    def forward(self, z: Tensor, y: Tensor) -> Tensor:
        first = self.first(torch.cat([z, self.classes(y)], 1))
        return self.high * self.body(first.unflatten(1, (-1, self.signature.output.shape[1] // 4))).tanh()


class WaveCritic(Discriminator):
    """Series [N, C, L] to a score."""

    def __init__(self, width: int, sample: Sequence) -> None:
        super().__init__(Signature((sample,), Scores()))
        self.body = nn.Sequential(
            nn.Conv1d(sample.channels, width, 4, 2, 1),
            nn.LeakyReLU(0.2),
            nn.Conv1d(width, width, 4, 2, 1),
            nn.LeakyReLU(0.2),
            nn.Flatten(),
            nn.Linear(width * sample.length // 4, 1),
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.body(x).squeeze(1)


class WaveGAN(AdversarialTrainer[TinyConfig, Sequence]):
    """A conditional one-dimensional WGAN."""

    conditional = True
    defaults: ClassVar[Mapping[str, Any]] = {"batch_size": 16, "data": {"name": "tones"}, "loss": {"name": "wgan_gp"}}

    def build_generator(self, sample: Sequence) -> Generator:
        return WaveGenerator(self.config.width, sample, self.conditions)

    def build_discriminator(self, sample: Sequence) -> Discriminator:
        return WaveCritic(self.config.width, sample)


class Scorer(Discriminator):
    """Samples [N, ...] of any kind to a score."""

    def __init__(self, width: int, sample: Any) -> None:
        super().__init__(Signature((sample,), Scores()))
        size = int(np.prod(sample.shape))
        self.body = nn.Sequential(nn.Flatten(), nn.Linear(size, width), nn.LeakyReLU(0.2), nn.Linear(width, 1))

    def forward(self, x: Tensor) -> Tensor:
        return self.body(x).squeeze(1)


def perceptron(*widths: int) -> nn.Sequential:
    """Return layers with ReLUs between them."""
    layers: list[nn.Module] = []
    for before, after in pairwise(widths):
        layers += [nn.Linear(before, after), nn.ReLU()]
    return nn.Sequential(*layers[:-1])


class StraightThrough(Generator):
    """Latent to probabilities [N, L, V]; in training they are made one-hot, with the gradient of the probabilities."""

    def __init__(self, width: int, sample: Tokens) -> None:
        super().__init__(Signature((Latent((4,)),), sample))
        self.body = perceptron(4, width, sample.length * sample.vocabulary)

    def forward(self, z: Tensor) -> Tensor:
        soft = self.body(z).unflatten(1, self.signature.output.shape).softmax(-1)
        if not self.training:
            return soft
        hard = one_hot(soft.argmax(-1), soft.shape[-1]).to(soft.dtype)
        return hard + soft - soft.detach()


class TokenGAN(AdversarialTrainer[TinyConfig, Tokens]):
    """A straight-through GAN."""

    defaults: ClassVar[Mapping[str, Any]] = {"batch_size": 16, "data": {"name": "words"}, "loss": {"name": "wgan_gp"}}

    def build_generator(self, sample: Tokens) -> Generator:
        return StraightThrough(self.config.width, sample)

    def build_discriminator(self, sample: Tokens) -> Discriminator:
        return Scorer(self.config.width, sample)


class Logits(Generator):
    """Latent to logits [N, L, V]."""

    def __init__(self, width: int, sample: Tokens) -> None:
        super().__init__(Signature((Latent((4,)),), sample))
        self.body = perceptron(4, width, sample.length * sample.vocabulary)

    def forward(self, z: Tensor) -> Tensor:
        return self.body(z).unflatten(1, self.signature.output.shape)


class ReinforceGAN(AdversarialTrainer[TinyConfig, Tokens]):
    """The discriminator sees tokens that are drawn from logits; its scores are the reward of having drawn them."""

    defaults: ClassVar[Mapping[str, Any]] = {"batch_size": 16, "data": {"name": "words"}, "loss": {"name": "hinge"}}

    def build_generator(self, sample: Tokens) -> Generator:
        return Logits(self.config.width, sample)

    def build_discriminator(self, sample: Tokens) -> Discriminator:
        return Scorer(self.config.width, sample)

    def drawn(self, n: int) -> tuple[Tensor, Tensor]:
        """Return drawn tokens, one-hot [N, L, V], and the logarithm of their probability, [N]."""
        chances = self.generator(draw_latent(self.generator, n, self.device)).log_softmax(-1)
        # The largest after Gumbel noise is a draw from the softmax.
        tokens = (chances - torch.empty_like(chances).exponential_().log()).argmax(-1)
        shown = (tokens.unsqueeze(-1) == torch.arange(chances.shape[-1], device=chances.device)).float()
        return shown, (shown * chances).sum((1, 2))

    def pair(self, batch: Batch) -> tuple[Tensor, Tensor, tuple[Tensor, ...]]:
        real = batch[self.data.sample.name]
        with torch.no_grad():
            return real, self.drawn(len(real))[0], ()

    def generator_loss(self, batch: Batch) -> dict[str, Tensor]:
        fake, chance = self.drawn(len(batch[self.data.sample.name]))
        with torch.no_grad():
            reward = self.score(fake, ())
            reward = reward - reward.mean()
        return {"loss": -(reward * chance).mean()}


class RowGenerator(Generator):
    """Latent to rows [N, D]: numbers by a tanh, categories by a softmax each."""

    def __init__(self, width: int, sample: Table) -> None:
        super().__init__(Signature((Latent((4,)),), sample))
        self.body = perceptron(4, width, *sample.shape)
        self.parts = list(sample.parts())

    def forward(self, z: Tensor) -> Tensor:
        row = self.body(z)
        return torch.cat(
            [row[:, part].tanh() if column.range else row[:, part].softmax(1) for column, part in self.parts], 1
        )


class TableGAN(AdversarialTrainer[TinyConfig, Table]):
    """A GAN of rows."""

    defaults: ClassVar[Mapping[str, Any]] = {"batch_size": 16, "data": {"name": "people"}, "loss": {"name": "lsgan"}}

    def build_generator(self, sample: Table) -> Generator:
        return RowGenerator(self.config.width, sample)

    def build_discriminator(self, sample: Table) -> Discriminator:
        return Scorer(self.config.width, sample)


class Filter(Generator):
    """Series [N, C, L] to series of the same size."""

    def __init__(self, sample: Sequence) -> None:
        super().__init__(Signature((sample,), replace(sample, name="smooth")))
        self.body = nn.Conv1d(sample.channels, sample.channels, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return 2 * self.body(x).tanh()


class Smoother(Trainer[TrainerConfig]):
    """A network that takes data and draws nothing: trained to return what it is given."""

    samples = (Sequence,)
    defaults: ClassVar[Mapping[str, Any]] = {"batch_size": 16, "data": {"name": "tones"}}

    def __init__(self, config: Any, data: DataSpec, loss: Any, regularizers: Any) -> None:
        super().__init__(config, data, loss, regularizers)
        self.networks = {"generator": Filter(data.sample)}
        self.optimizers = {"generator": torch.optim.Adam(self.networks["generator"].parameters())}

    def phases(self) -> list[Phase]:
        return [Phase("generator", self.error, updates=("generator",))]

    def error(self, batch: Batch) -> dict[str, Tensor]:
        return {"loss": (self.networks["generator"](batch["x"]) - batch["x"]).square().mean()}
