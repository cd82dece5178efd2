"""Your own images in two domains, with or without pairs."""

import logging
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TypeVar

import PIL.Image
import torch
from pydantic import Field
from torch import Tensor

from ganzoo import Batch, Dataset, DataSpec, Image, UserError
from ganzoo_plugins.datasets.folder import Folder, FolderConfig, form_of
from ganzoo_plugins.datasets.stored import ImagesConfig
from ganzoo_runtime.text import counted

__all__ = ["Paired", "Unpaired"]

_log = logging.getLogger("ganzoo")


class DomainsConfig(ImagesConfig):
    """Settings of both data sets."""

    margin: int = Field(
        0, ge=0, description="pixels by which images are loaded larger than size; the crop is drawn at random each time"
    )


Settings = TypeVar("Settings", bound=DomainsConfig, covariant=True)


class _Domains(Dataset[Settings]):
    """Loads, crops and mirrors images of two domains."""

    metrics = ("translation",)

    def _load(self, path: Path, kind: type[Folder] = Folder) -> Folder:
        """Open a folder, its images larger by the margin."""
        config = self.config
        size = (config.size, config.size) if isinstance(config.size, int) else config.size
        if size is not None:
            size = size[0] + config.margin, size[1] + config.margin
        # Mirroring happens here and not in the folder, since both images of a pair must be mirrored together.
        settings = {name: getattr(config, name) for name in ImagesConfig.model_fields}
        return kind(FolderConfig(path=path, labels=False, **settings | {"size": size, "flip": False}))

    def _image(self, shape: tuple[int, ...], name: str) -> Image:
        (channels, height, width), margin = shape, self.config.margin
        if margin >= min(height, width):
            raise UserError(f"a margin of {margin} leaves nothing of images of {height}x{width}; set data.size as well")
        return Image(channels, height - margin, width - margin, range=(0, 255), name=name)

    def _varied(self, rng: torch.Generator, *domains: Tensor) -> list[Tensor]:
        """Crop and mirror images [N, C, H, W]; those of one row alike, in all the domains given together."""
        margin, n = self.config.margin, len(domains[0])
        if margin:
            corners = torch.randint(margin + 1, (n, 2), generator=rng).tolist()
            domains = tuple(_cropped(images, corners, margin) for images in domains)
        if self.config.flip:
            mirrored = (torch.rand(n, generator=rng) < 0.5)[:, None, None, None]
            domains = tuple(torch.where(mirrored, images.flip(3), images) for images in domains)
        return list(domains)

    def _plain(self, images: Tensor) -> Tensor:
        """Crop images in the center."""
        margin = self.config.margin
        return _cropped(images, [[margin // 2, margin // 2]] * len(images), margin) if margin else images


class _Left(Folder):
    """The left image of each file that holds two side by side."""

    right = False

    def _measure(self, path: Path) -> tuple[int, int]:
        height, width = super()._measure(path)
        if width % 2:
            raise UserError(f"{path} is {width} wide, which is no two images side by side")
        return height, width // 2

    def _part(self, image: PIL.Image.Image) -> PIL.Image.Image:
        half = image.width // 2
        return image.crop((half * self.right, 0, half * (1 + self.right), image.height))


class _Right(_Left):
    """The right image of each file."""

    right = True


class UnpairedConfig(DomainsConfig):
    """Settings of :class:`Unpaired`."""

    a: Path = Field(description="folder of domain a")
    b: Path = Field(description="folder of domain b")
    test_a: Path | None = Field(None, description="folder of held-out images of domain a")
    test_b: Path | None = Field(None, description="folder of their counterparts in domain b, under the same names")


class Unpaired(_Domains[UnpairedConfig]):
    """Two folders of your own images, without pairs.

    Fields: ``a`` and ``b``, uint8 [N, C, H, W] in 0 .. 255. A folder may have fewer images than the other: an epoch is
    as long as the larger one, and each image of ``b`` is drawn at random, so that chance pairs do not repeat. With
    ``test_a`` and ``test_b``, which hold the same scenes under the same names, translations are evaluated with these
    pairs. Images are read as the data set ``folder`` reads them.
    """

    def __init__(self, config: UnpairedConfig) -> None:
        self.config = config
        if (config.test_a is None) != (config.test_b is None):
            raise UserError("held-out pairs are two folders: set data.test_a and data.test_b, or neither")
        self._a, self._b = self._load(config.a), self._load(config.b)
        self.in_memory = self._a.in_memory and self._b.in_memory
        self._test: list[tuple[Folder, Tensor]] = []
        if config.test_a is not None and config.test_b is not None:
            self._test = _matched(self._load(config.test_a), self._load(config.test_b))
        fields = tuple(self._image(folder.spec.sample.shape, name) for name, folder in (("a", self._a), ("b", self._b)))
        self.spec = DataSpec("unpaired", fields, max(len(self._a), len(self._b)), paired=False)

    def batch(self, indices: Tensor, rng: torch.Generator) -> Batch:
        """Gather the images of ``a``, and as many of ``b`` at random; each is cropped and mirrored by itself."""
        # Random partners: with a fixed pairing the model would see the same accidental pairs in each epoch.
        partners = torch.randint(len(self._b), (len(indices),), generator=rng)
        a = self._a.batch(indices % len(self._a), rng)["x"]
        b = self._b.batch(partners, rng)["x"]
        (a,), (b,) = self._varied(rng, a), self._varied(rng, b)
        return {"a": a, "b": b}

    def examples(self, n: int) -> Batch:
        """Return the first held-out pairs, or the first images of both folders."""
        rng = torch.Generator().manual_seed(0)
        count = min(n, len(self._a), len(self._b))
        parts = self._test or [(self._a, torch.arange(count)), (self._b, torch.arange(count))]
        return {
            name: self._plain(folder.batch(rows[:n], rng)["x"])
            for name, (folder, rows) in zip("ab", parts, strict=True)
        }

    @property
    def known_pairs(self) -> bool:
        """Whether there are held-out pairs."""
        return bool(self._test)

    def content(self) -> Iterator[Tensor | bytes]:
        """Yield that of all folders, and which images of them are held-out pairs."""
        for folder in (self._a, self._b):
            yield from folder.content()
        for folder, rows in self._test:
            yield from folder.content()
            yield rows


class PairedConfig(DomainsConfig):
    """Settings of :class:`Paired`."""

    a: Path | None = Field(None, description="folder of domain a")
    b: Path | None = Field(None, description="folder of domain b, with the same names")
    path: Path | None = Field(None, description="in place of a and b: folder of files with both, side by side")
    swap: bool = Field(False, description="take domain b for a, and a for b")


class Paired(_Domains[PairedConfig]):
    """Pairs of images of your own: two folders with the same names, or two images side by side in each file.

    Fields: ``a`` and ``b``, uint8 [N, C, H, W] in 0 .. 255, row by row the same scene. Names are compared without their
    suffixes; images without a partner are left out, with a warning of the logger ``ganzoo``. Of files with both images,
    ``path``, the left one is ``a`` (``swap``: the right one). Crops and mirrors are the same in both.
    """

    def __init__(self, config: PairedConfig) -> None:
        self.config = config
        if (config.a is None or config.b is None) == (config.path is None):
            raise UserError("pairs are two folders, data.a and data.b, or data.path with both images side by side")
        if config.path is not None:
            a, b = self._load(config.path, _Left), self._load(config.path, _Right)
        else:
            assert config.a is not None
            assert config.b is not None
            a, b = self._load(config.a), self._load(config.b)
        self._parts = _matched(a, b)[:: -1 if config.swap else 1]
        shapes = [folder.spec.sample.shape for folder, _ in self._parts]
        if shapes[0] != shapes[1]:
            raise UserError(f"the images of a and b differ in size, {shapes[0]} and {shapes[1]}; set data.size")
        self.in_memory = all(folder.in_memory for folder, _ in self._parts)
        fields = tuple(self._image(shape, name) for name, shape in zip("ab", shapes, strict=True))
        self.spec = DataSpec("paired", fields, len(self._parts[0][1]))

    def batch(self, indices: Tensor, rng: torch.Generator) -> Batch:
        """Gather the pairs; both images of one are cropped and mirrored alike."""
        return dict(zip("ab", self._varied(rng, *self._pairs(indices, rng)), strict=True))

    def examples(self, n: int) -> Batch:
        """Return the first pairs, cropped in the center."""
        indices = torch.arange(min(n, len(self)))
        pairs = self._pairs(indices, torch.Generator().manual_seed(0))
        return dict(zip("ab", map(self._plain, pairs), strict=True))

    def content(self) -> Iterator[Tensor | bytes]:
        """Yield that of both folders, and which images of them are pairs."""
        for folder, rows in self._parts:
            yield from folder.content()
            yield rows

    def _pairs(self, indices: Tensor, rng: torch.Generator) -> list[Tensor]:
        return [folder.batch(rows[indices], rng)["x"] for folder, rows in self._parts]


def _cropped(images: Tensor, corners: list[list[int]], margin: int) -> Tensor:
    height, width = images.shape[2] - margin, images.shape[3] - margin
    parts = [
        image[:, top : top + height, left : left + width] for image, (top, left) in zip(images, corners, strict=True)
    ]
    return torch.stack(parts)


def _matched(a: Folder, b: Folder) -> list[tuple[Folder, Tensor]]:
    """Return both folders with the rows that go by the same name."""
    names = [{os.path.splitext(file)[0]: row for row, file in enumerate(folder.files)} for folder in (a, b)]
    forms = {name: form_of(name, names[1].__contains__) for name in names[0]}
    shared = [name for name in names[0] if forms[name] in names[1]]
    if not shared:
        raise UserError(f"no image in {a.root} has the name of one in {b.root}, so there are no pairs")
    if alone := len(a) + len(b) - 2 * len(shared):
        left_out = counted(alone, "image")
        _log.warning("left out without a partner of the same name: %s of %s and %s", left_out, a.root, b.root)
    rows = [torch.tensor([names[0][name] for name in shared]), torch.tensor([names[1][forms[name]] for name in shared])]
    return [(a, rows[0]), (b, rows[1])]
