"""The 8 x 8 digits that scikit-learn ships: the smallest real images."""

from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch

from ganzoo import DatasetConfig, DataSpec, Image, Label, TensorDataset, UserError


class Digits(TensorDataset):
    """1,797 handwritten digits of scikit-learn, about 180 of each class.

    Fields: ``x`` uint8 [N, 1, 8, 8] in 0 .. 255, white ink on black, 17 gray levels; ``y`` int64 [N], the digit.
    """

    def __init__(self, config: DatasetConfig) -> None:
        # The file that sklearn.datasets.load_digits() reads, without the seconds that importing sklearn takes.
        package = find_spec("sklearn")
        if package is None or package.origin is None:
            raise UserError("the data set 'digits' comes with scikit-learn, which is not installed")
        path = Path(package.origin).parent / "datasets" / "data" / "digits.csv.gz"
        rows = torch.from_numpy(np.loadtxt(path, dtype=np.float32, delimiter=","))  # 64 values in 0 .. 16, the digit
        images = (rows[:, :-1] * (255 / 16)).round().to(torch.uint8).reshape(-1, 1, 8, 8)
        spec = DataSpec(
            "digits",
            (Image(1, 8, 8, range=(0, 255)), Label(10, names=tuple("0123456789"))),
            size=len(images),
        )
        super().__init__(spec, {"x": images, "y": rows[:, -1].long()})
        self.config = config
