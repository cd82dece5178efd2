"""The losses and regularisers against equations written down independently, in float64."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from ganzoo import LossConfig, UserError
from ganzoo_plugins.losses.gradient_penalty import GradientPenalty, GradientPenaltyConfig
from ganzoo_plugins.losses.non_saturating import NonSaturating
from ganzoo_plugins.losses.wasserstein import Wasserstein, WassersteinGP
from ganzoo_plugins.losses.weight_clip import WeightClip, WeightClipConfig

scores = st.lists(st.floats(-20, 20), min_size=1, max_size=8)


@given(real=scores, fake=scores)
def test_non_saturating_is_cross_entropy(real, fake):
    loss = NonSaturating(LossConfig())
    sigmoid = [[1 / (1 + math.exp(-s)) for s in side] for side in (real, fake)]
    discriminator = -sum(map(math.log, sigmoid[0])) / len(real) - sum(math.log1p(-p) for p in sigmoid[1]) / len(fake)
    generator = -sum(map(math.log, sigmoid[1])) / len(fake)
    tensors = [torch.tensor(side, dtype=torch.float64) for side in (real, fake)]
    assert loss.discriminator(*tensors).item() == pytest.approx(discriminator, rel=1e-6, abs=1e-8)
    assert loss.generator(tensors[1], None).item() == pytest.approx(generator, rel=1e-6, abs=1e-8)


def test_non_saturating_stays_finite_at_large_scores():
    loss = NonSaturating(LossConfig())
    extreme = torch.tensor([-1e4, 1e4])
    assert loss.discriminator(extreme, extreme).isfinite()
    assert loss.generator(extreme, None).isfinite()


@given(real=scores, fake=scores)
def test_wasserstein_is_a_difference_of_means(real, fake):
    loss = Wasserstein(LossConfig())
    tensors = [torch.tensor(side, dtype=torch.float64) for side in (real, fake)]
    expected = sum(fake) / len(fake) - sum(real) / len(real)
    assert loss.discriminator(*tensors).item() == pytest.approx(expected, abs=1e-9)
    assert loss.generator(tensors[1], None).item() == pytest.approx(-sum(fake) / len(fake), abs=1e-9)


def test_wasserstein_losses_bring_their_constraint_and_five_critic_steps():
    assert list(Wasserstein.regularizers) == ["weight_clip"]
    assert list(WassersteinGP.regularizers) == ["gradient_penalty"]
    assert Wasserstein.critic_steps == WassersteinGP.critic_steps == 5
    assert GradientPenaltyConfig().weight == 10


def quadratic_score(matrix):
    """D(x) = x^T A x / 2, whose gradient, A x for symmetric A, is known."""
    return lambda x: torch.einsum("ni,ij,nj->n", x.flatten(1), matrix, x.flatten(1)) / 2


def test_gradient_penalty_against_the_known_gradient():
    torch.manual_seed(0)
    matrix = torch.randn(12, 12, dtype=torch.float64)
    matrix = matrix + matrix.T
    real, fake = torch.randn(2, 5, 3, 2, 2, dtype=torch.float64)
    torch.manual_seed(1)
    penalty = GradientPenalty(GradientPenaltyConfig()).penalty(quadratic_score(matrix), real, fake)
    torch.manual_seed(1)
    epsilon = torch.rand(5, 1, 1, 1, dtype=torch.float64)
    mixed = epsilon * real + (1 - epsilon) * fake
    expected = [((matrix @ sample.flatten()).norm() - 1) ** 2 for sample in mixed]
    assert penalty.item() == pytest.approx(torch.stack(expected).mean().item(), rel=1e-9)


def test_gradient_penalty_draws_an_epsilon_for_each_sample():
    seen = []

    def score(x):
        seen.append(x.detach())
        return x.flatten(1).sum(1)

    GradientPenalty(GradientPenaltyConfig()).penalty(score, torch.ones(64, 1, 4, 4), torch.zeros(64, 1, 4, 4))
    (mixed,) = seen
    per_sample = mixed.flatten(1)
    assert (per_sample == per_sample[:, :1]).all(), "one epsilon for all of a sample"
    assert per_sample[:, 0].unique().numel() > 60, "and another for each sample"


@pytest.mark.parametrize("scale", [0.5, 3.0])
def test_gradient_penalty_is_two_sided_and_over_the_flattened_sample(scale):
    # A linear critic has the same gradient everywhere: scale in each of 16 elements, norm 4 * scale.
    score = lambda x: scale * x.flatten(1).sum(1)  # noqa: E731
    x = torch.randn(7, 1, 4, 4)
    penalty = GradientPenalty(GradientPenaltyConfig()).penalty(score, x, -x)
    assert penalty.item() == pytest.approx((4 * scale - 1) ** 2, rel=1e-5)


def test_gradient_penalty_differentiates_twice_like_finite_differences():
    torch.manual_seed(0)
    critic = nn.Sequential(nn.Linear(4, 8), nn.Softplus(), nn.Linear(8, 1)).double()
    real, fake = torch.randn(2, 6, 4, dtype=torch.float64)
    regularizer = GradientPenalty(GradientPenaltyConfig())

    def value():
        torch.manual_seed(3)
        return regularizer.penalty(critic, real, fake)

    gradients = torch.autograd.grad(value(), list(critic.parameters())[:3])
    for parameter, gradient in zip(list(critic.parameters())[:3], gradients, strict=True):
        for index in range(min(6, parameter.numel())):
            flat = parameter.data.view(-1)
            before = flat[index].item()
            flat[index] = before + 1e-5
            high = value().item()
            flat[index] = before - 1e-5
            low = value().item()
            flat[index] = before
            assert gradient.view(-1)[index].item() == pytest.approx((high - low) / 2e-5, rel=1e-5, abs=1e-8)


def test_gradient_penalty_refuses_batch_norm():
    with pytest.raises(UserError, match="batch norm"):
        GradientPenalty(GradientPenaltyConfig()).check(nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2)))


def test_weight_clip_projects_every_weight():
    network = nn.Linear(5, 5)
    nn.init.normal_(network.weight)
    small = network.weight.detach().clamp(-0.01, 0.01)
    WeightClip(WeightClipConfig()).project(network)
    assert torch.equal(network.weight, small)
    assert network.bias.abs().max() <= 0.01
