"""Penalties where images are augmented: R1 is that of the images before, others of those after."""

from collections.abc import Iterator

import pytest
import torch
from torch import Tensor

from ganzoo import Bound, DataSpec, Image, Regularizer, RegularizerConfig, load_config, load_registry
from ganzoo.gan.adversarial import AdversarialTrainer

MOVED = "['color','translation']"
SPEC = DataSpec("made", (Image(3, 8, 8, range=(0, 255)),), 64)


@pytest.fixture(autouse=True)
def double() -> Iterator[None]:
    torch.set_default_dtype(torch.float64)
    torch.manual_seed(0)
    yield
    torch.set_default_dtype(torch.float32)


def trainer_of(policy: str, *sets: str) -> AdversarialTrainer:
    sets = (
        "loss.name=non_saturating",
        "model.width=2",
        f"model.augment.policy={policy}",
        "model.augment.probability=0.8",
        *sets,
    )
    config = load_config(load_registry(), "wgan_gp_conv", sets=sets)
    trainer = config.build_trainer(SPEC)
    assert isinstance(trainer, AdversarialTrainer)
    for parameter in trainer.discriminator.parameters():
        parameter.data.normal_(std=0.3)
    return trainer


@pytest.mark.parametrize(("key", "policy"), [("r1", "ada"), ("r1", MOVED), ("r2", MOVED)])
def test_the_gradient_is_that_at_the_images_before(key: str, policy: str) -> None:
    trainer = trainer_of(policy, f"regularizer.{key}.weight=1")
    samples = [torch.rand(3, 3, 8, 8) * 2 - 1 for _ in range(2)]
    x = samples[key == "r2"]

    def scores(x: Tensor) -> Tensor:
        torch.manual_seed(5)
        with torch.no_grad():
            return trainer.discriminator(trainer.augment(x))

    # No score depends on another sample, so that the same pixel of all of them is moved at once.
    step, gradients = 1e-5, torch.zeros(3, 3 * 8 * 8)
    for pixel in range(gradients.shape[1]):
        moved = torch.zeros(3 * 8 * 8)
        moved[pixel] = step
        moved = moved.view(3, 8, 8)
        gradients[:, pixel] = (scores(x + moved) - scores(x - moved)) / (2 * step)
    expected = gradients.square().sum(1).mean() / 2
    assert expected > 0

    def penalty() -> Tensor:
        torch.manual_seed(5)
        objective = trainer.objective
        value = objective._penalty(objective.penalties[key], objective.discriminator, *samples)
        assert value is not None
        return value

    value = penalty()
    torch.testing.assert_close(value, expected, rtol=1e-6, atol=0)
    # And its own gradient, through the augmentation twice.
    weight = next(trainer.discriminator.parameters())
    (slope,) = torch.autograd.grad(value, weight)
    direction = torch.randn_like(weight)
    ends = []
    for side in (step, -step):
        weight.data.add_(side * direction)
        ends.append(penalty())
        weight.data.sub_(side * direction)
    torch.testing.assert_close((ends[0] - ends[1]) / (2 * step), (slope * direction).sum(), rtol=1e-5, atol=0)


class Seen(Regularizer):
    """Keeps what it is given, and the scores of it."""

    def penalty(self, score: Bound, real: Tensor, fake: Tensor) -> Tensor:
        self.given, self.scores = (real, fake), score(real)
        return self.scores.sum()


class SeenBefore(Seen):
    before_augmentation = True


@pytest.mark.parametrize("pack", [1, 2])
@pytest.mark.parametrize("kind", [Seen, SeenBefore])
def test_each_penalty_is_given_what_it_asks_for(kind: type[Seen], pack: int) -> None:
    trainer = trainer_of("['cutout']", f"model.pack={pack}", "model.augment.probability=1.0")
    seen, judged = kind(RegularizerConfig()), []
    trainer.objective.penalties = {"seen": seen}
    batch = {"x": torch.rand(4, 3, 8, 8) / 2 + 0.5}
    trainer.discriminator.register_forward_pre_hook(lambda module, inputs: judged.append(inputs[0].detach()))
    trainer.discriminator_loss(batch)
    whole = batch["x"].reshape(4 // pack, -1, 8, 8)
    assert torch.equal(seen.given[0], whole) == (kind is SeenBefore)
    holes = [(each.reshape(4, 3, 8, 8) == 0).all(1).any((1, 2)) for each in judged]
    assert len(holes) == 3, "real, fake, and those of the penalty"
    assert all(map(torch.all, holes)), "the discriminator sees augmented images alone, each with a hole"


def test_without_augmentation_both_are_the_samples_themselves() -> None:
    trainer = trainer_of("[]")
    x = torch.rand(4, 3, 8, 8)
    assert trainer.shown(x) is x
    state = torch.get_rng_state()
    for kind in (Seen, SeenBefore):
        seen = kind(RegularizerConfig())
        trainer.objective._penalty(seen, trainer.discriminator, x, x)
        assert seen.given == (x, x)
        assert torch.equal(seen.scores, trainer.discriminator(x))
    assert torch.equal(torch.get_rng_state(), state)
