"""Drawn shapes: images whose class, hue, size, place and rotation are known, and can be measured from the pixels."""

from collections.abc import Mapping
from functools import lru_cache
from math import pi, sin
from typing import Any, Literal

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor

from ganzoo import Attributes, Batch, Dataset, DatasetConfig, DataSpec, Image, Label

__all__ = ["HUES", "POINTS", "SHAPES", "Shapes", "draw", "draw_factors", "measure_factors"]

# Each shape: its name, the number of its points (0 if it is round), and its inner radius over its outer one. A regular
# polygon is the star whose inner points lie on its sides: cos(pi / n).
_KINDS = (("circle", 0, 0.0), ("square", 4, 0.5**0.5), ("triangle", 3, 0.5), ("star", 5, 0.45), ("ring", 0, 0.5))
HUES = ("red", "yellow", "green", "cyan", "blue", "magenta")
SHAPES = tuple(name for name, _, _ in _KINDS)
POINTS = torch.tensor([points for _, points, _ in _KINDS])
_INNER = torch.tensor([inner for _, _, inner in _KINDS])
# Size and place are independent: the largest shape fits even where it is furthest from the middle.
_SIZES, _PLACES = (0.20, 0.32), (0.36, 0.64)
_SPANS = (_SIZES, _PLACES, _PLACES)
_AREAS = torch.tensor([pi * (1 - q * q) if n == 0 else n * q * sin(pi / n) for _, n, q in _KINDS])  # at radius 1
_JITTER = 0.025  # turns that a hue strays from its class's; classes are 1/6 apart
_BACKGROUND, _VALUE, _SATURATION = 0.1, 0.95, 0.9  # the background is gray, so that it changes no hue at the edges
_ATTRIBUTES = (*SHAPES, "hue_cos", "hue_sin", "size", "left", "top", "rotation_cos", "rotation_sin")
_MEMORY = 1 << 29  # bytes of pixels; above, images are drawn when they are fetched
_CHUNK = 500  # images worked on at once
_RADII, _ANGLES, _REACH = 16, 60, 1.7  # the measurement's polar map reaches over the tips of the thinnest shape
_ALIKE = 0.8  # soft Jaccard index with the best template from which a shape counts as recognized
_FINEST = 64  # the measurement looks at larger images reduced to this side
_NOISE = 0.15  # contrast that counts as background
_COLORED = 0.3  # saturation from which a color has a hue
_VISIBLE = 0.25  # distance in RGB from the background that some pixels must have; 0 .. sqrt(3)


class ShapesConfig(DatasetConfig):
    """Settings of :class:`Shapes`."""

    image_size: int = Field(32, ge=16, le=256, description="height and width of the images")
    size: int = Field(10_000, ge=1, le=10_000_000, description="how many images the data set has")
    sample_seed: int = Field(0, ge=0, lt=2**63, description="seed of the shapes themselves")
    condition: Literal["classes", "class", "attributes", "none"] = Field(
        "classes",
        description="condition of an image. classes: its shape and hue as two labels; class: its shape; attributes: "
        "the vector of all its factors; none: nothing",
    )


class Shapes(Dataset[ShapesConfig]):
    """One plain colored shape on dark gray: circle, square, triangle, star or ring, its edge anti-aliased.

    Fields: ``x`` uint8 [N, 3, S, S] in 0 .. 255; with ``condition`` ``"classes"`` also ``y`` int64 [N], the shape, and
    ``hue`` int64 [N], one of six hues; with ``"class"`` ``y`` alone; with ``"attributes"`` ``y`` float32 [N, 12], all
    factors at once (:meth:`attributes`); with ``"none"`` nothing else.

    ``factors`` is the truth, a tensor [N] each: ``shape`` and ``hue`` int64 classes, ``hue_turn`` in 0 .. 1 (red is 0,
    green 1/3), ``size`` (the outer radius over the image's side), ``left`` and ``top`` (the middle's place, as shares
    of the side) and ``rotation`` (turns clockwise from pointing right, below 1 over the number of the shape's points;
    0 for round ones). All are uniform and independent of each other; hues lie around their class's, and anywhere with
    ``"attributes"``. ``factors["y"]`` is the field ``y``. A sample depends on its index, ``sample_seed`` and
    ``condition`` alone, so a larger data set begins with the smaller one.
    """

    def __init__(self, config: ShapesConfig) -> None:
        self.config = config
        self.factors = draw_factors(config)
        self.factors["y"] = self._y(self.factors)
        fields: dict[str, tuple[Any, ...]] = {
            "classes": (Label(len(SHAPES), SHAPES), Label(len(HUES), HUES, name="hue")),
            "class": (Label(len(SHAPES), SHAPES),),
            "attributes": (),
            "none": (),
        }
        described = fields[config.condition]
        if config.condition == "attributes":
            examples = tuple(tuple(row) for row in self.factors["y"][:16].tolist())
            described = (Attributes(len(_ATTRIBUTES), _ATTRIBUTES, examples),)
        side = config.image_size
        self.spec = DataSpec("shapes", (Image(3, side, side, range=(0, 255)), *described), config.size)
        self.in_memory = config.size * 3 * side * side <= _MEMORY
        self._images: Tensor | None = None
        if self.in_memory:
            self._images = torch.empty(config.size, 3, side, side, dtype=torch.uint8)
            for start in range(0, config.size, _CHUNK):
                part = slice(start, start + _CHUNK)
                self._images[part] = draw({name: values[part] for name, values in self.factors.items()}, side)

    def batch(self, indices: Tensor, rng: torch.Generator) -> Batch:
        """Gather the images, or draw them where all together would not fit in memory; nothing is random."""
        if self._images is not None:
            images = self._images.index_select(0, indices)
        else:
            # One at a time: how vector instructions round the last bit depends on a sample's place in the batch.
            one = ({name: values[i : i + 1] for name, values in self.factors.items()} for i in indices.tolist())
            images = torch.cat([draw(factors, self.config.image_size) for factors in one])
        return {"x": images} | {field.name: self.factors[field.name][indices] for field in self.spec.fields[1:]}

    @property
    def rows(self) -> Batch | None:
        """The images and their factors, if they are in memory."""
        if self._images is None:
            return None
        return {"x": self._images} | {field.name: self.factors[field.name] for field in self.spec.fields[1:]}

    def measure(self, images: Tensor) -> dict[str, Tensor]:
        """Measure the factors of images, uint8 [N, 3, H, H], from their pixels; no network is asked.

        Returns what ``factors`` holds, name by name. What stands out from the background is the shape: its hue is
        that of its mean color, its place its centroid, its size follows from its area, and its class is that of the
        most alike of a bank of drawn templates, compared in polar coordinates around the centroid. An image with
        nothing to recognize has ``shape`` -1 and not-a-number for ``size``, ``left``, ``top`` and ``rotation``; one
        with no color has ``hue`` -1 and not-a-number for ``hue_turn``.
        """
        factors = measure_factors(images)
        return factors | {"y": self._y(factors)}

    @staticmethod
    def attributes(factors: Mapping[str, Tensor]) -> Tensor:
        """Return factors, [N] each, as float32 [N, 12], about -1 .. 1; what is not known is 0.

        The columns: five for the shape, one of them 1; cosine and sine of the hue; size, left and top, with -1 and 1
        where their ranges end; cosine and sine of the rotation times the number of the shape's points.
        """
        shape = factors["shape"]
        kinds = F.one_hot(shape + 1, len(SHAPES) + 1)[:, 1:].float()
        hue, turn = 2 * pi * factors["hue_turn"], 2 * pi * factors["rotation"] * POINTS[shape]
        pointed = POINTS[shape] > 0
        columns = [hue.cos(), hue.sin()]
        columns += [_centered(factors[name], *span) for name, span in zip(("size", "left", "top"), _SPANS, strict=True)]
        columns += [pointed * turn.cos(), pointed * turn.sin()]
        return torch.cat([kinds, torch.stack(columns, dim=1).nan_to_num(0.0)], dim=1)

    def _y(self, factors: Mapping[str, Tensor]) -> Tensor:
        return self.attributes(factors) if self.config.condition == "attributes" else factors["shape"]


def draw_factors(config: ShapesConfig) -> dict[str, Tensor]:
    """Return the factors of the data set of this config, but for ``y``."""
    rng = torch.Generator().manual_seed(config.sample_seed)
    rolls = torch.rand(config.size, 7, generator=rng).T.contiguous()  # one row of numbers a sample, whatever the size
    shape, hue = (rolls[0] * len(SHAPES)).long(), (rolls[1] * len(HUES)).long()
    turn = (hue / len(HUES) + _JITTER * (2 * rolls[2] - 1)) % 1.0
    if config.condition == "attributes":
        turn = rolls[1]
        hue = _hue_class(turn)
    size, left, top = (low + (high - low) * roll for roll, (low, high) in zip(rolls[3:6], _SPANS, strict=True))
    points = POINTS[shape]
    rotation = torch.where(points > 0, rolls[6] / points.clamp(min=1), 0.0)
    return {
        "shape": shape,
        "hue": hue,
        "hue_turn": turn,
        "size": size,
        "left": left,
        "top": top,
        "rotation": rotation,
    }


def measure_factors(images: Tensor) -> dict[str, Tensor]:
    """Return what can be measured of images, uint8 [N, 3, H, H]; see :meth:`Shapes.measure`."""
    measured = [_measure(part.float() / 255) for part in images.split(_CHUNK)]
    return {name: torch.cat([part[name] for part in measured]) for name in measured[0]}


def _hue_class(turn: Tensor) -> Tensor:
    return (turn * len(HUES)).round().long() % len(HUES)


def _centered(values: Tensor, low: float, high: float) -> Tensor:
    return (2 * values - low - high) / (high - low)


def draw(factors: Mapping[str, Tensor], side: int, *, line: float = 0.0) -> Tensor:
    """Return images, uint8 [N, 3, side, side], of these factors, [N] each; lines so many pixels wide, or filled."""
    cover = _cover(factors, side, line)[:, None]
    # HSV to RGB: each channel is the value, less what the hue's distance from that channel takes away.
    k = (torch.tensor([5.0, 3.0, 1.0]) + 6 * factors["hue_turn"][:, None]) % 6
    color = _VALUE * (1 - _SATURATION * torch.minimum(k, 4 - k).clamp(0, 1))
    images = _BACKGROUND + cover * (color[:, :, None, None] - _BACKGROUND)
    return (images * 255).round().to(torch.uint8)


def _cover(factors: Mapping[str, Tensor], side: int, line: float) -> Tensor:
    """Return how much of each pixel the shape covers, [N, side, side] in 0 .. 1, from its distance to the edge."""

    def each(values: Tensor) -> Tensor:
        return values[:, None, None]

    at = (torch.arange(side) + 0.5) / side
    size = each(factors["size"])
    x, y = (at - each(factors["left"])) / size, (at[:, None] - each(factors["top"])) / size
    points, inner = each(POINTS[factors["shape"]]), each(_INNER[factors["shape"]])
    radius = (x * x + y * y).sqrt()
    # A circle is the ring from 0 on.
    band = torch.maximum(radius - 1, torch.where(inner > 0, inner - radius, -1.0))
    # The half sector between an outer point, at angle 0, and the next inner one holds all there is to know of a star:
    # the signed distance to the line through these two. Beyond the point, that line's soft edge ends at the radius.
    half = pi / points.clamp(min=1)
    angle = torch.atan2(y, x) - 2 * pi * each(factors["rotation"])
    angle = (angle - 2 * half * (angle / (2 * half)).round()).abs()
    across, along = inner * half.sin(), 1 - inner * half.cos()
    star = ((radius * angle.cos() - 1) * across + radius * angle.sin() * along) / (across**2 + along**2).sqrt()
    star = torch.maximum(star, radius - 1)
    distance = torch.where(points > 0, star, band) * size * side
    if line:
        distance = (distance + line / 2).abs() - line / 2  # the line lies inside of the edge
    return (0.5 - distance).clamp(0, 1)


def _measure(images: Tensor) -> dict[str, Tensor]:
    """Return the factors of images, float32 [N, 3, H, H] in 0 .. 1."""
    if images.shape[-1] > _FINEST:
        images = F.interpolate(images, (_FINEST, _FINEST), mode="bilinear", antialias=True)
    mask, visible = _mask(images)
    mass, left, top = _moments(mask)
    polar = _polar(mask, mass, left, top)
    templates, kinds = _templates(images.shape[-1])
    overlap = polar @ templates.T
    alike = overlap / (polar.square().sum(1, keepdim=True) + templates.square().sum(1) - overlap)
    best, which = alike.max(dim=1)
    size = (mass / _AREAS[kinds[which]]).sqrt()
    known = visible & (best >= _ALIKE) & (size > _SIZES[0] / 2) & (size < _SIZES[1] * 1.5)
    shape = torch.where(known, kinds[which], -1)

    # The phase of the angular wave with as many crests as the shape has points.
    points = POINTS[shape]
    wave = 2 * pi * torch.arange(_ANGLES) / _ANGLES * points[:, None]
    around = polar.view(-1, _RADII, _ANGLES).sum(1)
    phase = torch.atan2((around * wave.sin()).sum(1), (around * wave.cos()).sum(1)) / (2 * pi) % 1.0
    rotation = torch.where(points > 0, phase / points.clamp(min=1), 0.0)

    turn, saturation = _hue((images * mask[:, None]).sum((2, 3)) / mask.sum((1, 2)).clamp(min=1e-6)[:, None])
    colored = visible & (saturation >= _COLORED)

    def only(values: Tensor, where: Tensor) -> Tensor:
        return torch.where(where, values, float("nan"))

    return {
        "shape": shape,
        "hue": torch.where(colored, _hue_class(turn), -1),
        "hue_turn": only(turn, colored),
        "size": only(size, known),
        "left": only(left, known),
        "top": only(top, known),
        "rotation": only(rotation, known),
    }


def _mask(images: Tensor) -> tuple[Tensor, Tensor]:
    """Return how much each pixel belongs to the shape, [N, H, H] in 0 .. 1, and whether there is anything, [N]."""
    edges = torch.cat([images[:, :, 0], images[:, :, -1], images[:, :, :, 0], images[:, :, :, -1]], dim=2)
    distance = (images - edges.median(dim=2).values[:, :, None, None]).square().sum(1).sqrt()
    peak = distance.flatten(1).topk(max(1, images.shape[-1] ** 2 // 32)).values.mean(1)
    # Stretched around one half, where the edge is, so that noise in the background and inside counts for nothing.
    mask = ((distance / peak.clamp(min=1e-6)[:, None, None] - _NOISE) / (1 - 2 * _NOISE)).clamp(0, 1)
    return mask, peak >= _VISIBLE


def _moments(mask: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return the mass of masks, [N, H, H], and the left and top of their centroids, all as shares of the side."""
    side = mask.shape[-1]
    at = (torch.arange(side) + 0.5) / side
    mass = mask.sum((1, 2)).clamp(min=1e-6)
    return mass / side**2, (mask.sum(1) * at).sum(1) / mass, (mask.sum(2) * at).sum(1) / mass


def _polar(mask: Tensor, mass: Tensor, left: Tensor, top: Tensor) -> Tensor:
    """Return masks around their centroids, [N, radii * angles], in units of the radius of a circle of the same mass.

    Each value is weighted with the square root of its radius: products of two maps then count every area alike.
    """
    radii = (torch.arange(_RADII) + 0.5) / _RADII * _REACH
    angles = 2 * pi * torch.arange(_ANGLES) / _ANGLES
    circle = torch.stack([angles.cos(), angles.sin()], dim=1)
    unit = (mass / pi).sqrt()[:, None, None, None]
    at = torch.stack([left, top], dim=1)[:, None, None] + unit * radii[:, None, None] * circle
    values = F.grid_sample(mask[:, None], 2 * at - 1, align_corners=False)[:, 0]
    return (values * radii.sqrt()[:, None]).flatten(1)


@lru_cache(maxsize=8)
def _templates(side: int) -> tuple[Tensor, Tensor]:
    """Return the polar maps of shapes drawn in three sizes, two places and, pointed ones, twelve rotations.

    Also their classes, [templates].
    """
    bank = [
        (shape, size, place, step / (12 * points) if points else 0.0)
        for shape, (_, points, _) in enumerate(_KINDS)
        for size in torch.linspace(*_SIZES, 3).tolist()
        for place in (0.5, 0.5 + 0.5 / side)
        for step in range(12 if points else 1)
    ]
    kinds, sizes, places, rotations = (torch.tensor(column) for column in zip(*bank, strict=True))
    drawn = draw(
        {
            "shape": kinds,
            "hue_turn": torch.zeros(len(bank)),
            "size": sizes,
            "left": places,
            "top": places,
            "rotation": rotations,
        },
        side,
    )
    mask, _ = _mask(drawn.float() / 255)
    return _polar(mask, *_moments(mask)), kinds


def _hue(color: Tensor) -> tuple[Tensor, Tensor]:
    """Return the hue in turns and the saturation, [N] each, of colors [N, 3]."""
    high, low = color.max(dim=1).values, color.min(dim=1).values
    span = (high - low).clamp(min=1e-6)
    red, green, blue = color.unbind(1)
    turn = torch.stack([(green - blue) / span, (blue - red) / span + 2, (red - green) / span + 4], dim=1) / 6
    return turn.gather(1, color.argmax(dim=1, keepdim=True))[:, 0] % 1.0, (high - low) / high.clamp(min=1e-6)
