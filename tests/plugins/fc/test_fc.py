"""The fully connected family: what its specs and its preset resolve to, the mixture latent, and that it learns."""

import onnxruntime
import pytest
import torch

from ganzoo import DataSpec, Image, Loop, Points, load_config, load_registry
from ganzoo.inference.sampling import draw_inputs
from ganzoo_exporters.format import Onnx
from ganzoo_plugins.networks.mlp import FourierFeatures, MixtureLatent
from ganzoo_plugins.regularizers.weight_clip import WeightClip

DIGIT = DataSpec("made", (Image(1, 28, 28, range=(0, 255)),), 10)


@pytest.fixture(scope="module")
def registry():
    return load_registry()


def test_wgan_fc_is_the_papers_algorithm_at_a_faster_rate(registry):
    config = load_config(registry, "wgan_fc")
    assert config.loss.key == "wgan"
    assert list(config.regularizers) == ["weight_clip"]
    assert config.regularizers["weight_clip"].settings.limit == 0.01
    trainer = config.build_trainer(DIGIT)
    assert trainer.n_critic == 5
    for optimizer in trainer.optimizers.values():
        assert isinstance(optimizer, torch.optim.RMSprop)
        assert optimizer.param_groups[0]["lr"] == 5e-4
        assert optimizer.param_groups[0]["momentum"] == 0


def test_wgan_fc_clips_every_weight_of_the_critic_alone_after_each_of_its_steps(registry):
    config = load_config(registry, "wgan_fc", sets=("data.name=gaussians", "data.size=200", "batch_size=16"))
    dataset = config.build_dataset()
    trainer = config.build_trainer(dataset.spec)
    limit = next(each for each in trainer.regularizers.values() if isinstance(each, WeightClip)).config.limit
    assert max(weight.abs().max() for weight in trainer.discriminator.parameters()) > limit
    Loop(trainer, dataset, config.train).advance()
    assert max(weight.abs().max() for weight in trainer.discriminator.parameters()) <= limit
    assert max(weight.abs().max() for weight in trainer.generator.parameters()) > limit


def test_wgan_gp_fc_takes_the_papers_critic_steps_and_decays(registry):
    config = load_config(registry, "wgan_gp_fc")
    assert config.loss.key == "wgan_gp"
    assert config.regularizers["gradient_penalty"].settings.weight == 10
    trainer = config.build_trainer(DIGIT)
    assert trainer.n_critic == 5
    for optimizer in trainer.optimizers.values():
        assert isinstance(optimizer, torch.optim.Adam)
        assert optimizer.param_groups[0]["betas"] == (0.0, 0.9)
    assert not any(isinstance(module, torch.nn.LayerNorm) for module in trainer.discriminator.modules())


@pytest.mark.parametrize("key", ["wgan_fc", "wgan_gp_fc"])
@pytest.mark.parametrize("field", [Points(2), Image(3, 5, 7, range=(0, 255))])
def test_the_wasserstein_specs_draw_any_shape(registry, key, field):
    trainer = load_config(registry, key).build_trainer(DataSpec("made", (field,), 10))
    samples = trainer.generator(*draw_inputs(trainer.generator.signature, 4, 0))
    assert samples.shape == (4, *field.shape)
    assert trainer.discriminator(samples).shape == (4,)


def test_the_mixture_latent_takes_every_component_equally_often():
    torch.manual_seed(0)
    latent = MixtureLatent(8, 3, width=1e-3)
    torch.nn.init.constant_(latent.mean, 0)
    with torch.no_grad():
        latent.mean[:, 0] = torch.arange(8.0)
    drawn = latent(torch.randn(40_000, 4))
    counts = torch.bincount(drawn[:, 0].round().long(), minlength=8)
    assert all(abs(count / 40_000 - 1 / 8) < 0.01 for count in counts.tolist())
    assert (drawn[:, 0] - drawn[:, 0].round()).std().item() == pytest.approx(1e-3, rel=0.05)
    assert drawn[:, 1:].std().item() == pytest.approx(1e-3, rel=0.05)
    drawn.square().mean().backward()
    assert (latent.mean.grad != 0).all()


def test_the_mixture_latent_has_a_component_for_the_farthest_numbers():
    latent = MixtureLatent(4, 2, width=1.0)
    far = torch.tensor([[-40.0, 0.0, 0.0], [40.0, 0.0, 0.0]])
    assert torch.equal(latent(far), latent.mean[[0, 3]])


def test_one_component_is_the_plain_latent(registry):
    data = DataSpec("made", (Points(2),), 10)
    plain = load_config(registry, "gan_fc").build_trainer(data).generator
    assert plain.signature.inputs[0].shape == (64,)
    assert not any(isinstance(module, MixtureLatent) for module in plain.modules())
    mixed = load_config(registry, "gan_fc", sets=("model.components=2",)).build_trainer(data).generator
    assert mixed.signature.inputs[0].shape == (65,)


def test_a_mixture_is_exported_as_it_draws(registry, tmp_path):
    trainer = load_config(registry, "gan_fc", preset="mixture").build_trainer(DataSpec("made", (Points(2),), 10))
    generator = trainer.generator.eval()
    Onnx().export(generator, tmp_path / "g.onnx", {"signature": generator.signature.to_json()})
    inputs = draw_inputs(generator.signature, 300, 0)
    session = onnxruntime.InferenceSession(tmp_path / "g.onnx", providers=["CPUExecutionProvider"])
    (drawn,) = session.run(None, {"z": inputs[0].numpy()})
    torch.testing.assert_close(torch.from_numpy(drawn), generator(*inputs).detach(), rtol=1e-4, atol=1e-5)


def test_fourier_features_stand_beside_the_sample_and_are_kept_with_the_weights():
    torch.manual_seed(0)
    features = FourierFeatures(2, 2000, 0.08)
    x = torch.randn(5, 2)
    joined = features(x)
    assert torch.equal(joined[:, :2], x)
    sine, cosine = joined[:, 2:].chunk(2, dim=1)
    torch.testing.assert_close(sine.square() + cosine.square(), torch.ones(5, 2000))
    # The features' inner product is the Gaussian kernel that such frequencies stand for.
    kernel = (sine @ sine.T + cosine @ cosine.T) / 2000
    expected = torch.exp(-(2 * torch.pi * 0.08 * torch.cdist(x, x)).square() / 2)
    torch.testing.assert_close(kernel, expected, rtol=0, atol=0.05)
    assert list(features.state_dict()) == ["projection"]
    assert not list(features.parameters())


def test_the_mixture_preset_finds_modes_at_once(registry):
    sets = ("data.name=gaussians", "data.layout=ring", "data.size=20_000", "steps=400")
    config = load_config(registry, "gan_fc", preset="mixture", sets=sets)
    assert config.loss.key == "relativistic"
    assert {key: each.settings.weight for key, each in config.regularizers.items()} == {"r1": 0.02, "r2": 0.02}
    dataset = config.build_dataset()
    torch.manual_seed(0)
    loop = Loop(config.build_trainer(dataset.spec), dataset, config.train)
    for _ in range(config.train.steps):
        loop.advance()
    generator = loop.exports()["generator"]
    samples = generator(*draw_inputs(generator.signature, 2500, 0))
    figures = config.build_metrics(dataset)["modes"](samples, {})
    assert figures["covered"] == 8
    assert figures["high_quality"] > 0.5
    assert figures["kl"] < 0.1
