"""Scores that stay where a sample is changed: consistency and virtual adversarial penalties."""

import numpy as np
import pytest
import torch
from penalties import assert_gradient, made, quadratic_score, small_critic, symmetric
from pydantic import ValidationError
from torch import nn

from ganzoo_plugins.regularizers.consistency import Consistency
from ganzoo_plugins.regularizers.virtual_adversarial import VirtualAdversarial


def moved_image(image, down, right):
    """Row by row and column by column: what lies outside is the nearest pixel of the border."""
    _, height, width = image.shape
    rows = [min(max(i + down, 0), height - 1) for i in range(height)]
    columns = [min(max(j + right, 0), width - 1) for j in range(width)]
    return image[:, rows][:, :, columns]


@pytest.mark.parametrize("flip", [False, True])
def test_images_are_moved_by_whole_pixels_and_mirrored_if_asked(flip):
    torch.manual_seed(0)
    images = torch.randn(150, 2, 4, 5)
    changed = made(Consistency, shift=1, flip=flip).change(images)
    steps = [(down, right) for down in (-1, 0, 1) for right in (-1, 0, 1)]
    found = set()
    for before, after in zip(images, changed, strict=True):
        moved = {step: moved_image(before, *step) for step in steps}
        ways = {(*step, False) for step, image in moved.items() if torch.equal(image, after)}
        ways |= {(*step, True) for step, image in moved.items() if torch.equal(image.flip(2), after)}
        assert len(ways) == 1
        found |= ways
    assert found == {(*step, mirrored) for step in steps for mirrored in ((False, True) if flip else (False,))}


def test_no_shift_is_no_change_and_other_samples_get_noise():
    torch.manual_seed(0)
    images = torch.randn(3, 1, 4, 4)
    assert torch.equal(made(Consistency, shift=0).change(images), images)
    noise = made(Consistency, jitter=0.3).change(torch.zeros(20_000, 2))
    assert noise.std().item() == pytest.approx(0.3, rel=0.02)
    assert noise.mean().abs() < 0.01


@pytest.mark.parametrize("shape", [(1, 5, 5), (2,)])
@pytest.mark.parametrize("fake", [False, True])
def test_consistency_is_the_squared_difference_at_real_and_if_asked_at_fake_samples(shape, fake):
    torch.manual_seed(0)
    matrix = symmetric(torch.Size(shape).numel())
    score = quadratic_score(matrix)
    samples = torch.randn(2, 6, *shape, dtype=torch.float64)
    regularizer = made(Consistency, fake=fake, shift=2)
    torch.manual_seed(1)
    value = regularizer.penalty(score, *samples)
    torch.manual_seed(1)
    expected = 0.0
    for each in samples[: 2 if fake else 1]:
        differences = [a - b for a, b in zip(score(each), score(regularizer.change(each)), strict=True)]
        expected += sum(float(difference) ** 2 for difference in differences) / 6
    assert value.item() == pytest.approx(expected, rel=1e-9)
    assert value > 0


def test_a_map_of_scores_is_consistent_in_each_of_its_places():
    torch.manual_seed(0)
    x = torch.randn(3, 2, 4, 4)
    regularizer = made(Consistency, shift=1)
    torch.manual_seed(1)
    value = regularizer.penalty(lambda x: x.sum(1, keepdim=True), x, x)
    torch.manual_seed(1)
    difference = (x - regularizer.change(x)).sum(1)
    assert value.item() == pytest.approx(difference.square().sum().item() / 3, rel=1e-5)


# Adversarial Lipschitz regularization


@pytest.mark.parametrize("iterations", [1, 3])
@pytest.mark.parametrize("shape", [(2, 2, 2), (8,)])
def test_virtual_adversarial_seeks_the_steepest_step_as_its_authors_do(iterations, shape):
    torch.manual_seed(0)
    matrix = symmetric(8) / 4
    real, fake = torch.randn(2, 5, *shape, dtype=torch.float64)
    settings = {"lipschitz": 0.7, "shortest": 0.2, "longest": 2.0, "probe": 0.9, "iterations": iterations}
    torch.manual_seed(1)
    penalty = made(VirtualAdversarial, **settings).penalty(quadratic_score(matrix), real, fake)
    torch.manual_seed(1)
    lengths = 0.2 + 1.8 * torch.rand(10, *[1] * len(shape), dtype=torch.float64).flatten().numpy()
    starts = torch.rand(10, *shape, dtype=torch.float64).reshape(10, 8).numpy() - 0.5
    a, every = matrix.numpy(), torch.cat([real, fake]).reshape(10, 8).numpy()
    low, high = every.min(), every.max()
    total = 0.0
    for x, length, direction in zip(every, lengths, starts, strict=True):
        score = x @ a @ x / 2
        direction = direction / np.linalg.norm(direction)
        for _ in range(iterations):
            probed = x + 0.9 * direction
            inside = (probed >= low) & (probed <= high)
            probed = probed.clip(low, high)
            gradient = np.sign(probed @ a @ probed / 2 - score) * 0.9 * (a @ probed) * inside
            direction = gradient / np.linalg.norm(gradient)
        moved = (x + length * direction).clip(low, high)
        steepness = abs(moved @ a @ moved / 2 - score) / np.linalg.norm(moved - x)
        total += max(0.0, steepness - 0.7) ** 2
    assert penalty.item() == pytest.approx(total / 10, rel=1e-9)
    assert penalty > 0


def test_virtual_adversarial_finds_how_steep_a_linear_critic_is():
    weight = torch.tensor([[3.0], [4.0]], dtype=torch.float64)
    # The outermost samples set the box, and are too far out for the others to be clipped; they cost nothing much.
    x = torch.cat([torch.randn(4000, 2, dtype=torch.float64), torch.tensor([[-50.0, -50.0], [50.0, 50.0]])])
    for scale, expected in ((1.0, (5 - 1) ** 2), (0.19, 0.0)):
        value = made(VirtualAdversarial).penalty(lambda x, scale=scale: (x @ weight).squeeze(1) * scale, x, x)
        assert value.item() == pytest.approx(expected, rel=1e-2)


def test_virtual_adversarial_has_the_gradient_of_its_steps_being_constant():
    torch.manual_seed(0)
    critic = small_critic()
    with torch.no_grad():
        critic[2].weight.mul_(20)
    real, fake = torch.randn(2, 6, 4, dtype=torch.float64)
    seen = []

    def score(x):
        seen.append(x.detach())
        return critic(x)

    def value():
        torch.manual_seed(3)
        return made(VirtualAdversarial).penalty(score, real, fake)

    value()
    x, moved = torch.cat(seen[-4:-2]), torch.cat(seen[-2:])  # the real and the fake half of each

    def with_these_steps():
        slope = (critic(x) - critic(moved)).abs().squeeze(1) / (moved - x).norm(dim=1).clamp_min(1e-10)
        return (slope - 1).clamp_min(0).square().mean()

    assert_gradient(value, list(critic.parameters())[:3], with_these_steps)


def test_virtual_adversarial_asks_for_as_many_scores_as_a_bound_condition_is_for():
    torch.manual_seed(0)
    critic, condition = small_critic(6), torch.randn(6, 2, dtype=torch.float64)
    real, fake = torch.randn(2, 6, 4, dtype=torch.float64)
    value = made(VirtualAdversarial).penalty(lambda x: critic(torch.cat([x, condition], 1)), real, fake)
    assert value.isfinite()


def test_virtual_adversarial_leaves_samples_alone_that_are_all_the_same():
    x = torch.zeros(4, 2, requires_grad=False)
    critic = nn.Linear(2, 1)
    value = made(VirtualAdversarial).penalty(critic, x, x)
    assert value.item() == 0
    assert all(part.isfinite().all() for part in torch.autograd.grad(value, list(critic.parameters())))
    with pytest.raises(ValidationError, match="shortest is to be at most longest"):
        made(VirtualAdversarial, shortest=2.0, longest=1.0)
