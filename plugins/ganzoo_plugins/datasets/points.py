"""Points of the plane: data whose density is known, for seeing what a GAN gets right in seconds."""

from math import pi
from typing import Literal

import torch
from pydantic import Field, model_validator
from torch import Tensor

from ganzoo import DatasetConfig, DataSpec, Points, TensorDataset

# In a plane whose distances are about 1, WGAN-GP's weight of 10 pins the critic to straight slopes and nothing finer
# than the whole cloud is learned; the paper's own toy experiments use 0.1 (gan_toy.py).
_SMALL_SCALE = {"gradient_penalty": {"weight": 0.1}}
_MOST = 10_000_000  # points: 80 MB


class GaussiansConfig(DatasetConfig):
    """Settings of :class:`Gaussians`."""

    layout: Literal["grid", "ring"] = Field("grid", description="where the centers lie: a square grid or a ring")
    modes: int | None = Field(
        None, ge=1, le=100, description="Gaussians a side of the grid (3 unless set) or on the ring (8 unless set)"
    )
    spacing: float = Field(
        1.0, gt=0, allow_inf_nan=False, description="distance of neighbors on the grid, which is centered on 0"
    )
    radius: float = Field(1.0, gt=0, allow_inf_nan=False, description="radius of the ring, which is centered on 0")
    sigma: float = Field(0.05, gt=0, allow_inf_nan=False, description="standard deviation of every Gaussian")
    size: int = Field(100_000, ge=1, le=_MOST, description="how many points the data set has")
    sample_seed: int = Field(0, ge=0, lt=2**63, description="seed of the points themselves")


class Gaussians(TensorDataset[GaussiansConfig]):
    """An equal mixture of round Gaussians, their centers on a grid or a ring.

    Fields: ``x`` float32 [N, 2]. ``centers``, float32 [modes, 2], and ``sigma`` are the truth that the metric
    ``modes`` holds samples against.
    """

    metrics = ("modes",)
    regularizers = _SMALL_SCALE

    def __init__(self, config: GaussiansConfig) -> None:
        self.config = config
        self.sigma = config.sigma
        self.centers = _ring(config) if config.layout == "ring" else _grid(config)
        rng = torch.Generator().manual_seed(config.sample_seed)
        modes = torch.randint(len(self.centers), (config.size,), generator=rng)
        points = self.centers[modes] + config.sigma * torch.randn(config.size, 2, generator=rng)
        super().__init__(DataSpec("gaussians", (Points(2),), config.size), {"x": points})


class CurvesConfig(DatasetConfig):
    """Settings of :class:`Curves`."""

    curve: Literal["parabola", "sine", "circle", "line", "spiral"] = Field(
        "parabola", description="the curve that the points lie on"
    )
    x_min: float = Field(-1.0, allow_inf_nan=False, description="lowest x of the curve")
    x_max: float = Field(1.0, allow_inf_nan=False, description="highest x of the curve")
    noise: float = Field(
        0.02, ge=0, allow_inf_nan=False, description="standard deviation of the noise added to x and y"
    )
    size: int = Field(100_000, ge=1, le=_MOST, description="how many points the data set has")
    sample_seed: int = Field(0, ge=0, lt=2**63, description="seed of the points themselves")

    @model_validator(mode="after")
    def _ordered(self) -> "CurvesConfig":
        if not self.x_min < self.x_max:
            raise ValueError(f"x_min ({self.x_min}) must be below x_max ({self.x_max})")
        return self


class Curves(TensorDataset[CurvesConfig]):
    """Points on a curve, with Gaussian noise around it.

    Fields: ``x`` float32 [N, 2], the two coordinates. The line y = x, the parabola y = x² and the sine y = sin(pi x)
    have x uniform in ``x_min`` .. ``x_max``. That range is the diameter of the circle; the spiral makes two turns from
    its middle to its end. On these two, points lie evenly along the curve.
    """

    regularizers = _SMALL_SCALE

    def __init__(self, config: CurvesConfig) -> None:
        self.config = config
        rng = torch.Generator().manual_seed(config.sample_seed)
        points = _curve(config, torch.rand(config.size, generator=rng))
        points += config.noise * torch.randn(config.size, 2, generator=rng)
        super().__init__(DataSpec("curves", (Points(2),), config.size), {"x": points})


def _grid(config: GaussiansConfig) -> Tensor:
    side = 3 if config.modes is None else config.modes
    steps = (torch.arange(side) - (side - 1) / 2) * config.spacing
    return torch.cartesian_prod(steps, steps)


def _ring(config: GaussiansConfig) -> Tensor:
    modes = 8 if config.modes is None else config.modes
    angles = 2 * pi * torch.arange(modes) / modes
    return config.radius * torch.stack([angles.cos(), angles.sin()], dim=1)


def _curve(config: CurvesConfig, run: Tensor) -> Tensor:
    """Return the points [N, 2] of the curve at ``run`` [N], from 0 at its start to 1 at its end."""
    middle, radius = (config.x_min + config.x_max) / 2, (config.x_max - config.x_min) / 2
    x = config.x_min + 2 * radius * run
    match config.curve:
        case "line":
            return torch.stack([x, x], dim=1)
        case "parabola":
            return torch.stack([x, x**2], dim=1)
        case "sine":
            return torch.stack([x, (pi * x).sin()], dim=1)
        case "circle":
            angle, distance = 2 * pi * run, torch.full_like(run, radius)
        case "spiral":
            turned = run.sqrt()  # a turn is the longer the further out it is: the root spreads the points evenly
            angle, distance = 4 * pi * turned, radius * turned
    return torch.stack([middle + distance * angle.cos(), distance * angle.sin()], dim=1)
