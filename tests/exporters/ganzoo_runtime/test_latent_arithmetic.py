"""Latents of a truncated normal distribution, against SciPy's quantiles, and models that are truncated by it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from built import CPU, build
from conftest import Command
from scipy import stats
from torch import Tensor

from ganzoo import Label, Latent, Points, Signature
from ganzoo.gan.networks import Generator as Network
from ganzoo.inference.sampling import TorchSampler
from ganzoo_runtime import Generator, edit, truncated_normal


@pytest.mark.parametrize("threshold", [0.04, 0.5, 1.0, 2.0, 4.0])
def test_numbers_keep_their_quantile(threshold: float) -> None:
    z = np.random.default_rng(0).standard_normal((500, 40), dtype=np.float32)
    kept = z.copy()
    found = truncated_normal(z, threshold)
    expected = stats.truncnorm(-threshold, threshold).ppf(stats.norm.cdf(z.astype(np.float64)))
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, rtol=2e-7, atol=2e-8)  # a float32 has 6e-8 of itself
    assert np.abs(found).max() <= threshold
    assert np.array_equal(z, kept)
    assert np.array_equal(truncated_normal(z[3:5], threshold), found[3:5]), "whatever else is drawn"


def test_a_far_threshold_changes_nothing_and_none_is_refused() -> None:
    z = np.linspace(-6, 6, 100, dtype=np.float32)
    np.testing.assert_allclose(truncated_normal(z, 30), z, atol=1e-4)
    for wrong in (0.0, -1.0, float("nan")):
        with pytest.raises(ValueError, match="threshold is above 0"):
            truncated_normal(z, wrong)


# ---- models that say that their latents are resampled

RESAMPLED = Signature(
    (Latent((40,), truncation="resampled"), Label(3), Latent((5,), name="w"), Latent((2,), "uniform", "u")), Points(2)
)


class Sums(Network):
    """Sums of the latents, which show what they were."""

    def forward(self, z: Tensor, y: Tensor, w: Tensor, u: Tensor) -> Tensor:
        return torch.stack([z.sum(1) + y, w.sum(1) + u.sum(1)], 1)


@pytest.fixture(scope="module")
def file() -> Generator:
    return Generator(build(RESAMPLED), providers=CPU, threads=1)


@pytest.mark.parametrize("threshold", [0.25, 1.0, 2.0])
def test_latents_are_of_the_truncated_normal_distribution(file: Generator, threshold: float) -> None:
    z = file.latents(500, 7, truncation=threshold)
    assert np.abs(z).max() <= threshold
    assert stats.kstest(z.ravel(), stats.truncnorm(-threshold, threshold).cdf).pvalue > 0.01
    np.testing.assert_array_equal(file.latents([400, 3], 7, truncation=threshold), z[[400, 3]])


def test_every_latent_follows_its_own_mark_and_torch_and_the_file_draw_the_same(file: Generator) -> None:
    run = TorchSampler(Sums(RESAMPLED), {"schema": 1, "signature": RESAMPLED.to_json()})
    plain, found = ({name: file.latents(9, 3, name, **asked) for name in "zwu"} for asked in ({}, {"truncation": 0.5}))
    for name, expected in {"z": truncated_normal(plain["z"], 0.5), "w": plain["w"] / 2, "u": plain["u"] / 2}.items():
        np.testing.assert_array_equal(found[name], expected)
        np.testing.assert_array_equal(run.latents(9, 3, name, truncation=0.5), expected)
    y = np.arange(9) % 3
    np.testing.assert_array_equal(file.sample(9, seed=3, truncation=0.5), file(found["z"], y, found["w"], found["u"]))
    sums = np.stack([found["z"].sum(1) + y, found["w"].sum(1) + found["u"].sum(1)], 1)
    np.testing.assert_allclose(run.sample(9, seed=3, truncation=0.5), sums, atol=1e-5)


def test_no_threshold_is_none_of_one_and_given_latents_stay(file: Generator) -> None:
    assert np.abs(file.latents(100)).max() > 3
    assert np.abs(file.latents(100, truncation=1)).max() <= 1
    z = file.latents(4) + 5
    _, inputs = next(file.stream(4, latents=z, truncation=0.5))
    np.testing.assert_array_equal(inputs["z"], z)


def test_what_is_no_threshold_is_refused(file: Generator, cli: Command, tmp_path: Path) -> None:
    for wrong in (0, 0.0, -1, float("nan"), float("inf"), "much"):
        with pytest.raises(ValueError, match="the truncation is a finite number above 0 for this model, not"):
            file.sample(2, truncation=wrong)  # type: ignore[arg-type]
    (tmp_path / "m.onnx").write_bytes(build(RESAMPLED))
    cli("sample", tmp_path / "m.onnx", "-n", 2, "--truncation", 0, "--out", "x.npz").refused(
        "the truncation is a finite number above 0 for this model, not 0.0"
    )


def test_files_without_the_mark_are_scaled_as_before() -> None:
    document = json.loads(json.dumps(RESAMPLED.to_json()))
    assert document["inputs"][0].pop("truncation") == "resampled"
    before = Signature.from_json(document)
    assert before.inputs[0] == Latent((40,))
    assert before.to_json() == document
    old = Generator(build(RESAMPLED, {"schema": 1, "signature": document}), providers=CPU, threads=1)
    np.testing.assert_array_equal(old.latents(9, 3, truncation=0.5), old.latents(9, 3) / 2)
    np.testing.assert_array_equal(old.sample(9, truncation=1), old.sample(9))
    assert Signature.from_json(RESAMPLED.to_json()) == RESAMPLED


def test_numbers_beyond_float32_are_refused_without_a_warning(file: Generator) -> None:
    with pytest.raises(ValueError, match=r"a truncation of 3e\+38 makes latents that are too large for float32"):
        file.sample(9, truncation=3e38)
    vector = np.eye(1, file.latents(1, 0, "w").size, dtype=np.float32).ravel()
    known = {"far": {"vector": vector}, "as far": {"vector": vector}}
    edited = edit(file.latents(1, 0, "w"), known, {"far": 3e38, "as far": 3e38})
    with pytest.raises(ValueError, match="finite numbers that float32 can hold"):
        file.sample(1, latents={"w": edited})
