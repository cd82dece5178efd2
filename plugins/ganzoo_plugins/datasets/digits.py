"""The 8 x 8 digits that scikit-learn ships: the smallest real images."""

import torch

from ganzoo import DatasetConfig, DataSpec, Image, Label, TensorDataset


class Digits(TensorDataset):
    """1,797 handwritten digits of scikit-learn, about 180 of each class.

    Fields: ``x`` uint8 [N, 1, 8, 8] in 0 .. 255, white ink on black, 17 levels of grey; ``y`` int64 [N], the digit.
    """

    class Config(DatasetConfig):
        """No settings."""

    def __init__(self, config: DatasetConfig) -> None:
        from sklearn.datasets import load_digits

        values, labels = load_digits(return_X_y=True)  # float64 [N, 64] in 0 .. 16, int64 [N]
        images = (torch.from_numpy(values) * (255 / 16)).round().to(torch.uint8).reshape(-1, 1, 8, 8)
        spec = DataSpec(
            "digits",
            (Image(1, 8, 8, range=(0, 255)), Label(10, names=tuple("0123456789"))),
            size=len(images),
        )
        super().__init__(spec, {"x": images, "y": torch.from_numpy(labels).long()})
        self.config = config
