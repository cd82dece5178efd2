"""RGAN and RCGAN: a recurrent generator and a recurrent discriminator, step by step."""

from collections.abc import Sequence as Several

import torch
from pydantic import Field
from torch import Tensor, nn

from ganzoo import (
    AdversarialConfig,
    AdversarialTrainer,
    Attributes,
    DataSpec,
    Discriminator,
    Generator,
    Label,
    Latent,
    OptimizerConfig,
    Scores,
    Sequence,
    Signature,
)
from ganzoo_plugins.networks.condition import OneHot
from ganzoo_plugins.networks.sequences import InRange

__all__ = ["RCGAN", "RCGANConfig", "RecurrentDiscriminator", "RecurrentGenerator"]

Conditions = Several[Label | Attributes]


class RCGANConfig(AdversarialConfig):
    """Settings of RCGAN."""

    latent_dim: int = Field(5, ge=1, description="numbers of noise for each step")
    width: int = Field(64, ge=1, description="size of the generator's state")
    discriminator_width: int = Field(64, ge=1, description="size of the discriminator's state")
    n_critic: int | None = Field(5, ge=1, description="discriminator steps a generator step")
    optimizer: OptimizerConfig = Field(OptimizerConfig(lr=1e-3), description="optimizer of both")


class Recurrent(nn.Module):
    """Inputs [N, L, D] and conditions, which join each step, to [N, L, outputs]: an LSTM and a linear layer."""

    def __init__(self, inputs: int, hidden: int, outputs: int, conditions: Conditions) -> None:
        super().__init__()
        self.code = OneHot(conditions)
        self.lstm = nn.LSTM(inputs + self.code.size, hidden, batch_first=True)
        self.head = nn.Linear(hidden, outputs)

    def forward(self, x: Tensor, *conditions: Tensor) -> Tensor:
        """Read the steps in their order; the state begins at 0."""
        if conditions:
            code = self.code(*conditions)
            x = torch.cat([x, code[:, None].expand(-1, x.shape[1], -1)], 2)
        states, _ = self.lstm(x)
        return self.head(states)


class RecurrentGenerator(Generator):
    """Noise for each step [N, L, D] and conditions to series [N, C, L]."""

    def __init__(self, latent_dim: int, hidden: int, conditions: Conditions, sample: Sequence) -> None:
        super().__init__(Signature((Latent((sample.length, latent_dim)), *conditions), sample))
        self.body = Recurrent(latent_dim, hidden, sample.channels, conditions)
        self.bound = InRange(sample)

    def forward(self, z: Tensor, *conditions: Tensor) -> Tensor:
        return self.bound(self.body(z, *conditions)).mT


class RecurrentDiscriminator(Discriminator):
    """Series [N, C, L] and conditions to a score for each step, [N, L], which has seen the steps up to it."""

    def __init__(self, hidden: int, conditions: Conditions, sample: Sequence) -> None:
        super().__init__(Signature((sample, *conditions), Scores((sample.length,))))
        self.body = Recurrent(sample.channels, hidden, 1, conditions)

    def forward(self, x: Tensor, *conditions: Tensor) -> Tensor:
        return self.body(x.mT, *conditions).squeeze(2)


class RCGAN(AdversarialTrainer[RCGANConfig, Sequence]):
    """Real-valued (Medical) Time Series Generation with Recurrent Conditional GANs, arXiv:1706.02633.

    Both networks are an LSTM; the generator is given new noise in each step, and the discriminator says of each step
    whether the series is real, its loss the mean cross entropy over the steps. Where the data has labels or attributes
    both networks are given them in each step (RCGAN), otherwise nothing (RGAN). The paper trains the discriminator by
    plain gradient descent; here Adam trains both. The discriminator takes five steps for each of the generator's, as in
    one of the settings that the authors published; with one it fell behind, and each class had one series.
    """

    defaults = {
        "steps": 3_000,
        "batch_size": 64,
        "ema": 0.998,
        "lr_schedule": "linear",
        "loss": {"name": "non_saturating"},
        "data": {"name": "waves"},
    }
    # The sines of the paper's section 4.1.
    presets = {
        "sines": {
            "data": {
                "name": "waves",
                "length": 30,
                "sines": 1,
                "frequency": (1.0, 5.0),
                "amplitude": (0.1, 0.9),
                "noise": 0.0,
            }
        }
    }

    def conditions_in(self, data: DataSpec) -> tuple[Label | Attributes, ...]:
        """Return all labels and attributes of the data, if it has any; without them it is the paper's RGAN."""
        return tuple(field for field in data.fields[1:] if isinstance(field, Label | Attributes))

    def build_generator(self, sample: Sequence) -> Generator:
        return RecurrentGenerator(self.config.latent_dim, self.config.width, self.conditions, sample)

    def build_discriminator(self, sample: Sequence) -> Discriminator:
        return RecurrentDiscriminator(self.config.discriminator_width, self.conditions, sample)
