"""The game of two: packing, spectral norm, augmentation, conditions, and what it keeps between steps."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ganzoo import (
    AdversarialConfig,
    AdversarialTrainer,
    Attributes,
    Augment,
    AugmentConfig,
    Image,
    Label,
    OptimizerConfig,
    Points,
    UserError,
    load_config,
    load_registry,
)
from ganzoo.config.train_settings import TrainSettings
from ganzoo.data.dataset import DataSpec, TensorDataset
from ganzoo.gan.losses import GeneratorRegularizer, LossConfig, RegularizerConfig
from ganzoo.training.loop import Loop
from ganzoo_plugins.fc.gan_fc import FullyConnectedGAN
from ganzoo_plugins.losses.non_saturating import NonSaturating
from ganzoo_plugins.losses.wasserstein import Wasserstein
from ganzoo_plugins.networks.mlp import FullyConnectedDiscriminator, FullyConnectedGenerator

IMAGES = DataSpec("made", (Image(1, 8, 8, range=(0, 255)), Label(3)), 64)


def images(seed=0):
    rng = torch.Generator().manual_seed(seed)
    x = torch.randint(256, (64, 1, 8, 8), dtype=torch.uint8, generator=rng)
    return TensorDataset(IMAGES, {"x": x, "y": torch.arange(64) % 3})


def trainer_of(name, spec, *sets):
    return load_config(load_registry(), name, sets=sets).build_trainer(spec)


@pytest.mark.parametrize(("name", "spec"), [("gan_fc", IMAGES), ("wgan_gp_conv", IMAGES)])
def test_a_packed_discriminator_judges_samples_that_lie_side_by_side(name, spec):
    trainer = trainer_of(name, spec, "model.pack=4")
    assert trainer.discriminator.signature.inputs[0].channels == 4
    real, fake, _ = trainer.pair(trainer.prepare(images().batch(torch.arange(12), torch.Generator())))
    assert real.shape == fake.shape == (3, 4, 8, 8)
    shown = images().tensors["x"][:12].float() / 255
    assert torch.allclose(real[1], shown[4:8, 0])
    assert trainer.discriminator(real).shape == (3,)
    assert trainer.generator.signature.output.channels == 1


def test_packed_points_and_a_batch_that_cannot_be_packed():
    spec = DataSpec("points", (Points(2),), 10)
    trainer = trainer_of("gan_fc", spec, "model.pack=2")
    assert trainer.discriminator.signature.inputs[0] == Points(4)
    with pytest.raises(UserError, match="batch_size a multiple"):
        trainer.shown(torch.zeros(5, 2))


def test_spectral_norm_bounds_every_layer_of_the_discriminator_alone():
    torch.manual_seed(0)
    dataset = images()
    config = load_config(load_registry(), "wgan_gp_conv", sets=["model.spectral_norm=true", "loss.name=non_saturating"])
    trainer = config.build_trainer(dataset.spec)
    loop = Loop(trainer, dataset, TrainSettings(batch_size=8, steps=20, seed=0))
    for _ in range(20):
        loop.advance()
    layers = [module for module in trainer.discriminator.modules() if hasattr(module, "parametrizations")]
    assert len(layers) == 4
    for layer in layers:
        assert torch.linalg.matrix_norm(layer.weight.flatten(1), 2).item() == pytest.approx(1, abs=0.1)
    assert not any(hasattr(module, "parametrizations") for module in trainer.generator.modules())


class Conditional(AdversarialTrainer):
    """Takes conditions and leaves them to its players."""

    conditional = True

    def build_generator(self, sample):
        generator = FullyConnectedGenerator(2, (4,), sample, False)
        self.told = []
        generator.forward = lambda z, *condition: self._tell(generator, z, condition)
        return generator

    def _tell(self, generator, z, condition):
        self.told.append(condition)
        return FullyConnectedGenerator.forward(generator, z)

    def build_discriminator(self, sample):
        return FullyConnectedDiscriminator(sample, (4,), False)


def test_a_conditional_generator_is_told_all_labels_and_attributes_in_order():
    fields = (Points(2), Label(3), Attributes(2, name="a"), Label(2, name="b"))
    spec = DataSpec("made", fields, 10)
    trainer = Conditional(AdversarialConfig(), spec, NonSaturating(NonSaturating.Config()), {})
    assert trainer.conditions == fields[1:]
    batch = {
        "x": torch.randn(6, 2),
        "y": torch.arange(6) % 3,
        "a": torch.randn(6, 2),
        "b": torch.arange(6) % 2,
    }
    trainer.discriminator_loss(batch)
    trainer.generator_loss(batch)
    for told in trainer.told:
        assert all(torch.equal(part, batch[name]) for part, name in zip(told, "yab", strict=True))


def test_data_without_a_condition_is_refused():
    with pytest.raises(UserError, match="made has none"):
        Conditional(AdversarialConfig(), DataSpec("made", (Points(2),), 10), NonSaturating(NonSaturating.Config()), {})


class Spread(GeneratorRegularizer):
    """Asks the generator to spread its samples; counts how often it was asked."""

    def __init__(self, config):
        super().__init__(config)
        self.calls = 0

    def penalty(self, generate, z):
        self.calls += 1
        return -generate(z).var(dim=0).mean()

    def state_dict(self):
        return {"calls": self.calls}

    def load_state_dict(self, state):
        self.calls = state["calls"]


@pytest.mark.parametrize(("interval", "calls"), [(1, 8), (4, 2)])
def test_a_generator_penalty_moves_the_generator_alone_and_is_kept(interval, calls):
    spec = DataSpec("points", (Points(2),), 64)
    dataset = TensorDataset(spec, {"x": torch.randn(64, 2)})

    def made(*penalties, steps):
        torch.manual_seed(0)
        config = FullyConnectedGAN.Config(hidden=(8,), optimizer=OptimizerConfig(lr=0.02))
        regularizers = dict.fromkeys(["spread"], *penalties) if penalties else {}
        trainer = FullyConnectedGAN(config, spec, NonSaturating(NonSaturating.Config()), regularizers)
        loop = Loop(trainer, dataset, TrainSettings(batch_size=8, steps=100))
        for _ in range(steps):
            loop.advance()
        return trainer, loop.take_logs()

    spread = Spread(RegularizerConfig(weight=1.0, interval=interval))
    trainer, logs = made(spread, steps=8)
    assert spread.calls == calls
    assert ("generator/spread" if interval == 1 else "spread/penalty") in logs
    assert trainer.state_dict()["regularizers"] == {"spread": {"calls": calls}}
    trainer.load_state_dict({**trainer.state_dict(), "regularizers": {"spread": {"calls": 3}}})
    assert spread.calls == 3
    z = torch.randn(500, 64)
    wide, _ = made(Spread(RegularizerConfig(weight=10.0, interval=interval)), steps=50)
    plain, _ = made(steps=50)
    assert wide.generator(z).var(dim=0).mean() > 2 * plain.generator(z).var(dim=0).mean()


@given(
    policy=st.lists(st.sampled_from(["color", "translation", "cutout"]), min_size=1, max_size=3, unique=True),
    channels=st.sampled_from([1, 3]),
    height=st.integers(8, 20),
    width=st.integers(8, 20),
)
@settings(max_examples=25, deadline=None)
def test_augmentation_keeps_shapes_and_lets_gradients_through(policy, channels, height, width):
    augment = Augment(AugmentConfig(policy=tuple(policy)), (-1.0, 1.0))
    x = torch.rand(16, channels, height, width, requires_grad=True)
    changed = augment(x)
    assert changed.shape == x.shape
    (gradient,) = torch.autograd.grad(changed.sum(), x)
    assert gradient.isfinite().all()
    assert (gradient != 0).any()


def test_translation_moves_whole_images_and_zeros_come_in():
    x = torch.arange(1.0, 65).view(1, 1, 8, 8).repeat(200, 1, 1, 1)
    moved = Augment(AugmentConfig(policy=("translation",)), (0.0, 1.0))(x)
    shifts = set()
    for image in moved:
        found = [
            (dy, dx)
            for dy in (-1, 0, 1)
            for dx in (-1, 0, 1)
            if torch.equal(
                image[0, max(-dy, 0) : 8 - max(dy, 0), max(-dx, 0) : 8 - max(dx, 0)],
                x[0, 0, max(dy, 0) : 8 - max(-dy, 0), max(dx, 0) : 8 - max(-dx, 0)],
            )
        ]
        assert len(found) == 1
        shifts.add(found[0])
        dy, dx = found[0]
        assert (image == 0).sum() == 64 - (8 - abs(dy)) * (8 - abs(dx))
    assert len(shifts) == 9, "an eighth of 8 pixels, either way, each image its own"


def test_cutout_hides_at_most_a_quarter_and_color_keeps_the_pattern():
    x = torch.rand(300, 3, 8, 12) + 1
    hidden = Augment(AugmentConfig(policy=("cutout",)), (0.0, 1.0))(x).eq(0).float().flatten(1).mean(dim=1)
    assert hidden.max() == 0.25
    assert hidden.min() > 0
    colored = Augment(AugmentConfig(policy=("color",)), (-1.0, 1.0))(x[:, :1])
    for before, after in zip(x[:20, 0], colored[:20, 0], strict=True):
        slope = (after - after.mean()).flatten() @ (before - before.mean()).flatten() / before.var(unbiased=False) / 96
        assert 0.5 <= slope <= 1.5
        assert torch.allclose(after - after.mean(), slope * (before - before.mean()), atol=1e-4), "contrast, brightness"
        assert abs(after.mean() - before.mean()) <= 0.5


def test_probability_decides_how_many_are_augmented_and_zero_is_none():
    x = torch.ones(4000, 1, 8, 8)
    changed = Augment(AugmentConfig(policy=("cutout",), probability=0.25), (0.0, 1.0))(x)
    share = (changed != 1).flatten(1).any(dim=1).float().mean().item()
    assert share == pytest.approx(0.25, abs=0.03)
    assert torch.equal(Augment(AugmentConfig(policy=("cutout",), probability=0.0), (0.0, 1.0))(x), x)


def test_both_players_see_augmented_images():
    trainer = trainer_of("wgan_gp_conv", IMAGES, "loss.name=non_saturating", "model.augment.policy=['cutout']")
    seen = []
    trainer.discriminator.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0].detach()))
    batch = trainer.prepare(images().batch(torch.arange(16), torch.Generator()))
    batch["x"] = batch["x"].clamp(min=0.1)
    trainer.discriminator_loss(batch)
    trainer.generator_loss(batch)
    assert len(seen) == 3
    for shown in seen:
        assert (shown == 0).flatten(1).any(dim=1).all(), "every image has its hole"


def test_what_makes_no_sense_is_refused_in_one_sentence():
    with pytest.raises(UserError, match="augmentation is for images"):
        trainer_of("gan_fc", DataSpec("p", (Points(2),), 10), "model.augment.policy=['color']")
    with pytest.raises(UserError, match="sign of the real scores"):
        trainer_of("wgan_gp_conv", IMAGES, "model.augment.target=0.6", "model.augment.policy=['color']")
    assert not Wasserstein(LossConfig()).signed
