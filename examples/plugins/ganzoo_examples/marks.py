"""A data set with two labels: squares and disks, small and large."""

import torch
from pydantic import Field

from ganzoo import DatasetConfig, DataSpec, Image, Label, TensorDataset


class MarksConfig(DatasetConfig):
    """Settings of the data: ``--set data.size=500``."""

    size: int = Field(2_000, ge=1, le=1_000_000, description="how many images there are")
    sample_seed: int = Field(0, ge=0, lt=2**63, description="seed of their places")


class Marks(TensorDataset[MarksConfig]):
    """Images uint8 [N, 1, 16, 16], and by name two labels int64 [N]: ``form`` and ``extent``."""

    def __init__(self, config: MarksConfig) -> None:
        self.config = config
        # A generator of its own: the same settings are the same images, whatever is drawn elsewhere.
        random = torch.Generator().manual_seed(config.sample_seed)
        form, extent = torch.randint(2, (2, config.size), generator=random)
        center = 5 + 6 * torch.rand(config.size, 2, 1, 1, generator=random)
        away = (torch.stack(torch.meshgrid(torch.arange(16), torch.arange(16), indexing="ij")) - center).abs()
        distance = torch.where(form[:, None, None] == 0, away.amax(1), away.norm(dim=1))
        inside = distance < torch.where(extent == 0, 2.5, 4.5)[:, None, None]
        fields = (
            Image(1, 16, 16, range=(0, 255)),
            Label(2, ("square", "disk"), name="form"),
            Label(2, ("small", "large"), name="extent"),
        )
        pixels = 255 * inside[:, None].to(torch.uint8)
        super().__init__(DataSpec("marks", fields, config.size), {"x": pixels, "form": form, "extent": extent})
