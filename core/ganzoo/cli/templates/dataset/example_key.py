"""Two moons: points of the plane in two classes."""

from math import pi

import torch
from pydantic import Field

from ganzoo import DatasetConfig, DataSpec, Label, Points, TensorDataset


class ExampleKeyConfig(DatasetConfig):
    """Settings of the data set: ``--set data.noise=0.1``."""

    size: int = Field(10_000, ge=2, le=10_000_000, description="how many points the data set has")
    noise: float = Field(0.05, ge=0, allow_inf_nan=False, description="standard deviation of the noise in x and y")
    sample_seed: int = Field(0, ge=0, lt=2**63, description="seed of the points")


class ExampleKey(TensorDataset[ExampleKeyConfig]):
    """Points on two half circles that reach into each other.

    Fields: ``x`` float32 [N, 2], the coordinates; ``y`` int64 [N], the moon, ``upper`` or ``lower``. A data set of
    images has the field ``Image(channels, height, width, (0, 255))`` and uint8 [N, C, H, W].
    """

    def __init__(self, config: ExampleKeyConfig) -> None:
        self.config = config
        # A generator of its own: the same settings are the same points, and the training's random state is left alone.
        rng = torch.Generator().manual_seed(config.sample_seed)
        angle = torch.rand(config.size, generator=rng) * pi
        moon = torch.randint(2, (config.size,), generator=rng)
        upper = torch.stack([angle.cos(), angle.sin()], dim=1)
        points = torch.where(moon[:, None] == 0, upper, torch.tensor([1.0, 0.5]) - upper)
        points += config.noise * torch.randn(config.size, 2, generator=rng)
        spec = DataSpec("example_key", (Points(2), Label(2, ("upper", "lower"))), config.size)
        super().__init__(spec, {"x": points, "y": moon})
