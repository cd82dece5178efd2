"""Random data of any form."""

from __future__ import annotations

import torch

from ganzoo.data.dataset import Dataset, DataSpec, TensorDataset
from ganzoo.fields import Attributes, Field, Image, Label, Points, Signature

__all__ = ["random_data"]


def random_data(*fields: Field, paired: bool = True, size: int = 64) -> Dataset:
    """Return a data set of random samples of these fields: uint8 images, classes in turn, numbers."""
    rng = torch.Generator().manual_seed(0)
    tensors = {}
    for field in fields:
        shape = (size, *field.shape)
        match field:
            case Image():
                tensors[field.name] = torch.randint(256, shape, dtype=torch.uint8, generator=rng)
            case Label():
                tensors[field.name] = torch.arange(size) % field.classes
            case Points() | Attributes():
                tensors[field.name] = torch.randn(shape, generator=rng)
            case _:
                (values,) = Signature((field,), field).examples(size)
                tensors[field.name] = torch.from_numpy(values.astype(field.data_dtype))
    return TensorDataset(DataSpec("random", fields, size, paired), tensors)
