"""Point clouds on spheres, and a GAN whose discriminator does not care about the order of points."""

import torch
from pydantic import Field
from torch import Tensor, nn

from ganzoo import (
    AdversarialConfig,
    AdversarialTrainer,
    DatasetConfig,
    DataSpec,
    Discriminator,
    Generator,
    Latent,
    Scores,
    Signature,
    TensorDataset,
)
from ganzoo_examples.cloud import Cloud


class SpheresConfig(DatasetConfig):
    """Settings of the data."""

    points: int = Field(64, ge=1, description="points of a cloud")


class Spheres(TensorDataset[SpheresConfig]):
    """1,000 spheres around the origin, their radius in 0.3..1."""

    def __init__(self, config: SpheresConfig) -> None:
        self.config = config
        random = torch.Generator().manual_seed(0)
        points = torch.randn(1000, config.points, 3, generator=random)
        radius = 0.3 + 0.7 * torch.rand(1000, 1, 1, generator=random)
        spec = DataSpec("spheres", (Cloud(config.points),), 1000)
        super().__init__(spec, {"x": radius * points / points.norm(dim=2, keepdim=True)})


class CloudGenerator(Generator):
    """Latent [N, 16] to clouds [N, P, 3]."""

    def __init__(self, width: int, sample: Cloud) -> None:
        super().__init__(Signature((Latent((16,)),), sample))
        self.body = nn.Sequential(nn.Linear(16, width), nn.ReLU(), nn.Linear(width, 3 * sample.points), nn.Tanh())

    def forward(self, z: Tensor) -> Tensor:
        return self.body(z).unflatten(1, (-1, 3))


class CloudDiscriminator(Discriminator):
    """Clouds [N, P, 3] to a score: the largest over all points of what each says, as in PointNet."""

    def __init__(self, width: int, sample: Cloud) -> None:
        super().__init__(Signature((sample,), Scores()))
        self.point = nn.Sequential(nn.Linear(3, width), nn.LeakyReLU(0.2), nn.Linear(width, width))
        self.whole = nn.Sequential(nn.LeakyReLU(0.2), nn.Linear(width, 1))

    def forward(self, x: Tensor) -> Tensor:
        return self.whole(self.point(x).amax(1)).squeeze(1)


class CloudConfig(AdversarialConfig):
    """What [model] may say."""

    width: int = Field(64, ge=1, description="width of the layers")


class CloudGAN(AdversarialTrainer[CloudConfig, Cloud]):
    """A GAN of point clouds."""

    defaults = {"data": {"name": "ganzoo-examples/spheres"}, "loss": {"name": "wgan_gp"}}

    def build_generator(self, sample: Cloud) -> Generator:
        return CloudGenerator(self.config.width, sample)

    def build_discriminator(self, sample: Cloud) -> Discriminator:
        return CloudDiscriminator(self.config.width, sample)
