"""What tests of data sets share: all the samples of one, and folders of images."""

import numpy as np
import PIL.Image
import torch

from ganzoo import Attributes, Image, Label, Points
from ganzoo_plugins.datasets.folder import Folder


def everything(dataset) -> dict[str, torch.Tensor]:
    """All the samples in their order, held against the spec."""
    batch = dataset.batch(torch.arange(len(dataset)), torch.Generator().manual_seed(0))
    assert list(batch) == [field.name for field in dataset.spec.fields]
    assert len(dataset) == dataset.spec.size > 0
    for field in dataset.spec.fields:
        values = batch[field.name]
        assert tuple(values.shape) == (len(dataset), *field.shape)
        match field:
            case Image():
                assert values.dtype == torch.uint8
                assert field.range == (0, 255)
            case Label():
                assert values.dtype == torch.int64
                assert values.min() >= 0
                assert values.max() < field.classes == len(field.names)
            case Points() | Attributes():
                assert values.dtype == torch.float32
                assert values.isfinite().all()
    return batch


def noise(height, width, channels=3, seed=0):
    shape = (height, width) if channels == 1 else (height, width, channels)
    return PIL.Image.fromarray(np.random.default_rng(seed).integers(0, 256, shape, np.uint8))


def save(path, image=None, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    (noise(8, 6) if image is None else image).save(path, **options)
    return path


def load(path, **settings) -> Folder:
    return Folder(Folder.Config(path=path, **settings))


def one(path, **settings) -> np.ndarray:
    """The only image of a folder, HWC."""
    return everything(load(path, **settings))["x"][0].permute(1, 2, 0).numpy()


def mixed(root):
    """Eight images in three classes, in several formats and sizes."""
    for seed in range(8):
        suffix = ("png", "jpg", "webp", "gif")[seed % 4]
        save(root / "abc"[seed % 3] / f"{seed}.{suffix}", noise(10 + seed, 12, seed=seed))
    return root
