"""Data that is given as an object in Python: tensors, arrays, data sets."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from ganzoo.data.dataset import Dataset, DataSpec, TensorDataset
from ganzoo.errors import UserError
from ganzoo.fields import Attributes, Field, Image, Label, Points
from ganzoo_runtime.text import counted

__all__ = ["GIVEN", "Data", "as_dataset"]

GIVEN = "given"
"""What data is called that was given as an object."""

Array = Tensor | np.ndarray[Any, Any]
Data = Dataset | Array | tuple[Array, Array]
"""A data set; or samples, [N, C, H, W] or [N, D]; or samples and their labels, [N], or attributes, [N, D]."""

_EXAMPLES = 16  # vectors of attributes that the spec shows
_CLASSES = 1000  # as many as there may be even if there are fewer samples
_FEW = (1, 3, 4)  # channels of most images, and of no image's height


def as_dataset(data: Data) -> Dataset:
    """Return a data set as it is, and samples as a data set in memory, its fields ``x`` and, with labels, ``y``.

    Images are [N, C, H, W], uint8 in 0..255 or floating point in 0..1 or, if any is negative, in -1..1, which is
    rounded to 8 bits; points are [N, D]. The second of a pair are classes, integers [N] from 0, or attributes,
    floating point [N, D]. Raises :class:`~ganzoo.UserError` for anything else.
    """
    if isinstance(data, Dataset):
        return data
    samples, described = data if isinstance(data, tuple) and len(data) == 2 else (data, None)
    x = _tensor(samples)
    fields: list[Field] = [_field(x)]
    tensors = {"x": _pixels(x) if isinstance(fields[0], Image) else x.to(torch.float32)}
    if described is not None:
        y = _tensor(described)
        if len(y) != len(x):
            raise UserError(
                f"the data has {counted(len(x), 'sample')} and {counted(len(y), 'label')}; give one for each"
            )
        fields.append(_condition(y))
        tensors["y"] = y.to(torch.int64 if y.ndim == 1 else torch.float32)
    return TensorDataset(DataSpec(GIVEN, tuple(fields), len(x)), tensors)


def _tensor(array: object) -> Tensor:
    """Return a tensor on the CPU; raises :class:`UserError` for what is none, is empty or is not finite."""
    if isinstance(array, np.ndarray) and array.dtype.kind in "biuf":
        # Copied: torch takes neither arrays that cannot be written, nor negative strides, nor another byte order.
        array = torch.from_numpy(np.array(array, array.dtype.newbyteorder("=")))
    if not isinstance(array, Tensor) or array.is_complex() or array.is_quantized:
        what = f"{array.dtype} array" if isinstance(array, np.ndarray | Tensor) else type(array).__name__
        raise UserError(
            "data is the name of a data set, a folder, a ganzoo.Dataset, a tensor or an array of samples, or a pair of "
            f"samples and labels, tensors or arrays too; {what} is none of these"
        )
    if array.is_meta or array.layout != torch.strided:
        what = "on the device 'meta', which has no values" if array.is_meta else f"of the layout {array.layout}"
        raise UserError(f"the data is a dense tensor with values, and this one is {what}")
    tensor = array.detach().cpu()
    if not tensor.numel() or not tensor.ndim:
        raise UserError(f"the data has no samples: a tensor of it is {list(tensor.shape)}")
    if not bool(tensor.isfinite().all()):
        raise UserError("the data has numbers that are not finite; leave these samples out")
    return tensor


def _field(x: Tensor) -> Field:
    shape = list(x.shape)
    if x.ndim == 2:
        return Points(shape[1])
    if x.ndim == 3:
        raise UserError(f"images are [N, C, H, W], and these are {shape}; give gray ones as x[:, None]")
    if x.ndim != 4:
        raise UserError(f"samples are images [N, C, H, W] or points [N, D], and these are {shape}")
    if shape[3] in _FEW and shape[1] not in _FEW:
        raise UserError(f"images are [N, C, H, W], and these are {shape}; give x.permute(0, 3, 1, 2)")
    _, channels, height, width = shape
    return Image(channels, height, width, range=(0, 255))


def _pixels(x: Tensor) -> Tensor:
    """Return images as uint8 in 0..255."""
    if x.dtype == torch.uint8:
        return x
    low, high = x.min().item(), x.max().item()
    if not x.is_floating_point() or low < -1 or high > 1:
        raise UserError(
            f"images are uint8 in 0..255, or floating point in 0..1 or -1..1, and these are {str(x.dtype)[6:]} in "
            f"{low:g}..{high:g}"
        )
    x = x.float()
    return (x * 255 if low >= 0 else (x + 1) * 127.5).round().to(torch.uint8)


def _condition(y: Tensor) -> Field:
    if y.ndim == 1 and not y.is_floating_point():
        low, high = int(y.min()), int(y.max())
        if low < 0:
            raise UserError(f"labels are classes from 0, and the lowest of these is {low}")
        if high >= max(len(y), _CLASSES):  # numbers of another kind: networks would have as many weights
            raise UserError(
                f"labels are classes that are counted from 0, and among these {len(y):,} there is {high}; count them, "
                "as with torch.unique(labels, return_inverse=True)[1]"
            )
        return Label(high + 1)
    if y.ndim == 2 and y.is_floating_point():
        rows = torch.linspace(0, len(y) - 1, min(_EXAMPLES, len(y))).long()
        return Attributes(y.shape[1], (), tuple(tuple(row) for row in y[rows].float().tolist()))
    raise UserError(
        f"labels are integers [N], and attributes floating point [N, D]; these are {str(y.dtype)[6:]} {list(y.shape)}"
    )
