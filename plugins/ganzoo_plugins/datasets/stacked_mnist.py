"""Stacked MNIST: a data set of 1,000 modes for measuring mode coverage."""

from pathlib import Path
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor

from ganzoo import Batch, Dataset, DatasetConfig, DataSpec, Image, Label
from ganzoo_plugins.datasets.mnist5k import Mnist5k
from ganzoo_plugins.datasets.torchvision_sets import Mnist, TorchvisionConfig


class StackedMnistConfig(DatasetConfig):
    """Settings of :class:`StackedMnist`."""

    source: Literal["mnist5k", "mnist"] = Field(
        "mnist5k", description="the digits: 5,000 that come with the installation, or MNIST's training set"
    )
    size: int = Field(128_000, ge=1, le=10_000_000, description="how many images the data set has")
    sample_seed: int = Field(0, ge=0, lt=2**63, description="seed of the choice of the digits")
    root: Path = Field(
        default_factory=lambda: TorchvisionConfig().root,
        description="folder of the files of the source mnist, which are downloaded into it where they are missing "
        "($GANZOO_DATA, or ~/.cache/ganzoo/data)",
    )


class StackedMnist(Dataset[StackedMnistConfig]):
    """Three random MNIST digits as the channels of one image: 1,000 modes, as in VEEGAN (arXiv:1705.07761).

    Fields: ``x`` uint8 [N, 3, 28, 28] in 0 .. 255; ``y`` int64 [N], the three digits as a number, the red channel's
    first: 100 a + 10 b + c. ``digits`` are the single images that are stacked, uint8 [M, 1, 28, 28], and their labels,
    int64 [M]: what a metric needs that reads the modes of samples. PacGAN (arXiv:1712.04086) takes 128,000 images.
    """

    def __init__(self, config: StackedMnistConfig) -> None:
        self.config = config
        source = Mnist5k(Mnist5k.Config()) if config.source == "mnist5k" else Mnist(TorchvisionConfig(root=config.root))
        self.digits = (source.tensors["x"], source.tensors["y"])
        rng = torch.Generator().manual_seed(config.sample_seed)
        # Only indices are stored: 128,000 stacked images would take 300 MB, and stacking a batch is cheap.
        self._chosen = torch.randint(len(source), (config.size, 3), generator=rng)
        _, height, width = source.spec.sample.shape
        self.spec = DataSpec("stacked_mnist", (Image(3, height, width, range=(0, 255)), Label(1000)), config.size)

    def batch(self, indices: Tensor, rng: torch.Generator) -> Batch:
        """Stack the digits; nothing is random."""
        images, labels = self.digits
        chosen = self._chosen[indices]
        return {"x": images[chosen].flatten(1, 2), "y": labels[chosen] @ torch.tensor([100, 10, 1])}
