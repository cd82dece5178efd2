"""Two domains made in code: the same scenes in two styles, so that translation can be held against the truth."""

from typing import Literal, TypeVar

import torch
from pydantic import Field
from torch import Tensor
from torch.nn.functional import max_pool2d

from ganzoo import Batch, Dataset, DatasetConfig, DataSpec, Image
from ganzoo_plugins.datasets.mnist5k import Mnist5k
from ganzoo_plugins.datasets.shapes import ShapesConfig, draw, draw_factors

__all__ = ["MnistStyles", "ShapesStyles"]

_HELD_OUT = 500  # pairs that are never trained on

Settings = TypeVar("Settings", bound=DatasetConfig, covariant=True)


class _Styles(Dataset[Settings]):
    """Scenes ``a`` and ``b``, uint8 [N, C, H, W], and held-out ones in both styles."""

    def __init__(self, name: str, a: Tensor, b: Tensor, held_out: Batch, *, paired: bool) -> None:
        self._images = {"a": a, "b": b}
        self._held_out = held_out
        shapes = {key: images.shape[1:] for key, images in self._images.items()}
        fields = tuple(Image(c, h, w, range=(0, 255), name=key) for key, (c, h, w) in shapes.items())
        self.spec = DataSpec(name, fields, len(a), paired)

    def batch(self, indices: Tensor, rng: torch.Generator) -> Batch:
        """Gather the images; nothing is random."""
        return {name: images.index_select(0, indices) for name, images in self._images.items()}

    @property
    def rows(self) -> Batch:
        """The images."""
        return self._images

    def examples(self, n: int) -> Batch:
        """Return up to 500 pairs that are never trained on."""
        return {name: images[:n].clone() for name, images in self._held_out.items()}

    @property
    def known_pairs(self) -> bool:
        """Yes: whether or not training has pairs."""
        return True


class ShapesStylesConfig(DatasetConfig):
    """Settings of :class:`ShapesStyles`."""

    image_size: int = Field(32, ge=16, le=256, description="height and width of the images")
    size: int = Field(5_000, ge=1, le=100_000, description="images of each domain")
    sample_seed: int = Field(0, ge=0, lt=2**60, description="seed of the scenes themselves")
    paired: bool = Field(False, description="the same scenes in both domains")


class ShapesStyles(_Styles[ShapesStylesConfig]):
    """Colored shapes on dark gray (:class:`~ganzoo_plugins.datasets.shapes.Shapes`), filled and outlined.

    Fields: ``a``, filled, and ``b``, outlined, uint8 [N, 3, S, S] in 0 .. 255. No scene of ``a`` is one of ``b``,
    unless ``paired`` is set: then row by row they are the same. :meth:`examples` are 500 further pairs.
    """

    metrics = ("translation",)

    def __init__(self, config: ShapesStylesConfig) -> None:
        self.config = config

        def scenes(part: int, size: int) -> dict[str, Tensor]:
            seed = 3 * config.sample_seed + part
            return draw_factors(ShapesConfig(image_size=config.image_size, size=size, sample_seed=seed))

        side, line = config.image_size, config.image_size / 16
        a, other, unseen = scenes(0, config.size), scenes(1, config.size), scenes(2, _HELD_OUT)
        super().__init__(
            "shapes_styles",
            draw(a, side),
            draw(a if config.paired else other, side, line=line),
            {"a": draw(unseen, side), "b": draw(unseen, side, line=line)},
            paired=config.paired,
        )


class MnistStylesConfig(DatasetConfig):
    """Settings of :class:`MnistStyles`."""

    style: Literal["inverted", "thick", "colored"] = Field("thick", description="the style of domain b")
    paired: bool = Field(False, description="the same digits in both domains")


class MnistStyles(_Styles[MnistStylesConfig]):
    """The digits of mnist5k as they are and in another style.

    Fields: ``a`` uint8 [N, 1, 28, 28] in 0 .. 255, white ink on black, and ``b``: ``"inverted"``, black on white;
    ``"thick"``, each pixel the largest of the 3x3 around it; ``"colored"``, uint8 [N, 3, 28, 28], blue paper and
    orange ink. Half of 4,500 digits are in ``a`` and the others in ``b``; with ``paired`` set, all are in both.
    :meth:`examples` are the other 500 digits in both styles.
    """

    metrics = ("translation",)

    def __init__(self, config: MnistStylesConfig) -> None:
        self.config = config
        digits = Mnist5k(Mnist5k.Config()).tensors["x"]
        # In mnist5k they are in the order of their classes.
        digits = digits[torch.randperm(len(digits), generator=torch.Generator().manual_seed(0))]
        unseen, digits = digits[:_HELD_OUT], digits[_HELD_OUT:]
        a, b = (digits, digits) if config.paired else digits.chunk(2)
        super().__init__(
            "mnist_styles",
            a,
            _restyle(b, config.style),
            {"a": unseen, "b": _restyle(unseen, config.style)},
            paired=config.paired,
        )


def _restyle(digits: Tensor, style: str) -> Tensor:
    if style == "inverted":
        return 255 - digits
    if style == "thick":
        return max_pool2d(digits.float(), 3, stride=1, padding=1).to(torch.uint8)
    paper, ink = (torch.tensor(color).view(3, 1, 1) for color in ((20.0, 40.0, 110.0), (255.0, 150.0, 30.0)))
    return torch.lerp(paper, ink, digits / 255).round().to(torch.uint8)
