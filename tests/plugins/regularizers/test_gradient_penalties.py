"""Penalties on the discriminator's gradient, against known gradients and finite differences."""

import numpy as np
import pytest
import torch
from penalties import assert_gradient, made, quadratic_score, small_critic, symmetric
from torch import nn

from ganzoo import UserError
from ganzoo_plugins.regularizers.consistency import Consistency
from ganzoo_plugins.regularizers.gradient_penalty import DRAGAN, GradientPenalty
from ganzoo_plugins.regularizers.path_length import PathLength
from ganzoo_plugins.regularizers.zero_centered import R1, R2


@pytest.mark.parametrize(
    "regularizer",
    [
        made(GradientPenalty),
        made(GradientPenalty, center=0),
        made(DRAGAN),
        made(R1),
        made(R2),
        made(Consistency, fake=True),
    ],
    ids=["gradient_penalty", "gradient_penalty-0", "dragan", "r1", "r2", "consistency"],
)
def test_the_gradient_of_a_penalty_is_that_of_finite_differences(regularizer):
    torch.manual_seed(0)
    critic = small_critic()
    real, fake = torch.randn(2, 6, 4, dtype=torch.float64)

    def value():
        torch.manual_seed(3)
        return regularizer.penalty(critic, real, fake)

    assert_gradient(value, list(critic.parameters())[:3])


# Penalties on gradients


@pytest.mark.parametrize("center", [1.0, 0.0, 2.5])
def test_gradient_penalty_against_the_known_gradient(center):
    torch.manual_seed(0)
    matrix = symmetric(12)
    real, fake = torch.randn(2, 5, 3, 2, 2, dtype=torch.float64)
    torch.manual_seed(1)
    penalty = made(GradientPenalty, center=center).penalty(quadratic_score(matrix), real, fake)
    torch.manual_seed(1)
    epsilon = torch.rand(5, 1, 1, 1, dtype=torch.float64)
    mixed = epsilon * real + (1 - epsilon) * fake
    expected = [((matrix @ sample.flatten()).norm() - center) ** 2 for sample in mixed]
    assert penalty.item() == pytest.approx(torch.stack(expected).mean().item(), rel=1e-9)


def test_gradient_penalty_draws_an_epsilon_for_each_sample():
    seen = []

    def score(x):
        seen.append(x.detach())
        return x.flatten(1).sum(1)

    made(GradientPenalty).penalty(score, torch.ones(64, 1, 4, 4), torch.zeros(64, 1, 4, 4))
    (mixed,) = seen
    per_sample = mixed.flatten(1)
    assert (per_sample == per_sample[:, :1]).all(), "one epsilon for all of a sample"
    assert per_sample[:, 0].unique().numel() > 60, "and another for each sample"


@pytest.mark.parametrize("scale", [0.5, 3.0])
@pytest.mark.parametrize("cls", [GradientPenalty, DRAGAN])
def test_the_pull_is_two_sided_and_over_the_flattened_sample(cls, scale):
    # A linear critic has the same gradient everywhere: scale in each of 16 elements, norm 4 * scale.
    score = lambda x: scale * x.flatten(1).sum(1)  # noqa: E731
    x = torch.randn(7, 1, 4, 4)
    assert made(cls).penalty(score, x, -x).item() == pytest.approx((4 * scale - 1) ** 2, rel=1e-5)


@pytest.mark.parametrize("cls", [GradientPenalty, DRAGAN])
@pytest.mark.parametrize("center", [0.0, 1.0])
def test_the_pull_has_a_finite_gradient_where_the_critic_is_flat(cls, center):
    critic = small_critic()
    nn.init.zeros_(critic[2].weight)
    real, fake = torch.randn(2, 6, 4, dtype=torch.float64)
    value = made(cls, center=center).penalty(critic, real, fake)
    assert value.item() == center**2
    gradients = torch.autograd.grad(value, list(critic.parameters()), allow_unused=True)
    assert all(gradient.isfinite().all() for gradient in gradients if gradient is not None)


def test_dragan_looks_around_real_samples_as_its_authors_do():
    torch.manual_seed(0)
    matrix = symmetric(8)
    real = torch.randn(5, 2, 2, 2, dtype=torch.float64)
    torch.manual_seed(1)
    penalty = made(DRAGAN).penalty(quadratic_score(matrix), real, torch.full_like(real, torch.nan))
    torch.manual_seed(1)
    uniform, part = torch.rand_like(real).numpy(), torch.rand(5, 1, 1, 1, dtype=torch.float64).numpy()
    x = real.numpy()
    perturbed = x + 0.5 * x.std() * uniform
    moved = x + part * (perturbed - x)
    norms = np.linalg.norm(moved.reshape(5, 8) @ matrix.numpy(), axis=1)
    assert penalty.item() == pytest.approx(((norms - 1) ** 2).mean(), rel=1e-9)


@pytest.mark.parametrize("cls", [R1, R2])
def test_r1_and_r2_are_half_the_squared_norm_at_real_or_at_fake_samples(cls):
    torch.manual_seed(0)
    matrix = symmetric(12)
    x = torch.randn(5, 3, 2, 2, dtype=torch.float64)
    unseen = torch.full_like(x, torch.nan)
    given = (x, unseen) if cls is R1 else (unseen, x)
    expected = np.mean([np.sum((matrix.numpy() @ sample.numpy().ravel()) ** 2) / 2 for sample in x])
    assert made(cls).penalty(quadratic_score(matrix), *given).item() == pytest.approx(expected, rel=1e-9)
    assert made(cls).config.weight == 10


def test_a_map_of_scores_counts_by_its_sum():
    x = torch.randn(4, 1, 3, 3, dtype=torch.float64)
    value = made(R1).penalty(lambda x: x**2, x, x)
    assert value.item() == pytest.approx((2 * x).square().sum().item() / 4 / 2, rel=1e-9)


@pytest.mark.parametrize("cls", [GradientPenalty, DRAGAN, R1, R2, PathLength])
def test_batch_norm_is_refused(cls):
    network = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2))
    role = "generator" if cls is PathLength else "discriminator"
    with pytest.raises(UserError, match=rf"needs a {role} that .* batch norm;.* without batch norm in its {role}"):
        made(cls).check(network)
    made(cls).check(network[0])
