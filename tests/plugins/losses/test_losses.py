"""The losses against equations written down independently, sample by sample, in float64."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from ganzoo import Discriminator, LossConfig, Points, Scores, Signature, UserError
from ganzoo.testing import losses as kit
from ganzoo.testing.results import Fault
from ganzoo_plugins.losses.began import BEGAN, BEGANConfig
from ganzoo_plugins.losses.hinge import Hinge
from ganzoo_plugins.losses.lsgan import LeastSquares
from ganzoo_plugins.losses.minimax import Minimax
from ganzoo_plugins.losses.non_saturating import NonSaturating
from ganzoo_plugins.losses.relativistic import Relativistic
from ganzoo_plugins.losses.wasserstein import Wasserstein, WassersteinConfig, WassersteinGP

scores = st.lists(st.floats(-20, 20), min_size=1, max_size=8)
pairs = st.lists(st.tuples(st.floats(-20, 20), st.floats(-20, 20)), min_size=1, max_size=8)


def made(cls, **settings):
    return cls(cls.Config(**settings))


def tensor(values):
    return torch.tensor(values, dtype=torch.float64)


def mean(values):
    values = list(values)
    return math.fsum(values) / len(values)


def sigmoid(score):
    return 1 / (1 + math.exp(-score))


def cross_entropy(score, label):
    # 1 - sigmoid(s) is sigmoid(-s), and loses nothing to rounding that way.
    return -label * math.log(sigmoid(score)) - (1 - label) * math.log(sigmoid(-score))


def squared(score, label):
    return (score - label) ** 2 / 2


def margin(score, label):
    return max(0.0, 1 - (2 * label - 1) * score)


# The discriminator's loss of one score with a label from 0 to 1, and the generator's of a fake score.
BY_LABEL = {
    Minimax: (cross_entropy, lambda score: math.log(sigmoid(-score))),
    NonSaturating: (cross_entropy, lambda score: -math.log(sigmoid(score))),
    LeastSquares: (squared, lambda score: (score - 1) ** 2 / 2),
    Hinge: (margin, lambda score: -score),
}
SMOOTHED = [Minimax, NonSaturating, LeastSquares]


@pytest.mark.parametrize("cls", BY_LABEL)
@given(real=scores, fake=scores)
def test_losses_with_labels(cls, real, fake):
    player, other = BY_LABEL[cls]
    loss = made(cls)
    expected = mean(player(score, 1) for score in real) + mean(player(score, 0) for score in fake)
    assert loss.discriminator(tensor(real), tensor(fake)).item() == pytest.approx(expected, rel=1e-9, abs=1e-9)
    assert loss.generator(tensor(fake), None).item() == pytest.approx(mean(map(other, fake)), rel=1e-9, abs=1e-9)


@given(real=scores, fake=scores)
def test_wasserstein_is_a_difference_of_means(real, fake):
    loss = Wasserstein()
    assert loss.discriminator(tensor(real), tensor(fake)).item() == pytest.approx(mean(fake) - mean(real), abs=1e-9)
    assert loss.generator(tensor(fake), None).item() == pytest.approx(-mean(fake), abs=1e-9)


@given(real=scores, fake=scores)
def test_the_drift_term_holds_the_scores_of_real_samples_at_zero(real, fake):
    loss = WassersteinGP(WassersteinConfig(drift=0.001))
    expected = mean(fake) - mean(real) + 0.001 * mean(score**2 for score in real)
    assert loss.discriminator(tensor(real), tensor(fake)).item() == pytest.approx(expected, rel=1e-9, abs=1e-9)
    assert loss.generator(tensor(fake), None).item() == pytest.approx(-mean(fake), abs=1e-9)


def test_wasserstein_losses_bring_their_constraint_and_five_critic_steps():
    assert list(Wasserstein.regularizers) == ["weight_clip"]
    assert list(WassersteinGP.regularizers) == ["gradient_penalty"]
    assert Wasserstein.critic_steps == WassersteinGP.critic_steps == 5


@given(pairs)
def test_relativistic_compares_each_real_score_with_the_fake_one_at_its_place(drawn):
    loss = Relativistic(LossConfig())
    real, fake = tensor([pair[0] for pair in drawn]), tensor([pair[1] for pair in drawn])
    discriminator = mean(-math.log(sigmoid(r - f)) for r, f in drawn)
    generator = mean(-math.log(sigmoid(f - r)) for r, f in drawn)
    assert loss.discriminator(real, fake).item() == pytest.approx(discriminator, rel=1e-9, abs=1e-9)
    assert loss.generator(fake, real).item() == pytest.approx(generator, rel=1e-9, abs=1e-9)


def test_relativistic_refuses_scores_that_are_no_pairs():
    loss = Relativistic(LossConfig())
    with pytest.raises(UserError, match=r"equal shapes, not \[4\] with \[4, 1\]"):
        loss.discriminator(torch.zeros(4, 1), torch.zeros(4))
    with pytest.raises(UserError, match="equal shapes"):
        loss.generator(torch.zeros(4), torch.zeros(1))


def test_signed_losses_part_at_zero_and_the_others_say_so():
    signed = {cls for cls in (*BY_LABEL, Wasserstein, WassersteinGP, Relativistic, BEGAN) if cls.signed}
    assert signed == {Minimax, NonSaturating, Hinge}
    assert [cls for cls in (*BY_LABEL, Wasserstein, WassersteinGP, Relativistic, BEGAN) if cls.needs_real] == [
        Relativistic
    ]


@pytest.mark.parametrize("cls", [*BY_LABEL, Relativistic])
def test_losses_stay_finite_at_large_scores(cls):
    extreme = torch.tensor([-1e4, 1e4])
    loss = made(cls, **({"smoothing": 0.1} if cls in SMOOTHED else {}))
    assert loss.discriminator(extreme, extreme.flip(0)).isfinite()
    assert loss.generator(extreme, extreme.flip(0)).isfinite()


def test_the_saturating_generator_learns_least_where_the_discriminator_is_sure():
    slope = {}
    for cls in (Minimax, NonSaturating):
        fake = tensor([-8.0, 0.0, 8.0]).requires_grad_()
        made(cls).generator(fake, None).backward()
        slope[cls] = (-3 * fake.grad).tolist()
    assert slope[Minimax] == pytest.approx([sigmoid(-8), 0.5, sigmoid(8)])
    assert slope[NonSaturating] == pytest.approx([sigmoid(8), 0.5, sigmoid(-8)])


# Smoothed and noisy labels


@pytest.mark.parametrize("cls", SMOOTHED)
@given(real=scores, fake=scores, smoothing=st.floats(0, 0.9))
def test_smoothing_moves_the_label_of_real_samples_alone(cls, real, fake, smoothing):
    player, other = BY_LABEL[cls]
    loss = made(cls, smoothing=smoothing)
    expected = mean(player(score, 1 - smoothing) for score in real) + mean(player(score, 0) for score in fake)
    assert loss.discriminator(tensor(real), tensor(fake)).item() == pytest.approx(expected, rel=1e-9, abs=1e-9)
    assert loss.generator(tensor(fake), None).item() == pytest.approx(mean(map(other, fake)), rel=1e-9, abs=1e-9)


@pytest.mark.parametrize(("cls", "best"), [(NonSaturating, math.log(0.9 / 0.1)), (LeastSquares, 0.9)])
def test_with_a_smoothed_label_the_best_score_of_a_real_sample_is_that_of_the_label(cls, best):
    real = tensor([best]).requires_grad_()
    (slope,) = torch.autograd.grad(made(cls, smoothing=0.1).discriminator(real, tensor([0.0])), real)
    assert slope.item() == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize("cls", BY_LABEL)
@pytest.mark.parametrize("noise", [0.5, 0.2])
def test_noise_changes_that_share_of_the_labels_one_draw_a_sample(cls, noise):
    torch.manual_seed(0)
    loss = made(cls, label_noise=noise, **({"smoothing": 0.2} if cls in SMOOTHED else {}))
    real, fake = (torch.full((20_000, 1, 2, 2), score, dtype=torch.float64).requires_grad_() for score in (0.3, 0.1))
    value = loss.discriminator(real, fake)
    player = BY_LABEL[cls][0]
    label = 0.8 if cls in SMOOTHED else 1
    kept = player(0.3, label) + player(0.1, 0)
    swapped = player(0.3, 0) + player(0.1, label)
    assert value.item() == pytest.approx((1 - noise) * kept + noise * swapped, abs=0.02)
    pushed = [part.flatten(1) * part.numel() for part in torch.autograd.grad(value, (real, fake))]
    clean = [part.mean().item() * part.numel() for part in torch.autograd.grad(_clean(loss, real, fake), (real, fake))]
    wrong = [(part - slope).abs() > 1e-6 for part, slope in zip(pushed, clean, strict=True)]
    for each in wrong:
        assert (each == each[:, :1]).all(), "one label for all scores of a sample"
        assert each[:, 0].double().mean().item() == pytest.approx(noise, abs=0.02)
    both = (wrong[0][:, 0] & wrong[1][:, 0]).double().mean().item()
    assert both == pytest.approx(noise**2, abs=0.02), "real and fake samples are drawn for separately"


def _clean(loss, real, fake):
    return type(loss)(loss.config.model_copy(update={"label_noise": 0.0})).discriminator(real, fake)


@pytest.mark.parametrize("cls", BY_LABEL)
def test_noise_of_one_calls_everything_the_other_thing_and_leaves_the_generator_alone(cls):
    real, fake = torch.randn(2, 8, dtype=torch.float64)
    noisy, clean = made(cls, label_noise=1.0), made(cls)
    torch.testing.assert_close(noisy.discriminator(real, fake), clean.discriminator(fake, real))
    assert torch.equal(noisy.generator(fake, None), clean.generator(fake, None))


@pytest.mark.parametrize("cls", BY_LABEL)
def test_without_noise_nothing_random_is_drawn(cls):
    torch.manual_seed(0)
    before = torch.get_rng_state()
    made(cls).discriminator(torch.zeros(4), torch.zeros(4))
    assert torch.equal(torch.get_rng_state(), before)


def test_losses_that_know_no_labels_have_no_settings_of_labels():
    for cls in (Wasserstein, WassersteinGP, Relativistic, BEGAN):
        assert not {"smoothing", "label_noise"} & cls.Config.model_fields.keys()
    assert "smoothing" not in Hinge.Config.model_fields


# BEGAN


def test_began_follows_the_paper_step_by_step():
    loss = BEGAN(BEGANConfig(gamma=0.5, lambda_k=0.1))
    k = 0.0
    # Errors of reconstruction: fakes too easy, k grows to its limit 1; then too hard, and it falls back to 0.
    steps = [([4.0, 2.0], [0.5, 0.1])] * 9 + [([1.0, 1.0], [2.0, 4.0])] * 6
    seen = []
    for real, fake in steps:
        real_scores, fake_scores = -tensor(real), -tensor(fake)
        error, fake_error = mean(real), mean(fake)
        expected = error - k * fake_error
        assert loss.discriminator(real_scores, fake_scores).item() == pytest.approx(expected, rel=1e-6)
        assert loss.generator(fake_scores, None).item() == pytest.approx(fake_error, rel=1e-9)
        k = min(max(k + 0.1 * (0.5 * error - fake_error), 0.0), 1.0)
        logs = loss.after(real_scores, fake_scores)
        assert logs["k"].item() == pytest.approx(k, rel=1e-6, abs=1e-9)
        assert logs["convergence"].item() == pytest.approx(error + abs(0.5 * error - fake_error), rel=1e-6)
        seen.append(k)
    assert max(seen) == 1
    assert seen[-1] == 0
    assert 0 < seen[0] < 1


def test_began_can_go_backward_after_k_has_moved():
    loss = BEGAN(BEGANConfig())
    loss.load_state_dict({"k": torch.tensor(0.25)})
    real, fake = torch.tensor([-4.0], requires_grad=True), torch.tensor([-1.0], requires_grad=True)
    value = loss.discriminator(real, fake)
    loss.after(real.detach(), fake.detach())
    value.backward()
    assert (real.grad.item(), fake.grad.item()) == (-1, 0.25)


def test_began_takes_its_k_along():
    first, second = BEGAN(BEGANConfig()), BEGAN(BEGANConfig())
    first.after(torch.tensor([-50.0]), torch.tensor([-1.0]))
    second.load_state_dict(first.state_dict())
    fake = torch.tensor([-3.0])
    assert first.state_dict()["k"].item() == pytest.approx(0.024)
    assert second.discriminator(fake, fake).item() == first.discriminator(fake, fake).item() != 3


def test_began_asks_for_an_autoencoder():
    class Plain(Discriminator):
        def __init__(self):
            super().__init__(Signature((Points(2),), Scores()))

    class Autoencoder(Plain):
        reconstructs = True

    for other in (nn.Linear(2, 1), Plain()):
        with pytest.raises(UserError, match=r"discriminator that is an autoencoder.*reconstructs = True"):
            BEGAN(BEGANConfig()).check(other)
    BEGAN(BEGANConfig()).check(Autoencoder())


class Forgetful(BEGAN):
    def state_dict(self):
        return {}

    def load_state_dict(self, state):
        return


def test_the_conformance_kit_catches_a_loss_that_does_not_save_what_it_keeps():
    def build(cls):
        loss = cls(BEGANConfig())
        kit._lived(loss)
        return loss

    kit.loss_state(lambda: build(BEGAN))
    with pytest.raises(Fault, match=r"state_dict\(\) does not return"):
        kit.loss_state(lambda: build(Forgetful))
