"""Drawn shapes with captions made in code: what a caption names can be measured from an image's pixels."""

from collections.abc import Mapping
from dataclasses import replace

import torch
from pydantic import Field
from torch import Tensor

from ganzoo import Batch, DatasetConfig, DataSpec, Image, TensorDataset
from ganzoo_plugins.datasets.shapes import HUES, POINTS, SHAPES, draw, measure_factors
from ganzoo_plugins.datasets.words import vocabulary
from ganzoo_runtime.captions import caption_tokens, words

__all__ = ["CaptionedShapes"]

# What can be said of each fact: its values, and the words for each; captions take any of them.
_PLACES = ("upper left", "upper right", "lower left", "lower right", "middle")
_SYNONYMS: Mapping[str, tuple[tuple[str, ...], ...]] = {
    "shape": (("circle", "disk"), ("square",), ("triangle",), ("star",), ("ring", "hoop")),
    "hue": (("red", "crimson"), ("yellow",), ("green",), ("cyan", "turquoise"), ("blue",), ("magenta", "pink")),
    "size": (("small", "tiny"), ("large", "big", "huge")),
    "place": (
        ("upper left", "top left", "in the upper left corner"),
        ("upper right", "top right", "in the upper right corner"),
        ("lower left", "bottom left", "in the lower left corner"),
        ("lower right", "bottom right", "in the lower right corner"),
        ("middle", "in the middle", "in the center"),
    ),
    "turn": (("upright", "straight"), ("turned a little", "tilted")),
}
_UNNAMED = ("shape", "figure")
_SIZES = ((0.17, 0.20), (0.28, 0.31))  # outer radius over the side, with a gap that decides which one is meant
_NEAR, _FAR, _STRAY = 0.35, 0.65, 0.03  # where the middle of a shape is, and how far it strays
_TURNED = (0.2, 0.3)  # periods of a shape's symmetry from upright, where 0.5 is as far as it can be turned
_UPRIGHT = 0.03
_LENGTH = 12  # words of the longest caption
_EXAMPLES = 128
_HELD_SEED = 2**62  # of the shapes that are held out
_WORDS = sorted(
    {word for ways in _SYNONYMS.values() for each in ways for text in each for word in words(text)} | {*_UNNAMED, "a"}
)
_CAPTION = vocabulary(_WORDS, _LENGTH)
_NUMBER = {word.strip(): index for index, word in enumerate(_CAPTION.tokens)}
# One pair of shape and hue in five is never seen: a hue each, so that every shape and every hue is.
_PAIRS = [(shape, hue) for shape in range(len(SHAPES)) for hue in range(len(HUES))]
_HELD_OUT = torch.tensor([pair for pair in _PAIRS if pair[0] == pair[1] % len(SHAPES)])
_SEEN = torch.tensor([pair for pair in _PAIRS if pair[0] != pair[1] % len(SHAPES)])
_UP = torch.tensor([0.0, 1 / 8, 1 / 12, 3 / 20, 0.0])  # rotation of each shape, in turns, at which it stands upright


class CaptionedShapesConfig(DatasetConfig):
    """Settings of :class:`CaptionedShapes`."""

    image_size: int = Field(32, ge=16, le=256, description="height and width of the images")
    size: int = Field(20_000, ge=1, le=200_000, description="how many images the data set has")
    sample_seed: int = Field(0, ge=0, lt=_HELD_SEED, description="seed of the shapes and their captions")
    left_out: float = Field(0.2, ge=0, le=0.9, description="chance of each fact to be left out of a caption")


class CaptionedShapes(TensorDataset[CaptionedShapesConfig]):
    """One plain colored shape on dark gray, and a caption of it: "a small red triangle upper left turned a little".

    Fields: ``x`` uint8 [N, 3, S, S] in 0 .. 255 and ``caption`` int64 [N, 12], words by their number and 0 behind them.

    A caption names up to five facts in one of several ways each: the shape (circle, square, triangle, star, ring), the
    hue (six), the size (small, large), the place (the four quarters and the middle) and the turn (upright, turned a
    little; of round shapes it is never named). Each is left out with the chance ``left_out``; an image without its
    shape's name is of "a shape". Six of the thirty pairs of shape and hue are held out: red and magenta circles, yellow
    squares, green triangles, cyan stars and blue rings are in no sample.

    A sample depends on its index, ``sample_seed`` and ``left_out`` alone.
    """

    metrics = ("caption_accuracy",)

    def __init__(self, config: CaptionedShapesConfig) -> None:
        self.config = config
        images, captions = _drawn(config, config.size, config.sample_seed, _SEEN)
        examples = tuple(tuple(row) for row in captions[:_EXAMPLES].tolist())
        side = config.image_size
        fields = (Image(3, side, side, range=(0, 255)), replace(_CAPTION, examples=examples))
        spec = DataSpec("captioned_shapes", fields, config.size)
        super().__init__(spec, {"x": images, "caption": captions})

    def held_out(self, n: int) -> Batch:
        """Return ``n`` images, always the same, of the pairs of shape and hue that no sample has.

        Their captions name both.
        """
        images, captions = _drawn(self.config, n, _HELD_SEED, _HELD_OUT, both=True)
        return {"x": images, "caption": captions}

    def named(self, captions: Tensor) -> dict[str, Tensor]:
        """Return the facts that captions, int64 [N, L], name: int64 [N] each, and -1 where one is not named.

        Of several values of one fact the last is taken; a place takes a word for both of its directions.
        """
        facts = {}
        for fact, values in _SYNONYMS.items():
            if fact == "place":
                top = _either(captions, ("upper", "top"), ("lower", "bottom"))
                left = _either(captions, ("left",), ("right",))
                middle = _either(captions, ("middle", "center")) == 0
                corner = torch.where((top >= 0) & (left >= 0), 2 * top + left, -1)
                facts[fact] = torch.where(middle, len(_PLACES) - 1, corner)
            else:
                facts[fact] = _either(captions, *(tuple(words(text)[0] for text in texts) for texts in values))
        return facts

    def measured(self, images: Tensor) -> dict[str, Tensor]:
        """Measure the facts of images, uint8 [N, 3, S, S], from their pixels: int64 [N] each, -1 for none."""
        factors = measure_factors(images)
        shape, known = factors["shape"], factors["shape"] >= 0
        places = torch.tensor([(x, y) for y in (_NEAR, _FAR) for x in (_NEAR, _FAR)] + [(0.5, 0.5)])
        at = torch.stack([factors["left"], factors["top"]], 1).nan_to_num(0.0)
        periods = (factors["rotation"] - _UP[shape]) * POINTS[shape]
        turned = ((periods + 0.5) % 1 - 0.5).abs() > _TURNED[0] / 2
        facts = {
            "shape": shape,
            "hue": factors["hue"],
            "size": (factors["size"] > (_SIZES[0][1] + _SIZES[1][0]) / 2).long(),
            "place": torch.cdist(at, places).argmin(1),
            "turn": torch.where(POINTS[shape] > 0, turned.long(), -1),
        }
        return {name: values if name == "hue" else torch.where(known, values, -1) for name, values in facts.items()}


def _either(captions: Tensor, *values: tuple[str, ...]) -> Tensor:
    """Return which of the values each caption has a word of, int64 [N]: the last one, and -1 for none."""
    found = torch.full((len(captions),), -1)
    for index, texts in enumerate(values):
        numbers = torch.tensor([_NUMBER[word] for word in texts])
        found[torch.isin(captions, numbers).any(1)] = index
    return found


def _drawn(
    config: CaptionedShapesConfig, n: int, seed: int, pairs: Tensor, *, both: bool = False
) -> tuple[Tensor, Tensor]:
    """Return ``n`` images of these pairs of shape and hue, uint8 [n, 3, S, S], and captions, int64 [n, L].

    With ``both`` shape and hue are always named.
    """
    rng = torch.Generator().manual_seed(seed)
    rolls = torch.rand(n, 9 + 2 * len(_SYNONYMS), generator=rng).T.contiguous()  # one row a sample, whatever n is
    if both:
        rolls[[10, 12]] = 1.0
    shape, hue = pairs[(rolls[0] * len(pairs)).long()].T
    size, place, turn = ((rolls[1 + each] * count).long() for each, count in enumerate((2, len(_PLACES), 2)))
    stray = 2 * rolls[4:9] - 1  # of hue, size, left, top and turn; -1 .. 1
    low, high = torch.tensor(_SIZES)[size].T
    middle = place == len(_PLACES) - 1
    x, y = (torch.where(middle, 0.5, torch.where(far == 1, _FAR, _NEAR)) for far in (place % 2, place // 2))
    # Turned either way, by about a quarter of the shape's period.
    turned = stray[4].sign() * (_TURNED[0] + stray[4].abs() * (_TURNED[1] - _TURNED[0]))
    periods = torch.where(turn == 1, turned, _UPRIGHT * stray[4])
    points = POINTS[shape]
    rotation = torch.where(points > 0, _UP[shape] + periods / points.clamp(min=1), 0.0)
    factors = {
        "shape": shape,
        "hue_turn": (hue / len(HUES) + 0.025 * stray[0]) % 1.0,
        "size": low + (high - low) * (stray[1] + 1) / 2,
        "left": x + _STRAY * stray[2],
        "top": y + _STRAY * stray[3],
        "rotation": rotation,
    }
    parts = (slice(start, start + 500) for start in range(0, n, 500))
    images = [draw({name: values[part] for name, values in factors.items()}, config.image_size) for part in parts]
    facts = torch.stack([shape, hue, size, place, torch.where(points > 0, turn, -1)], 1).tolist()
    said = zip(facts, rolls[9:].T.tolist(), strict=True)
    captions = [_caption(*each, config.left_out) for each in said]
    return torch.cat(images), torch.tensor(captions)


def _caption(values: list[int], rolls: list[float], left_out: float) -> list[int]:
    """Return the tokens of a caption of these facts; rolls, two a fact, choose the words and what is left out."""
    texts = {}
    for (fact, ways), value, way, out in zip(_SYNONYMS.items(), values, rolls[::2], rolls[1::2], strict=True):
        said = value >= 0 and out >= left_out
        options = ways[value] if said else _UNNAMED if fact == "shape" else ("",)
        texts[fact] = options[int(way * len(options))]
    return caption_tokens("a {size} {hue} {shape} {place} {turn}".format(**texts), _CAPTION.to_json())
