"""Digits and points that come with the installation, and what all data sets have."""

import subprocess
import sys

import pytest
import torch
from data_sets import everything
from pydantic import ValidationError

from ganzoo_plugins.datasets.digits import Digits
from ganzoo_plugins.datasets.mnist5k import Mnist5k
from ganzoo_plugins.datasets.plugin import ganzoo_specs
from ganzoo_plugins.datasets.points import Curves, Gaussians


def test_every_spec_loads_and_describes_its_settings():
    specs = [spec for spec in ganzoo_specs() if spec.kind == "dataset"]
    assert len({spec.key for spec in specs}) == len(specs)
    for spec in specs:
        dataset = spec.load()
        assert dataset.__doc__
        assert all(field.description for field in dataset.Config.model_fields.values())
        with pytest.raises(ValidationError):
            dataset.Config(no_such_setting=1, **({"path": "."} if spec.key in ("folder", "shards", "hf") else {}))


def test_listing_the_data_sets_imports_nothing_heavy():
    code = (
        "import sys; from ganzoo_plugins.datasets.plugin import ganzoo_specs; ganzoo_specs(); "
        "print([m for m in ('torch', 'numpy', 'PIL', 'pydantic', 'sklearn', 'mlxtend') if m in sys.modules])"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip() == "[]"


# --- digits that come with the installation -----------------------------------------------------------------------


def test_mnist5k():
    dataset = Mnist5k(Mnist5k.Config())
    batch = everything(dataset)
    assert dataset.spec.name == "mnist5k"
    assert dataset.spec.sample.shape == (1, 28, 28)
    assert batch["y"].bincount().tolist() == [500] * 10
    assert (batch["x"].min(), batch["x"].max()) == (0, 255)
    assert 25 < batch["x"].float().mean() < 45  # white ink on black, the mean of MNIST is 33.3
    assert dataset.spec["y"].names == tuple("0123456789")
    center = batch["x"][:, 0, 12:16, 12:16].float().mean((1, 2))
    assert center[batch["y"] == 0].mean() < center[batch["y"] == 1].mean() / 4  # a nought is hollow, a one is not


def test_digits():
    dataset = Digits(Digits.Config())
    batch = everything(dataset)
    assert (dataset.spec.name, len(dataset), dataset.spec.sample.shape) == ("digits", 1797, (1, 8, 8))
    assert (batch["x"].min(), batch["x"].max()) == (0, 255)
    assert len(batch["x"].unique()) == 17
    assert batch["y"][:10].tolist() == list(range(10))
    nought = batch["x"][0, 0]  # the first of scikit-learn's, row by row: 0 0 5 13 9 1 0 0 / 0 0 13 15 10 15 5 0 / ...
    assert (nought[:2].float() * 16 / 255).round().tolist() == [[0, 0, 5, 13, 9, 1, 0, 0], [0, 0, 13, 15, 10, 15, 5, 0]]


# --- points -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "modes", "reach"),
    [
        ({}, 9, 2**0.5),
        ({"modes": 5, "spacing": 2.0}, 25, 4 * 2**0.5),
        ({"modes": 2}, 4, 0.5**0.5),
        ({"layout": "ring"}, 8, 1.0),
        ({"layout": "ring", "modes": 3, "radius": 2.0, "sigma": 0.01}, 3, 2.0),
    ],
)
def test_gaussians(settings, modes, reach):
    dataset = Gaussians(Gaussians.Config(size=20_000, **settings))
    points = everything(dataset)["x"]
    assert dataset.metrics == ("modes",)
    assert tuple(dataset.centers.shape) == (modes, 2)
    torch.testing.assert_close(dataset.centers.mean(0), torch.zeros(2), atol=1e-6, rtol=0)
    assert dataset.centers.norm(dim=1).max().item() == pytest.approx(reach)
    distance, nearest = torch.cdist(points, dataset.centers).min(1)
    assert nearest.bincount(minlength=modes).min() > 0.8 * len(points) / modes
    assert distance.square().mean().item() == pytest.approx(2 * dataset.sigma**2, rel=0.05)


def test_neighbors_on_the_grid_are_spacing_apart():
    centers = Gaussians(Gaussians.Config(size=10, spacing=0.5)).centers
    gaps = torch.cdist(centers, centers) + 9 * torch.eye(9)
    torch.testing.assert_close(gaps.min(1).values, torch.full((9,), 0.5))


@pytest.mark.parametrize("dataset", [Gaussians, Curves])
def test_points_depend_on_their_own_seed_alone(dataset):
    first = everything(dataset(dataset.Config(size=50)))["x"]
    state = torch.get_rng_state()
    assert torch.equal(first, everything(dataset(dataset.Config(size=50)))["x"])
    assert torch.equal(state, torch.get_rng_state())
    assert not torch.equal(first, everything(dataset(dataset.Config(size=50, sample_seed=1)))["x"])


@pytest.mark.parametrize(
    ("curve", "misses"),
    [
        ("line", lambda x, y: y - x),
        ("parabola", lambda x, y: y - x**2),
        ("sine", lambda x, y: y - (torch.pi * x).sin()),
        ("circle", lambda x, y: ((x - 2) ** 2 + y**2).sqrt() - 1),
        ("spiral", lambda x, y: (4 * torch.pi * torch.hypot(x - 2, y) - torch.atan2(y, x - 2)).sin()),
    ],
)
def test_curves(curve, misses):
    dataset = Curves(Curves.Config(curve=curve, x_min=1, x_max=3, noise=0, size=5000))
    x, y = everything(dataset)["x"].unbind(1)
    assert misses(x, y).abs().max() < 1e-4
    assert 1 <= x.min() < (1.3 if curve == "spiral" else 1.1)
    assert 2.85 < x.max() <= 3
    noisy = Curves(Curves.Config(curve=curve, x_min=1, x_max=3, noise=0.1, size=5000))
    assert (everything(noisy)["x"] - everything(dataset)["x"]).std().item() == pytest.approx(0.1, rel=0.05)


@pytest.mark.parametrize("settings", [{"x_min": 1, "x_max": 1}, {"noise": -1}, {"size": 0}, {"x_min": float("nan")}])
def test_impossible_curves_are_refused(settings):
    with pytest.raises(ValidationError):
        Curves.Config(**settings)
