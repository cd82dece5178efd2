"""What tests of metrics of images share: a data set of noise, and a classifier that is trained for a moment."""

import torch

from ganzoo import DataSpec, Image, Label, TensorDataset
from ganzoo_plugins.metrics.evaluator import EvaluatorConfig

QUICK = EvaluatorConfig(steps=60)


def toy(n=64, channels=1, side=8, labels=4, seed=0, **attributes):
    """Noise with labels, as a data set; attributes are set on it."""
    rng = torch.Generator().manual_seed(seed)
    image = Image(channels, side, side, range=(0, 255))
    fields, tensors = (image,), {"x": torch.randint(256, (n, *image.shape), generator=rng).to(torch.uint8)}
    if labels:
        fields += (Label(labels),)
        tensors["y"] = torch.arange(n) % labels
    dataset = TensorDataset(DataSpec("toy", fields, n), tensors)
    for name, value in attributes.items():
        setattr(dataset, name, value)
    return dataset
