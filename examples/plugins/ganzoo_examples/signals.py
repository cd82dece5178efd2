"""Two small data sets that are no images: series and words."""

import torch

from ganzoo import DatasetConfig, DataSpec, Sequence, TensorDataset, Tokens

NUMBERS = ("one  ", "two  ", "three", "four ", "five ", "six  ", "seven", "eight", "nine ")


class Waves(TensorDataset):
    """Sine waves of two channels, their phase and number of periods random: float32 [N, 2, 32] in -1..1."""

    def __init__(self, config: DatasetConfig) -> None:
        self.config = config
        random = torch.Generator().manual_seed(0)
        phase, periods = torch.rand(1000, 2, 1, generator=random), torch.randint(1, 4, (1000, 1, 1), generator=random)
        waves = (2 * torch.pi * (phase + periods * torch.linspace(0, 1, 32))).sin()
        spec = DataSpec("tones", (Sequence(2, 32, (-1, 1), ("left", "right")),), 1000)
        super().__init__(spec, {"x": waves})


class Words(TensorDataset):
    """The numbers from one to nine, letter by letter: int64 [N, 5], an index into the alphabet each."""

    def __init__(self, config: DatasetConfig) -> None:
        self.config = config
        alphabet = tuple(sorted(set("".join(NUMBERS))))
        rows = torch.tensor([[alphabet.index(letter) for letter in word] for word in NUMBERS]).repeat(100, 1)
        spec = DataSpec("words", (Tokens(5, len(alphabet), alphabet),), len(rows))
        super().__init__(spec, {"x": rows})
