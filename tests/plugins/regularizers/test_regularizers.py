"""Penalties on weights and on generators, and regularizers in training."""

import copy
from pathlib import Path

import numpy as np
import pytest
import torch
from penalties import assert_gradient, made
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
