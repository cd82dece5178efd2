"""Drawn shapes: the judge reads from the pixels what was drawn, and says so where there is nothing to read."""

import pytest
import torch
import torch.nn.functional as F
from pydantic import ValidationError

from ganzoo import Attributes, Image, Label
from ganzoo_plugins.datasets.shapes import Shapes

SHAPES = ("circle", "square", "triangle", "star", "ring")
HUES = ("red", "yellow", "green", "cyan", "blue", "magenta")
POINTS = torch.tensor([0, 4, 3, 5, 0])


def shapes(**settings) -> Shapes:
    return Shapes(Shapes.Config(**settings))


def fetch(dataset: Shapes, indices=None) -> dict[str, torch.Tensor]:
    indices = torch.arange(len(dataset)) if indices is None else torch.tensor(indices)
    return dataset.batch(indices, torch.Generator())


def right(measured: dict[str, torch.Tensor], dataset: Shapes, name: str) -> float:
    return float((measured[name] == dataset.factors[name]).float().mean())


def spoilt(images: torch.Tensor) -> torch.Tensor:
    """Images, uint8, slightly blurred and noisy, as a generator draws them."""
    row = torch.tensor([0.25, 0.5, 0.25])
    kernel = (row * row[:, None]).expand(3, 1, 3, 3)
    blurred = F.conv2d(F.pad(images.float(), (1, 1, 1, 1), mode="replicate"), kernel, groups=3)
    noise = 8 * torch.randn(images.shape, generator=torch.Generator().manual_seed(0))
    return (blurred + noise).round().clamp(0, 255).to(torch.uint8)


@pytest.fixture(scope="module")
def many() -> Shapes:
    return shapes(size=4000)


# --- what is drawn ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("condition", "fields"),
    [
        ("classes", (Label(5, SHAPES), Label(6, HUES, name="hue"))),
        ("class", (Label(5, SHAPES),)),
        ("none", ()),
    ],
)
def test_fields(condition, fields):
    dataset = shapes(size=20, condition=condition)
    batch = fetch(dataset)
    assert dataset.spec.fields == (Image(3, 32, 32, range=(0, 255)), *fields)
    assert list(batch) == [field.name for field in dataset.spec.fields]
    assert all(torch.equal(batch[field.name], dataset.factors[field.name]) for field in fields)


def test_the_attributes_hold_every_factor():
    dataset = shapes(size=1000, condition="attributes")
    y, truth, field = fetch(dataset)["y"], dataset.factors, dataset.spec["y"]
    assert isinstance(field, Attributes)
    assert field.names == (*SHAPES, "hue_cos", "hue_sin", "size", "left", "top", "rotation_cos", "rotation_sin")
    assert torch.equal(torch.tensor(field.examples), y[:16])
    column = dict(zip(field.names, y.T, strict=True))
    assert torch.equal(y[:, :5].argmax(1), truth["shape"])
    assert torch.equal(y[:, :5].sum(1), torch.ones(1000))
    turn = torch.atan2(column["hue_sin"], column["hue_cos"]) / (2 * torch.pi) % 1
    torch.testing.assert_close(turn, truth["hue_turn"], atol=1e-4, rtol=0)
    assert column["hue_cos"].min() < -0.99 < 0.99 < column["hue_cos"].max()
    for name in ("size", "left", "top"):
        assert -1 <= column[name].min() < -0.99 < 0.99 < column[name].max() <= 1
        assert torch.corrcoef(torch.stack([column[name], truth[name]]))[0, 1] > 0.999
    turned = torch.atan2(column["rotation_sin"], column["rotation_cos"]) / (2 * torch.pi) % 1
    pointed = POINTS[truth["shape"]] > 0
    torch.testing.assert_close(turned, truth["rotation"] * POINTS[truth["shape"]], atol=1e-4, rtol=0)
    assert not column["rotation_cos"][~pointed].any()


def test_factors_are_uniform_independent_and_within_their_ranges(many):
    truth = many.factors
    assert (torch.bincount(truth["shape"]) - 800).abs().max() < 120
    assert (torch.bincount(truth["hue"]) - 667).abs().max() < 120
    away = (truth["hue_turn"] - truth["hue"] / 6 + 0.5) % 1 - 0.5
    assert 0.02 < away.abs().max() <= 0.0251
    assert (truth["rotation"] * POINTS[truth["shape"]]).max() < 1
    names = ("shape", "hue", "size", "left", "top")
    correlations = torch.corrcoef(torch.stack([truth[name].float() for name in names])).fill_diagonal_(0)
    assert correlations.abs().max() < 0.06


def test_shapes_stay_inside_and_the_background_is_plain(many):
    images = fetch(many)["x"]
    edges = torch.cat([images[..., 0], images[..., -1], images[..., 0, :], images[..., -1, :]], dim=2)
    assert (edges == 26).all()
    pixels = images.permute(0, 2, 3, 1).reshape(-1, 3)
    assert 0.7 < (pixels == 26).all(1).float().mean() < 0.95


@pytest.mark.parametrize("side", [32, 200])
def test_a_sample_depends_on_its_index_and_the_settings_alone(side):
    few, more = shapes(size=8, image_size=side), shapes(size=5000, image_size=side)
    assert few.in_memory
    assert more.in_memory == (side == 32)
    wanted = [7, 0, 7, 3]
    for name, values in fetch(more, wanted).items():
        assert torch.equal(values, fetch(few, wanted)[name])
    assert not torch.equal(fetch(few)["x"], fetch(shapes(size=8, image_size=side, sample_seed=1))["x"])


def test_known_pixels():
    """The middle of a filled shape has its color, a ring's is empty, and a rotation of 0 points to the right."""
    dataset = shapes(size=300, image_size=64)
    images, truth = fetch(dataset)["x"].long(), dataset.factors
    turn = 2 * torch.pi * truth["rotation"]

    def pixels(reach):
        """The colors [N, 3] of the pixels that lie so many radii from the middle, where the first point is."""
        left = truth["left"] + reach * truth["size"] * turn.cos()
        top = truth["top"] + reach * truth["size"] * turn.sin()
        return images[torch.arange(300), :, (top * 64).long(), (left * 64).long()]

    ring = truth["shape"] == SHAPES.index("ring")
    plain = torch.tensor([26, 26, 26])
    assert (pixels(0)[ring] == plain).all()
    color = pixels(0)[~ring]
    assert (color.amax(1) == 242).all()
    assert (color.amin(1) == 24).all()
    lit = torch.tensor([[1, 0, 0], [1, 1, 0], [0, 1, 0], [0, 1, 1], [0, 0, 1], [1, 0, 1]])[truth["hue"]]
    assert torch.equal(color > 128, lit[~ring] > 0)
    assert (pixels(0.8).amax(1) > 128).all()
    assert (pixels(1.2) == plain).all()


@pytest.mark.parametrize("settings", [{"image_size": 15}, {"image_size": 257}, {"size": 0}, {"condition": "hue"}])
def test_impossible_settings_are_refused(settings):
    with pytest.raises(ValidationError):
        Shapes.Config(**settings)


# --- the judge ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("condition", ["classes", "attributes"])
@pytest.mark.parametrize(("damage", "least"), [(lambda images: images, 0.999), (spoilt, 0.99)])
def test_the_judge_reads_what_was_drawn(condition, damage, least):
    dataset = shapes(size=1500, condition=condition, sample_seed=3)
    truth, measured = dataset.factors, dataset.measure(damage(fetch(dataset)["x"]))
    assert measured.keys() == truth.keys()
    assert all(measured[name].dtype == truth[name].dtype for name in truth)
    assert right(measured, dataset, "shape") >= least
    # Between two hues' middles, where labels never lie, the nearer one is a matter of the last bit.
    assert right(measured, dataset, "hue") >= (least if condition == "classes" else 0.98)
    known = measured["shape"] == truth["shape"]
    period = 1 / POINTS[truth["shape"]].clamp(min=1)
    for name, wrap, most in [
        ("hue_turn", 1.0, 0.01),
        ("size", 9.0, 0.008),
        ("left", 9.0, 0.006),
        ("top", 9.0, 0.006),
        ("rotation", period, 0.01),
    ]:
        miss = (measured[name] - truth[name]).abs()
        assert torch.minimum(miss, wrap - miss)[known].max() < most, name
    if condition == "attributes":
        assert (measured["y"] - truth["y"]).abs().mean() < 0.02
    else:
        assert torch.equal(measured["y"], measured["shape"])


@pytest.mark.parametrize(("side", "least"), [(16, 0.98), (100, 0.999)])
def test_the_judge_reads_other_sizes(side, least):
    dataset = shapes(size=200, image_size=side)
    measured = dataset.measure(fetch(dataset)["x"])
    assert right(measured, dataset, "shape") >= least
    assert right(measured, dataset, "hue") == 1


def test_a_verdict_does_not_depend_on_the_other_images(many):
    images = spoilt(fetch(many)["x"][:40])
    together = many.measure(images)
    alone = many.measure(images[17:18])
    for name in ("shape", "hue"):
        assert alone[name] == together[name][17]
    torch.testing.assert_close(alone["rotation"], together["rotation"][17:18], atol=1e-4, rtol=0)


def test_nothing_recognizable_is_no_class(many):
    rng = torch.Generator().manual_seed(0)
    noise = torch.randint(256, (50, 3, 32, 32), generator=rng)
    blank = torch.zeros_like(noise) + torch.randint(256, (50, 3, 1, 1), generator=rng)
    halves = blank.clone()
    halves[..., 16:] = 255 - halves[..., 16:]
    tiny = torch.zeros_like(noise)
    tiny[:, :, 15:17, 15:17] = 255
    images = fetch(many)["x"]
    two = torch.where(torch.arange(32) < 16, images[:50], images[50:100]).long()
    for name, strange in {"noise": noise, "blank": blank, "halves": halves, "tiny": tiny}.items():
        measured = many.measure(strange.to(torch.uint8))
        assert (measured["shape"] == -1).all(), name
        assert all(measured[name].isnan().all() for name in ("size", "left", "top", "rotation"))
        assert (many.attributes(measured)[:, :5] == 0).all()
        assert many.attributes(measured).isfinite().all()
    assert (many.measure(two.to(torch.uint8))["shape"] == -1).float().mean() > 0.4


def test_a_shape_without_color_has_no_hue(many):
    grey = fetch(many)["x"][:200].amax(1, keepdim=True).expand(-1, 3, -1, -1)
    measured = many.measure(grey)
    assert (measured["hue"] == -1).all()
    assert measured["hue_turn"].isnan().all()
    assert (measured["shape"] == many.factors["shape"][:200]).all()


def test_judging_nothing(many):
    assert all(len(values) == 0 for values in many.measure(torch.empty(0, 3, 32, 32, dtype=torch.uint8)).values())
