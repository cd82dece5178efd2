"""The regularizers against equations written down independently, and their gradients against finite differences."""

import copy
from pathlib import Path

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from torch import nn

from ganzoo import Bound, Discriminator, Points, RegularizerConfig, Scores, Signature, UserError, load_registry
from ganzoo.config.resolving import load_config
from ganzoo.runs import checkpoint
from ganzoo.testing import losses as kit
from ganzoo.testing.results import Fault
from ganzoo.training.loop import Loop
from ganzoo_plugins.fc.gan_fc import FullyConnectedGAN
from ganzoo_plugins.losses.began import BEGAN, BEGANConfig
from ganzoo_plugins.regularizers.consistency import Consistency
from ganzoo_plugins.regularizers.gradient_penalty import DRAGAN, GradientPenalty
from ganzoo_plugins.regularizers.mode_seeking import ModeSeeking
from ganzoo_plugins.regularizers.orthogonal import Orthogonal, OrthogonalDiscriminator
from ganzoo_plugins.regularizers.path_length import PathLength
from ganzoo_plugins.regularizers.virtual_adversarial import VirtualAdversarial
from ganzoo_plugins.regularizers.weight_clip import WeightClip
from ganzoo_plugins.regularizers.zero_centered import R1, R2


def made(cls, **settings):
    return cls(cls.Config(**settings))


def quadratic_score(matrix):
    """D(x) = x^T A x / 2, whose gradient, A x for symmetric A, is known."""
    return lambda x: torch.einsum("ni,ij,nj->n", x.flatten(1), matrix, x.flatten(1)) / 2


def symmetric(size):
    matrix = torch.randn(size, size, dtype=torch.float64)
    return matrix + matrix.T


def small_critic(size=4):
    return nn.Sequential(nn.Linear(size, 8), nn.Softplus(), nn.Linear(8, 1)).double()


def assert_gradient(value, parameters, reference=None):
    """Compare autograd's gradient of ``value()`` with finite differences of ``reference()`` at a few elements."""
    reference = reference or value
    gradients = torch.autograd.grad(value(), parameters)
    assert any(gradient.abs().max() > 1e-4 for gradient in gradients)
    for parameter, gradient in zip(parameters, gradients, strict=True):
        flat = parameter.data.view(-1)
        for index in range(min(6, parameter.numel())):
            before = flat[index].item()
            flat[index] = before + 1e-5
            high = reference().item()
            flat[index] = before - 1e-5
            low = reference().item()
            flat[index] = before
            assert gradient.reshape(-1)[index].item() == pytest.approx((high - low) / 2e-5, rel=1e-5, abs=1e-7)


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


# Consistency


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


# Weight clipping


def test_weight_clip_projects_every_weight():
    network = nn.Linear(5, 5)
    nn.init.normal_(network.weight)
    small = network.weight.detach().clamp(-0.01, 0.01)
    made(WeightClip).project(network)
    assert torch.equal(network.weight, small)
    assert network.bias.abs().max() <= 0.01


# Path length


def small_generator(shape):
    size = torch.Size(shape).numel()
    return nn.Sequential(nn.Linear(3, 6), nn.Softplus(), nn.Linear(6, size), nn.Unflatten(1, shape)).double()


def lengths_by_jacobian(generator, z, noise):
    """||J^T y|| of each sample, from its whole Jacobian."""
    lengths = []
    for latent, y in zip(z, noise, strict=True):
        jacobian = torch.func.jacrev(lambda latent: generator(latent[None])[0].flatten())(latent)
        lengths.append((jacobian.reshape(len(y.flatten()), -1).T @ y.flatten()).norm())
    return torch.stack(lengths)


@pytest.mark.parametrize(("shape", "scale"), [((2, 2, 3), 6**-0.5), ((5,), 1.0)], ids=["images", "points"])
def test_path_length_against_the_whole_jacobian(shape, scale):
    torch.manual_seed(0)
    generator = small_generator(shape)
    regularizer = made(PathLength, decay=0.9)
    mean = 0.0
    for step in range(3):
        z = torch.randn(4, 3, dtype=torch.float64)
        torch.manual_seed(step)
        value = regularizer.penalty(generator, z)
        torch.manual_seed(step)
        lengths = lengths_by_jacobian(generator, z, scale * torch.randn(4, *shape, dtype=torch.float64))
        mean = 0.9 * mean + 0.1 * lengths.mean().item()
        assert value.item() == pytest.approx(((lengths - mean) ** 2).mean().item(), rel=1e-9)
        assert regularizer.state_dict()["mean"].item() == pytest.approx(mean, rel=1e-9)


def test_path_length_has_the_gradient_of_its_mean_being_constant():
    torch.manual_seed(0)
    generator = small_generator((1, 2, 2))
    z = torch.randn(4, 3, dtype=torch.float64)
    torch.manual_seed(1)
    noise = torch.randn(4, 1, 2, 2, dtype=torch.float64) / 2
    mean = 0.5 * 0.7 + 0.5 * lengths_by_jacobian(generator, z, noise).mean().item()

    def value():
        regularizer = made(PathLength, decay=0.5)
        regularizer.load_state_dict({"mean": torch.tensor(0.7, dtype=torch.float64)})
        torch.manual_seed(1)
        return regularizer.penalty(generator, z)

    def reference():
        return ((lengths_by_jacobian(generator, z, noise) - mean) ** 2).mean()

    assert_gradient(value, list(generator.parameters())[:3], reference)


def test_path_length_takes_any_shape_of_latent_and_leaves_it_as_it_was():
    generator = nn.Sequential(nn.Conv2d(2, 1, 1), nn.Softplus())
    z = torch.randn(4, 2, 3, 3)
    assert made(PathLength).penalty(generator, z).isfinite()
    assert not z.requires_grad


class Forgetful(PathLength):
    def load_state_dict(self, state):
        return


def test_the_conformance_kit_checks_generator_regularizers():
    kit.regularizer_state(lambda: made(PathLength))
    with pytest.raises(Fault, match=r"state_dict\(\) does not return"):
        kit.regularizer_state(lambda: made(Forgetful))

    class Detached(PathLength):
        def penalty(self, generate, z):
            return super().penalty(generate, z).detach()

    with pytest.raises(Fault, match="no gradient at all"):
        kit.penalty(made(Detached), (2,))


# Weights


def by_the_formula(layers):
    """The sum of ||W^T W * (1 - I)||_F^2, where the columns of each W are the filters."""
    total = 0.0
    for layer in layers:
        weight = layer.weight.detach().numpy()
        if isinstance(layer, nn.ConvTranspose2d):
            weight = weight.swapaxes(0, 1)
        columns = weight.reshape(len(weight), -1).T
        total += np.square(columns.T @ columns * (1 - np.eye(len(weight)))).sum()
    return total


class Both(nn.Sequential):
    """Layers of every sort, one of a single filter, and an embedding, which is none."""

    def __init__(self):
        layers = (
            nn.Linear(3, 5),
            nn.Unflatten(1, (5, 1, 1)),
            nn.ConvTranspose2d(5, 4, 3),
            nn.Conv2d(4, 2, 2, bias=False),
        )
        super().__init__(*layers, nn.Conv2d(2, 1, 1))
        self.embedding = nn.Embedding(4, 3)
        self.double()


@pytest.mark.parametrize("cls", [Orthogonal, OrthogonalDiscriminator])
def test_orthogonal_against_the_formula_and_finite_differences(cls):
    torch.manual_seed(0)
    network = Both()
    given = (torch.randn(4, 3),) * (1 if cls is Orthogonal else 2)

    def value():
        return made(cls).penalty(Bound(network, lambda x: pytest.fail("it needs no pass")), *given)

    assert value().item() == pytest.approx(by_the_formula([network[index] for index in (0, 2, 3)]), rel=1e-12)
    assert_gradient(value, [network[index].weight for index in (0, 2, 3)])
    made(cls).check(network)
    with pytest.raises(UserError, match=r"is for layers of several filters, and there are none; leave it out with"):
        made(cls).check(nn.Sequential(nn.Linear(3, 1), nn.Embedding(3, 4)))


def test_orthogonal_filters_of_any_length_have_no_penalty_and_spectral_norm_changes_nothing():
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(6, 4))
    nn.init.orthogonal_(network[0].weight).data.mul_(torch.tensor([[1.0], [2.0], [3.0], [0.1]]))
    bound = Bound(network, network)
    assert made(Orthogonal).penalty(bound, torch.zeros(1, 6)).item() < 1e-10
    nn.init.normal_(network[0].weight)
    before = made(Orthogonal).penalty(bound, torch.zeros(1, 6))
    nn.utils.parametrizations.spectral_norm(network[0])
    vector = network[0].parametrizations["weight"][0]._u.clone()
    assert torch.equal(made(Orthogonal).penalty(bound, torch.zeros(1, 6)), before)
    assert torch.equal(network[0].parametrizations["weight"][0]._u, vector)  # no power iteration is spent on it


@pytest.mark.parametrize("interval", [1, 2])
@pytest.mark.parametrize(
    ("key", "network"), [("orthogonal", "generator"), ("orthogonal_discriminator", "discriminator")]
)
def test_a_penalty_on_weights_trains(key, network, interval):
    def overlap(weight):
        loop = tiny_loop(f"regularizer.{key}.weight={weight}", f"regularizer.{key}.interval={interval}")
        for _ in range(20):
            loop.advance()
        layers = [each for each in loop.trainer.networks[network].modules() if isinstance(each, nn.Linear)]
        logs = loop.take_logs()
        assert logs[f"{network}/{key}" if interval == 1 else f"{key}/penalty"] > 0
        return by_the_formula([layer for layer in layers if len(layer.weight) > 1])

    assert overlap(1.0) < 0.95 * overlap(1e-6)


class Ungraceful(OrthogonalDiscriminator):
    def penalty(self, score, real, fake):
        with torch.no_grad():
            next(score.network.parameters()).mul_(0.5)
        return super().penalty(score, real, fake)


def test_the_conformance_kit_gives_penalties_the_network():
    for cls in (Orthogonal, OrthogonalDiscriminator):
        kit.penalty(made(cls), (1, 4, 4))
    with pytest.raises(Fault, match=r"changes the network's weights, which project\(\) is for"):
        kit.penalty(made(Ungraceful), (2,))


# In training


TINY = ("data.name=gaussians", "model.hidden=[16]", "model.latent_dim=3", "batch_size=8", "steps=20", 'device="cpu"')


def tiny_loop(*sets):
    config = load_config(load_registry(), "gan_fc", sets=(*TINY, *sets))
    checkpoint.seed_random(0)
    dataset = config.build_dataset()
    return Loop(config.build_trainer(dataset.spec), dataset, config.train)


@pytest.mark.parametrize("interval", [1, 2])
def test_a_generator_regularizer_trains_in_every_step_or_as_a_phase_of_its_own(tmp_path: Path, interval):
    given = (f"regularizer.path_length.interval={interval}", "regularizer.path_length.decay=0.5")
    loop = tiny_loop(*given)
    before = copy.deepcopy(loop.trainer.generator)
    assert ("path_length" in [phase.name for phase in loop.phases]) == (interval > 1)
    for _ in range(4):
        loop.advance()
    logs = loop.take_logs()
    assert any("path_length" in name for name in logs)
    assert all(np.isfinite(value) for value in logs.values())
    changed = zip(before.parameters(), loop.trainer.generator.parameters(), strict=True)
    assert all(not torch.equal(old, new) for old, new in changed)
    mean = loop.trainer.state_dict()["regularizers"]["path_length"]["mean"].item()
    assert mean > 0
    loop.save(tmp_path)
    for _ in range(2):
        loop.advance()
    resumed = tiny_loop(*given)
    resumed.restore(checkpoint.latest(tmp_path))
    assert resumed.trainer.regularizers["path_length"].state_dict()["mean"].item() == mean
    for _ in range(2):
        resumed.advance()
    for one, other in zip(loop.trainer.generator.parameters(), resumed.trainer.generator.parameters(), strict=True):
        assert torch.equal(one, other), "a resumed run goes on as if nothing had been"


class Autoencoder(Discriminator):
    reconstructs = True

    def __init__(self):
        super().__init__(Signature((Points(2),), Scores()))
        self.body = nn.Sequential(nn.Linear(2, 8), nn.ReLU(), nn.Linear(8, 2))

    def forward(self, x):
        return -(x - self.body(x)).abs().mean(1)


class TinyBEGAN(FullyConnectedGAN):
    def build_discriminator(self, sample):
        return Autoencoder()


def began_loop():
    config = load_config(load_registry(), "gan_fc", sets=TINY)
    checkpoint.seed_random(0)
    dataset = config.build_dataset()
    loss = BEGAN(BEGANConfig(lambda_k=0.1, gamma=0.9))
    return Loop(TinyBEGAN(config.model.settings, dataset.spec, loss, {}), dataset, config.train)


def test_began_trains_and_a_checkpoint_holds_its_k(tmp_path: Path):
    loop = began_loop()
    for _ in range(4):
        loop.advance()
    assert {"discriminator/k", "discriminator/convergence"} <= loop.take_logs().keys()
    k = loop.trainer.state_dict()["loss"]["k"].item()
    assert 0 < k < 1
    loop.save(tmp_path)
    resumed = began_loop()
    resumed.restore(checkpoint.latest(tmp_path))
    assert resumed.trainer.state_dict()["loss"]["k"].item() == k


def test_began_refuses_a_discriminator_that_reconstructs_nothing():
    config = load_config(load_registry(), "gan_fc", sets=(*TINY, "loss.name=began"))
    with pytest.raises(UserError, match="autoencoder"):
        config.build_trainer(config.build_dataset().spec)


def test_every_regularizer_has_the_settings_of_all():
    for cls in (GradientPenalty, DRAGAN, R1, R2, Consistency, VirtualAdversarial, WeightClip, PathLength, Orthogonal):
        assert issubclass(cls.Config, RegularizerConfig)
    assert (made(PathLength).config.weight, made(PathLength).config.interval) == (2, 4)
    assert made(GradientPenalty).config.weight == made(DRAGAN).config.weight == 10


# Mode seeking


def test_mode_seeking_is_the_ratio_of_distances_of_latents_and_samples_under_the_same_condition():
    torch.manual_seed(0)
    z, condition = torch.randn(6, 3, dtype=torch.float64), torch.randn(6, 2, dtype=torch.float64)
    weight = torch.randn(3, 2, dtype=torch.float64, requires_grad=True)

    def value():
        return made(ModeSeeking).penalty(lambda z: torch.tanh(z @ weight) * condition, z)

    first, second = z.numpy(), np.roll(z.numpy(), 1, axis=0)
    draw = lambda z: np.tanh(z @ weight.detach().numpy()) * condition.numpy()  # noqa: E731
    samples, latents = np.abs(draw(first) - draw(second)).mean(), np.abs(first - second).mean()
    assert value().item() == pytest.approx(1 / (samples / latents + 1e-5), rel=1e-12)
    assert_gradient(value, [weight])


def test_mode_seeking_of_a_generator_that_ignores_its_latent_is_finite():
    z = torch.randn(4, 3)
    assert made(ModeSeeking).penalty(lambda z: z * 0, z).item() == pytest.approx(1e5)
