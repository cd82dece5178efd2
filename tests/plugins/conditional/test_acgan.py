"""AC-GAN: its classifiers' losses against their equations, and its presets."""

import pytest
import torch
from small import made, pixels

from ganzoo import Attributes, Label, Loop, UserError, load_config, load_registry

N = 12


def training(conditions, *sets):
    small = ("model.width=4", "model.latent_dim=3", f"batch_size={N}")
    sets = (*small, "model.class_weight=0.7", "loss.name=non_saturating", *sets)
    config, data = load_config(load_registry(), "acgan", sets=sets), made(pixels(1), *conditions)
    return Loop(config.build_trainer(data.spec), data, config.train)


def next_batch(loop):
    return loop.trainer.prepare(next(loop.stream))


def of_preset(name):
    """The training of a preset, a step of which works."""
    config = load_config(load_registry(), "acgan", preset=name, sets=("data.size=64", "batch_size=8"))
    data = config.build_dataset()
    loop = Loop(config.build_trainer(data.spec), data, config.train)
    loop.advance()
    return loop


def log_probability(logits, labels):
    return torch.stack([row[y] - row.exp().sum().log() for row, y in zip(logits, labels, strict=True)]).mean()


@pytest.mark.parametrize("classifier", ["both", "real"])
def test_the_auxiliary_classifier_loss_against_its_equations(classifier):
    conditions = (Label(4), Label(3, name="hue"), Attributes(5, name="a"))
    loop = training(conditions, f"model.classifier={classifier}")
    trainer, batch = loop.trainer, next_batch(loop)

    def source_and_class(x):
        score, (y, hue, a) = trainer.discriminator.heads(x)
        torch.testing.assert_close(score, trainer.discriminator(x))
        gaussian = -sum(((row - truth) ** 2).sum() / 2 for row, truth in zip(a, batch["a"], strict=True)) / N
        return score, log_probability(y, batch["y"]) + log_probability(hue, batch["hue"]) + gaussian

    torch.manual_seed(5)
    found = trainer.discriminator_loss(batch)["loss"]
    torch.manual_seed(5)
    real, fake, _ = trainer.pair(batch)
    (real_score, real_class), (fake_score, fake_class) = source_and_class(real), source_and_class(fake)
    source = real_score.sigmoid().log().mean() + (1 - fake_score.sigmoid()).log().mean()
    torch.testing.assert_close(
        found, -source - 0.7 * (real_class + (classifier == "both") * fake_class), rtol=1e-4, atol=1e-5
    )

    torch.manual_seed(6)
    found = trainer.generator_loss(batch)["loss"]
    torch.manual_seed(6)
    score, classes = source_and_class(trainer.pair(batch)[1])
    torch.testing.assert_close(found, -score.sigmoid().log().mean() - 0.7 * classes, rtol=1e-4, atol=1e-5)


def test_a_classifier_that_tells_generated_samples_apart_against_its_equations():
    loop = training((Label(4), Label(3, name="hue")), "model.classifier=apart")
    trainer, batch = loop.trainer, next_batch(loop)
    labels = batch["y"], batch["hue"]

    def log_classes(x, generated):
        """Return the score and log C(c+), or with ``generated`` log C(c-)."""
        score, heads = trainer.discriminator.heads(x)
        assert [head.shape[1] for head in heads] == [8, 6]
        moved = [y + generated * count for y, count in zip(labels, (4, 3), strict=True)]
        return score, sum(log_probability(head, y) for head, y in zip(heads, moved, strict=True))

    torch.manual_seed(5)
    found = trainer.discriminator_loss(batch)["loss"]
    torch.manual_seed(5)
    real, fake, _ = trainer.pair(batch)
    (real_score, real_class), (fake_score, fake_class) = log_classes(real, False), log_classes(fake, True)
    source = real_score.sigmoid().log().mean() + (1 - fake_score.sigmoid()).log().mean()
    torch.testing.assert_close(found, -source - 0.7 * (real_class + fake_class), rtol=1e-4, atol=1e-5)

    torch.manual_seed(6)
    found = trainer.generator_loss(batch)["loss"]
    torch.manual_seed(6)
    fake = trainer.pair(batch)[1]
    (score, genuine), (_, made) = log_classes(fake, False), log_classes(fake, True)
    torch.testing.assert_close(found, -score.sigmoid().log().mean() - 0.7 * (genuine - made), rtol=1e-4, atol=1e-5)


def test_attributes_are_not_told_apart():
    with pytest.raises(UserError, match="is for labels"):
        training((Label(4), Attributes(5, name="a")), "model.classifier=apart")


def test_the_preset_for_shapes_by_class_tells_generated_ones_apart():
    loop = of_preset("shape_classes")
    assert [field.name for field in loop.trainer.conditions] == ["y", "hue"]
    assert [head.out_features for head in loop.trainer.discriminator.classifiers] == [10, 12]


def test_the_preset_for_shapes_is_told_all_their_factors():
    (field,) = of_preset("shapes").trainer.conditions
    assert field.names[:5] == ("circle", "square", "triangle", "star", "ring")
