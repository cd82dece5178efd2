"""Perceptual path length beside its exact value: linear generators, and features that are the pixels."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

import ganzoo
from ganzoo import Generator, Image, Label, Latent, Signature, StyleGenerator, UserError
from ganzoo.inference.sampling import TorchSampler
from ganzoo.testing.samples import random_data
from ganzoo_plugins.metrics.path_length import PathLength, slerp, trimmed_mean

IMAGE = Image(1, 8, 8)


class Pixels:
    """Features that are the pixels, in the place of an extractor."""

    name = "pixels"

    def features(self, images: Tensor) -> Tensor:
        return images.double().flatten(1)


class Linear(Generator):
    """Images A z, the same for all classes but for a constant, which no way changes."""

    def __init__(self, distribution: Any) -> None:
        super().__init__(Signature((Latent((3,), distribution), Label(4)), IMAGE))
        self.matrix = torch.randn(3, 64, generator=torch.Generator().manual_seed(0)) / 20

    def forward(self, z: Tensor, y: Tensor) -> Tensor:
        return (z @ self.matrix + y[:, None] / 10).unflatten(1, (1, 8, 8))


class LinearStyles(StyleGenerator):
    """Images that are linear in w, which is a cube of z."""

    def __init__(self) -> None:
        super().__init__((Latent((3,)),), 2, 3, IMAGE)
        self.matrix = torch.randn(6, 64, generator=torch.Generator().manual_seed(0)) / 20

    def mapped(self, z: Tensor) -> Tensor:  # type: ignore[override]
        return (z**3).unsqueeze(1).expand(-1, 2, -1)

    def drawn(self, styles: Tensor) -> Tensor:
        return (styles.flatten(1) @ self.matrix).unflatten(1, (1, 8, 8))


def measured(network: Generator, n: int = 300, seed: int = 5, **settings: Any) -> dict[str, float]:
    dataset = random_data(Image(1, 8, 8, range=(0, 255)), Label(4))
    metric = PathLength(PathLength.Config(samples=n, **settings), dataset)
    metric.extractor = Pixels()  # type: ignore[assignment]
    metric.check(network.signature)
    assert metric(torch.zeros(2, 1, 8, 8), {}) == {}
    assert metric.reference() == {}
    return metric.probe(sampler(network), seed)


def sampler(network: Generator) -> TorchSampler:
    return TorchSampler(network, {"signature": network.signature.to_json()})


def squares(ways: Any, matrix: Tensor) -> float:
    """Return the trimmed mean of |A v|^2 of ways v, [N, D], in pixels of 0..255."""
    found = np.sort((((np.asarray(ways, np.float64) @ matrix.double().numpy()) * 127.5) ** 2).sum(axis=1))
    return float(found[int(0.01 * (len(found) - 1)) : len(found) - int(0.01 * (len(found) - 1))].mean())


def test_straight_ways_between_uniform_latents_have_their_exact_length() -> None:
    network = Linear("uniform")
    start, end = (sampler(network).latents(300, seed) for seed in (5, 6))
    expected = squares(end - start, network.matrix)
    assert measured(network)["pixels/z"] == pytest.approx(expected, rel=1e-3)
    assert measured(network, epsilon=0.01)["pixels/z_0.01"] == pytest.approx(expected, rel=1e-5)


def test_ways_between_normal_latents_bend() -> None:
    network = Linear("normal")
    start, end = (np.float64(sampler(network).latents(300, seed)) for seed in (5, 6))
    at, h = np.random.Generator(np.random.Philox(5)).random(300), 1e-4
    ways = np.array([(circle(*each, t + h) - circle(*each, t)) / h for *each, t in zip(start, end, at, strict=True)])
    assert measured(network)["pixels/z"] == pytest.approx(squares(ways, network.matrix), rel=1e-3)
    assert measured(network)["pixels/z"] != pytest.approx(squares(end - start, network.matrix), rel=0.05)


def test_style_based_models_are_measured_in_w_unless_z_is_asked_for() -> None:
    network = LinearStyles()
    start, end = (sampler(network).styles(300, seed).reshape(300, -1) for seed in (5, 6))
    found = measured(network)
    assert found == {"pixels/w": pytest.approx(squares(end - start, network.matrix), rel=1e-3)}
    assert measured(network, space="z")["pixels/z"] != pytest.approx(found["pixels/w"], rel=0.05)


def test_equal_seeds_give_equal_lengths() -> None:
    network = Linear("normal")
    assert measured(network, seed=1) == measured(network, seed=1) != measured(network, seed=2)


def circle(start: Any, end: Any, t: float) -> Any:
    """Return the point of a great circle as textbooks have it, for one pair of any lengths."""
    a, b = np.linalg.norm(start), np.linalg.norm(end)
    angle = np.arccos(start @ end / a / b)
    unit = (np.sin((1 - t) * angle) * start / a + np.sin(t * angle) * end / b) / np.sin(angle)
    return unit * ((1 - t) * a + t * b)


def test_great_circles_beside_the_textbook_and_where_it_divides_by_zero() -> None:
    start, end = np.random.default_rng(0).normal(size=(2, 20, 5))
    at = np.linspace(0, 1.1, 20)
    expected = np.array([circle(*each) for each in zip(start, end, at, strict=True)])
    np.testing.assert_allclose(slerp(start, end, at), expected, rtol=1e-12)
    np.testing.assert_allclose(slerp(start, 3 * start, at), start * (1 + 2 * at[:, None]), rtol=1e-7)


def test_a_hundredth_is_left_out_on_either_side() -> None:
    values = torch.arange(1.0, 202.0, dtype=torch.float64)
    values[-1], values[0] = 1e9, -1e9
    assert trimmed_mean(values[torch.randperm(201, generator=torch.Generator().manual_seed(0))]) == 101
    assert trimmed_mean(torch.tensor([3.0])) == 3


def test_models_without_such_a_space_are_refused() -> None:
    image = Image(1, 8, 8, range=(0, 255))
    dataset = random_data(image, Label(4))
    with pytest.raises(UserError, match="no styles w"):
        PathLength(PathLength.Config(space="w"), dataset).check(Linear("normal").signature)
    with pytest.raises(UserError, match="not drawn from latents"):
        PathLength(PathLength.Config(), dataset).check(Signature((Image(1, 8, 8, name="a"),), image))
    with pytest.raises(UserError, match="no labels"):
        PathLength(PathLength.Config(extractor="auto"), random_data(image))


def test_training_and_evaluation_ask_the_metric(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GANZOO_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "hub"))
    monkeypatch.chdir(tmp_path)
    metric = {"path_length": {"samples": 40, "classifier": {"steps": 2}}}
    config = {"model": {"hidden": [8]}, "metric": metric}
    run = ganzoo.train("gan_fc", data="digits", config=config, steps=1, quiet=True)
    name = "path_length/classifier_digits_2_steps/z"
    sets = ["metric.path_length.classifier.steps=2"]
    found = ganzoo.evaluate(run, metrics=["path_length"], n=40, sets=sets, seed=0, quiet=True)
    assert found.figures == {name: pytest.approx(run.metrics()[-1][name], rel=1e-5)}
    assert found.better == {name: "lower"}
    assert found.reference == {}
