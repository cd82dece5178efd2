"""The transforms of adaptive discriminator augmentation against NumPy and SciPy, in float64."""

from __future__ import annotations

from collections.abc import Iterator
from math import cos, pi, sin
from typing import Any

import numpy as np
import pytest
import torch
from scipy import ndimage, signal, stats
from torch import Tensor

from ganzoo_plugins.augmentations import adaptive
from ganzoo_plugins.augmentations.adaptive import CENTER, REACH, SYM6, Ada, AdaConfig

NAMES = [name for name in AdaConfig.model_fields if name != "name"]
GEOMETRY, COLOR = NAMES[:7], NAMES[7:]


def only(*names: str, range_: tuple[float, float] = (-1.0, 1.0)) -> Ada:
    return Ada(AdaConfig(**{name: float(name in names) for name in NAMES}), range_)


class Told:
    """In place of what draws numbers: hands out those that a test sets, in order, for one image each."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *values: Any) -> None:
        self._values: Iterator[Any] = iter(values)
        monkeypatch.setattr(adaptive, "_Numbers", lambda x: self)

    def normal(self, *_: Any) -> Tensor:
        return torch.tensor(next(self._values), dtype=torch.float64)[..., None]

    uniform = whole = normal


def images(*shape: int) -> Tensor:
    return torch.rand(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(1)) * 2 - 1


# --- the filter -----------------------------------------------------------------------------------------------------


def test_the_filter_is_the_orthogonal_wavelet_with_six_vanishing_moments() -> None:
    taps = np.array(SYM6)
    assert taps.sum() == pytest.approx(2**0.5, abs=1e-12)
    products = [taps[2 * shift :] @ taps[: len(taps) - 2 * shift] for shift in range(6)]
    assert products == pytest.approx([1, 0, 0, 0, 0, 0], abs=1e-11)
    places = np.arange(12) - 5.5
    moments = [(taps * (-1.0) ** np.arange(12)) @ places**order for order in range(6)]
    assert moments == pytest.approx([0] * 6, abs=1e-7)


# --- geometry -------------------------------------------------------------------------------------------------------


def reference(image: np.ndarray, forward: np.ndarray) -> np.ndarray:
    """Return an image after a transform of places (x, y, 1) from its center, in pixels, by SciPy."""
    height, width = image.shape
    margins = height - 1, width - 1
    fine = np.pad(image, [(margin, margin) for margin in margins], mode="reflect")
    taps = np.array(SYM6) * 2**0.5
    for axis in (0, 1):
        # Sample j of what upfirdn returns is that of the place j - REACH.
        fine = signal.upfirdn(taps, fine, up=2, axis=axis)
    rows, columns = (np.arange(2 * side + 10) - REACH for side in (height, width))
    middle = np.array([side - 1 + CENTER for side in (width, height)])
    grid = np.stack([*np.meshgrid(columns - middle[0], rows - middle[1]), np.full((len(rows), len(columns)), 2.0)])
    x, y, _ = np.einsum("ij,jhw->ihw", np.linalg.inv(forward), grid)
    found = [y + middle[1] + 2 * margins[0] + REACH, x + middle[0] + 2 * margins[1] + REACH]
    for each, limit in zip(found, fine.shape, strict=True):
        assert 11 < each.min() <= each.max() < limit - 11, "the reference knows what is near the image alone"
    fine = ndimage.map_coordinates(fine, found, order=1)
    for axis in (0, 1):
        fine = np.apply_along_axis(lambda line: np.correlate(line, taps / 2, "valid")[::2], axis, fine)
    return fine


def rotation(angle: float) -> np.ndarray:
    return np.array([[cos(angle), -sin(angle), 0], [sin(angle), cos(angle), 0], [0, 0, 1]])


def move(x: float, y: float) -> np.ndarray:
    return np.array([[1, 0, x], [0, 1, y], [0, 0, 1]])


@pytest.mark.parametrize(
    ("size", "flip", "turns", "whole", "scale", "angles", "stretch", "moved"),
    [
        ((16, 16), 0, 0, (0.0, 0.0), 0.0, (0.0, 0.0), 0.0, (0.0, 0.0)),
        ((16, 16), 1, 3, (0.1, -0.125), 0.0, (0.0, 0.0), 0.0, (0.0, 0.0)),
        ((16, 16), 0, 0, (0.0, 0.0), 0.0, (0.0, 0.0), 0.0, (0.031, -0.12)),
        ((16, 16), 0, 0, (0.0, 0.0), 0.0, (0.7, 0.0), 0.0, (0.0, 0.0)),
        ((16, 12), 1, 2, (0.125, 0.07), 0.3, (0.4, -0.2), 0.0, (0.02, 0.05)),
        ((15, 18), 0, 2, (-0.06, 0.125), -0.1, (-0.3, 0.5), 0.15, (0.02, 0.05)),
        ((17, 17), 1, 1, (0.06, -0.06), 0.2, (2.5, -1.0), -0.3, (0.08, -0.03)),
    ],
)
def test_all_of_geometry_is_one_resampling_by_the_wavelet(
    monkeypatch, size, flip, turns, whole, scale, angles, stretch, moved
) -> None:
    height, width = size
    x = images(1, 2, height, width)
    square = height == width
    Told(monkeypatch, flip, turns if square else turns // 2, whole, scale, *angles, stretch, moved)
    (found,) = only(*GEOMETRY)(x).numpy()
    forward = np.eye(3)
    for each in (
        move(round(whole[0] * width), round(whole[1] * height)),
        np.diag([2**scale, 2**scale, 1]),
        rotation(-angles[0]),
        np.diag([2**stretch, 2**-stretch, 1]),
        rotation(-angles[1]),
        move(moved[0] * width, moved[1] * height),
    ):
        forward = each @ forward
    for channel, result in zip(x[0].numpy(), found, strict=True):
        turned = np.rot90(channel[:, ::-1] if flip else channel, turns)
        assert result == pytest.approx(reference(turned, forward), abs=1e-10)


def test_images_are_sampled_where_the_transform_says() -> None:
    # A cosine is its own mirror image beyond the borders, so its values are known everywhere.
    height, width = 24, 32
    rows, columns = np.arange(height)[:, None], np.arange(width)

    def wave(y: Any, x: Any) -> Any:
        return np.cos(2 * pi * x / (width - 1)) * np.cos(3 * pi * y / (height - 1)) + np.cos(pi * y / (height - 1))

    angle, scale, (dx, dy) = 0.6, 0.8, (7.3, -40.4)
    x, y = columns - (width - 1) / 2, rows - (height - 1) / 2
    linear = np.array([[cos(angle), -sin(angle)], [sin(angle), cos(angle)]]) / scale
    where = [linear[axis, 0] * x + linear[axis, 1] * y for axis in (0, 1)]
    expected = wave(where[1] + dy + (height - 1) / 2, where[0] + dx + (width - 1) / 2)
    matrix = torch.from_numpy(np.concatenate([linear, [[2 * dx], [2 * dy]]], 1))[None]
    image = torch.from_numpy(wave(rows, columns))[None, None]
    found = adaptive._resampled(image, matrix)[0, 0].numpy()
    # The filter and bilinear sampling blur a little; about the center of a symmetric filter it would be 0.08.
    assert np.abs(found - expected).max() < 0.02


@pytest.mark.parametrize("shape", [(3, 8, 8), (1, 9, 14)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_mirrors_and_turns_copy_pixels(shape: tuple[int, ...], dtype: torch.dtype) -> None:
    x = images(1, *shape).to(dtype).repeat(200, 1, 1, 1)
    quarter = [0, 1, 2, 3] if shape[1] == shape[2] else [0, 2]
    for name, expected in {
        "xflip": [x[0], x[0].flip(2)],
        "rotate90": [x[0].rot90(turns, (1, 2)) for turns in quarter],
    }.items():
        torch.manual_seed(0)
        which = [[torch.equal(image, each) for each in expected].index(True) for image in only(name)(x)]
        counts = np.bincount(which, minlength=len(expected))
        assert stats.chisquare(counts).pvalue > 0.01, "each as often"


def test_moves_by_whole_pixels_copy_pixels_and_mirror_at_the_border() -> None:
    x = images(1, 3, 16, 24).repeat(300, 1, 1, 1)
    torch.manual_seed(0)
    padded = np.pad(x[0].numpy(), [(0, 0), (2, 2), (3, 3)], mode="reflect")
    seen = set()
    for image in only("xint")(x).numpy():
        close = [
            (down, right)
            for down in range(5)
            for right in range(7)
            if np.abs(image - padded[:, down : down + 16, right : right + 24]).max() < 1e-9
        ]
        seen.add(*close)
    assert len(seen) == 35, "up to an eighth of the size, either way"


# --- color ----------------------------------------------------------------------------------------------------------


def color_reference(x: np.ndarray, brightness: float, contrast: float, flip: int, hue: float, saturation: float) -> Any:
    """Return one image [3, H, W] in [-1, 1] after the product of appendix B's 4x4 matrices, one after the other."""
    v = np.array([1, 1, 1, 0]) / 3**0.5
    along = np.outer(v, v)
    matrix = np.eye(4)
    matrix[:3, 3] = brightness
    matrix = np.diag([2**contrast] * 3 + [1]) @ matrix
    matrix = (np.eye(4) - 2 * along * flip) @ matrix
    turn = np.eye(4)
    turn[:3, :3] = cos(hue) * np.eye(3) + (1 - cos(hue)) * along[:3, :3]
    turn[:3, :3] += sin(hue) * np.cross(np.eye(3), v[:3])  # Rodrigues' formula
    matrix = turn @ matrix
    keep = along.copy()
    keep[3, 3] = 0
    rest = np.diag([1, 1, 1, 1]) - along
    scale = rest * 2**saturation
    scale[3, 3] = 1
    matrix = (keep + scale) @ matrix
    return np.einsum("ij,jhw->ihw", matrix[:3, :3], x) + matrix[:3, 3, None, None], matrix


@pytest.mark.parametrize("range_", [(-1.0, 1.0), (0.0, 1.0), (0.0, 255.0)])
@pytest.mark.parametrize(
    "values", [(0.3, -0.4, 0, 0.0, 0.0), (0.0, 0.0, 1, 1.1, 0.0), (0.0, 0.0, 0, 0.0, -1.2), (-0.2, 0.6, 1, -2.0, 0.7)]
)
def test_all_of_color_is_one_matrix(monkeypatch, range_: tuple[float, float], values: tuple[float, ...]) -> None:
    x, (low, high) = images(1, 4, 5, 6), range_

    def of_range(x: Any) -> Any:
        return (x + 1) / 2 * (high - low) + low

    expected, matrix = color_reference(x[0, :3].numpy(), *values)
    for channels in (3, 4):
        Told(monkeypatch, *values)
        (found,) = only(*COLOR, range_=range_)(of_range(x[:, :channels]))
        assert found[:3].numpy() == pytest.approx(of_range(expected), abs=1e-9 * (high - low))
        assert torch.equal(found[3:], of_range(x[0, 3:channels])), "how opaque a pixel is stays"
    # Gray: the rows' mean, as in the authors' code.
    gain, shift = matrix[:3, :3].mean(0).sum(), matrix[:3, 3].mean()
    for channels in (1, 2):
        Told(monkeypatch, *values)
        (found,) = only(*COLOR, range_=range_)(of_range(x[:, :channels]))
        expected = of_range(x[0, :channels].numpy() * gain + shift)
        assert found.numpy() == pytest.approx(expected, abs=1e-9 * (high - low))


# --- chance ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_no_chance_is_the_identity_to_the_bit(channels: int) -> None:
    x = images(16, channels, 9, 12).float()
    for probability in (0.0, torch.zeros(())):
        assert torch.equal(Ada(AdaConfig(), (-1, 1)).apply(x, probability), x)
    assert torch.equal(only()(x), x)
    assert Ada(AdaConfig(), (-1, 1)).apply(images(4, 1, 1, 1), 0.5).isfinite().all(), "a single pixel"


@pytest.mark.parametrize("name", NAMES)
def test_the_share_of_changed_images_is_the_probability(name: str) -> None:
    x = images(1, 3, 8, 8).float().repeat(3000, 1, 1, 1)
    torch.manual_seed(0)
    changed = (only(name).apply(x, torch.tensor(0.4)) - x).abs().amax((1, 2, 3)) > 1e-4
    # Some draws change nothing: of eight pixels an eighth, rounded, is 0 as often as not.
    share = 0.4 * {"xflip": 1 / 2, "lumaflip": 1 / 2, "rotate90": 3 / 4, "xint": 1 - 1 / 4}.get(name, 1)
    assert stats.binomtest(int(changed.sum()), 3000, share).pvalue > 0.01
    ada = Ada(AdaConfig(**{**dict.fromkeys(NAMES, 0.0), name: 0.5}), (-1, 1))
    half = (ada(x) - x).abs().amax((1, 2, 3)) > 1e-4
    assert stats.binomtest(int(half.sum()), 3000, share / 0.4 * 0.5).pvalue > 0.01, "its own share"


def test_what_is_drawn_is_distributed_as_in_the_paper(monkeypatch: pytest.MonkeyPatch) -> None:
    matrices: list[Tensor] = []
    monkeypatch.setattr(adaptive, "_resampled", lambda x, matrix: matrices.append(matrix.double()) or x)
    torch.manual_seed(0)
    x = torch.zeros(4000, 3, 16, 32)

    def drawn(name: str) -> Any:
        only(name)(x)
        return matrices.pop().numpy()

    def agree(values: Any, distribution: Any) -> None:
        assert stats.kstest(values, distribution).pvalue > 0.01

    scale = drawn("scale")
    agree(-np.log2(scale[:, 0, 0]), stats.norm(0, 0.2).cdf)
    assert np.allclose(scale[:, 0, 0], scale[:, 1, 1])
    aniso = drawn("aniso")
    agree(-np.log2(aniso[:, 0, 0]), stats.norm(0, 0.2).cdf)
    assert np.allclose(aniso[:, 0, 0] * aniso[:, 1, 1], 1)
    turned = drawn("rotate")
    agree(np.arctan2(turned[:, 1, 0], turned[:, 0, 0]), stats.uniform(-pi, 2 * pi).cdf)
    moved = drawn("xfrac")[:, :, 2] / 2
    agree(moved[:, 0], stats.norm(0, 0.125 * 32).cdf)
    agree(moved[:, 1], stats.norm(0, 0.125 * 16).cdf)
    assert abs(np.corrcoef(moved.T)[0, 1]) < 0.05
    # In color a black and a colored pixel show what was drawn.
    agree(only("brightness")(x)[:, 0, 0, 0].numpy(), stats.norm(0, 0.2).cdf)
    agree(only("contrast")(x + 1)[:, 0, 0, 0].log2().numpy(), stats.norm(0, 0.5).cdf)
    x[:, 0] = 1  # red: a third along the axis of grays, the rest across it
    agree((only("saturation")(x)[:, 0, 0, 0] * 1.5 - 0.5).log2().numpy(), stats.norm(0, 1).cdf)
    hue = only("hue")(x)[:, :, 0, 0].double()
    red, green, blue = hue.unbind(1)
    agree(torch.atan2((blue - green) * 3**0.5, 2 * red - green - blue), stats.uniform(-pi, 2 * pi).cdf)


def test_at_the_largest_probability_the_real_orientation_is_still_the_most_frequent() -> None:
    # What makes augmentation leak is that another distribution of samples looks the same once it is augmented.
    x = images(1, 1, 6, 6).repeat(4000, 1, 1, 1)
    quarters = [x[0].rot90(turns, (1, 2)) for turns in (1, 2, 3)]
    for name, others in {"xflip": [x[0].flip(2)], "rotate90": quarters}.items():
        torch.manual_seed(0)
        shown = only(name).apply(x, Ada.largest)
        shares = [sum(torch.equal(image, each) for image in shown) / 4000 for each in [x[0], *others]]
        assert shares[0] > 1.2 * max(shares[1:])


def test_gradients_are_those_of_finite_differences() -> None:
    x = images(2, 3, 3, 4).requires_grad_()

    def changed(x: Tensor) -> Tensor:
        torch.manual_seed(4)
        return Ada(AdaConfig(), (-1.0, 1.0)).apply(x, 0.7)

    assert torch.autograd.gradcheck(changed, (x,))


def test_real_and_generated_images_are_changed_apart() -> None:
    x = images(4, 3, 8, 8)
    ada = Ada(AdaConfig(), (-1.0, 1.0))
    assert not torch.equal(ada(x), ada(x))
