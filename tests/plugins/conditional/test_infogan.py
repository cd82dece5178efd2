"""InfoGAN: codes that are drawn, recovered and edited by name, and the bound against its equation."""

from math import log, pi

import numpy as np
import pytest
import torch
from conftest import Command
from small import made, pixels, small

from ganzoo import Image, Label, Latent, UserError, load_config, load_registry
from ganzoo.runs import checkpoint
from ganzoo_exporters.format import Onnx
from ganzoo_runtime import Generator

NAMES = ("z", "category1", "category2", "c")
SETS = ("model.categories=[3,4]", "model.continuous=2", "batch_size=6")
N = 6


def trainer(*sets, channels=1):
    config = load_config(load_registry(), "infogan", sets=[*small("infogan"), *SETS, *sets])
    checkpoint.seed_random(0)
    return config.build_trainer(made(pixels(channels)).spec)


def test_the_codes_are_inputs_with_names_of_their_own():
    fields = trainer().generator.signature.inputs
    assert tuple(field.name for field in fields) == NAMES
    assert fields[1:] == (Label(3, name="category1"), Label(4, name="category2"), Latent((2,), "uniform", "c"))
    alone = trainer("model.categories=[10]", "model.continuous=0").generator.signature.inputs
    assert alone[1:] == (Label(10, name="category"),)


@pytest.mark.parametrize("sets", [("model.categories=[]", "model.continuous=0"), ("model.categories=[1]",)])
def test_codes_that_choose_nothing_are_refused(sets):
    with pytest.raises(UserError, match="categories of at least 2 classes"):
        trainer(*sets)
    with pytest.raises(UserError, match="pack=1"):
        trainer("model.pack=2")
    config, odd = load_config(load_registry(), "infogan", sets=SETS), made(Image(1, 30, 28, range=(0, 255)))
    with pytest.raises(UserError, match="30x28"):
        config.build_trainer(odd.spec)


def test_codes_have_their_distributions_and_labels_of_the_data_are_not_looked_at():
    model = trainer()
    batch = {"x": torch.zeros(20_000, 1, 16, 16)}
    first, second, continuous = model.condition(batch)
    for codes, classes in ((first, 3), (second, 4)):
        shares = torch.bincount(codes, minlength=classes) / len(codes)
        torch.testing.assert_close(shares, torch.full((classes,), 1 / classes), atol=0.02, rtol=0)
    assert continuous.shape == (20_000, 2)
    assert -1 <= continuous.min() < -0.99
    assert 0.99 < continuous.max() <= 1
    assert continuous.mean().abs() < 0.02


def reference(network, x, codes, learned):
    """L_I of each code in float64, from the logits, means and variances, sample by sample."""
    rows = network.recovery(network.body(x))
    bounds = [log(3), log(4), 2 * log(2)]
    for row, one, two, c in zip(rows, *codes, strict=True):
        row = row.tolist()
        for index, (logits, y) in enumerate(((row[:3], int(one)), (row[3:7], int(two)))):
            bounds[index] += (logits[y] - log(sum(np.exp(logits)))) / len(x)
        for j, value in enumerate(c.tolist()):
            mean, deviation = row[7 + j], np.exp(row[9 + j]) ** 0.5 if learned else 1.0
            density = np.exp(-((value - mean) ** 2) / (2 * deviation**2)) / (deviation * (2 * pi) ** 0.5)
            bounds[2] += log(density) / len(x)
    return bounds


@pytest.mark.parametrize("learned", [False, True])
@torch.no_grad()
def test_the_bound_of_the_mutual_information_against_its_equation(learned):
    sets = ("model.category_weight=0.7", "model.continuous_weight=0.3", f"model.learned_variance={learned}".lower())
    model = trainer(*sets)
    network = model.discriminator.double()
    for parameter in network.parameters():
        parameter.add_(0.3 * torch.randn_like(parameter))
    x = torch.rand(N, 1, 16, 16).double()
    codes = tuple(part.double() if part.is_floating_point() else part for part in model.condition({"x": x}))
    scores, likelihoods = network.recover(x, codes)
    total, bounds = model.information([each.double() for each in likelihoods])
    expected = reference(network, x, codes, learned)
    torch.testing.assert_close(scores.double(), network.head(network.body(x)).squeeze(1), rtol=1e-5, atol=1e-6)
    assert list(bounds) == list(NAMES[1:])
    assert [value.item() for value in bounds.values()] == pytest.approx(expected, abs=1e-5)
    assert total.item() == pytest.approx(0.7 * (expected[0] + expected[1]) + 0.3 * expected[2], abs=1e-5)


def test_both_networks_maximize_it_and_the_generator_is_given_the_codes_that_q_is_asked_for():
    model = trainer("loss.name=non_saturating", "regularizer.r1.weight=0")
    batch = {"x": torch.rand(N, 1, 16, 16) * 2 - 1}
    softplus = torch.nn.functional.softplus
    for loss in (model.discriminator_loss, model.generator_loss):
        torch.manual_seed(3)
        found = loss(batch)
        torch.manual_seed(3)
        # In the order of the draws: for the discriminator pair() draws codes and then noise, as the generator's does.
        codes = model.condition(batch)
        fake = model.generator(torch.randn(N, 4), *codes)
        scores, likelihoods = model.discriminator.recover(fake, codes)
        information = model.information(likelihoods)[0]
        adversarial = softplus(-scores).mean()
        if loss == model.discriminator_loss:
            adversarial = softplus(scores).mean() + softplus(-model.discriminator(batch["x"])).mean()
        torch.testing.assert_close(found["loss"], adversarial - information)
        assert set(found) >= set(NAMES[1:])


def test_the_codes_are_edited_by_name_from_the_exported_file(cli: Command, tmp_path):
    model = trainer(channels=3)
    file = tmp_path / "codes.onnx"
    network = model.generator.eval()
    document = Onnx().export(network, file, {"model": "infogan"})
    assert document["parity"]["max_difference"] < 1e-5
    z, y, c = np.zeros((1, 4), np.float32), np.array([1]), np.zeros((1, 2), np.float32)
    generator = Generator(file)
    found = generator(z, y, y, c)
    expected = network(*(torch.from_numpy(part) for part in (z, y, y, c)))
    np.testing.assert_allclose(found, expected.detach(), atol=1e-5)
    out = tmp_path / "edited.npz"
    options = ("--label", "category1=2", "--label", "category2=0", "--keys", "3")
    assert not cli("edit", file, "--on", "c", "--direction", "c.0=0.5", *options, "--out", out).code
    drawn = generator.latents([3], name="c")
    np.testing.assert_allclose(np.load(out)["latents"], drawn + np.array([[0.5, 0]]), atol=1e-6)
    assert not cli("sample", file, "--label", "category1=2", "-n", "4", "--out", tmp_path / "samples.npz").code
    assert set(np.load(tmp_path / "samples.npz")["category1"]) == {2}
