"""Bundled models, and what users add to them, train the same when they are captured."""

import pytest
import torch
from capturing import (
    DESCRIBED,
    LABELED,
    PAIRS,
    POINTS,
    Failing,
    advanced,
    assert_captured,
    assert_same,
    state,
    training,
)
from small import each_model

from ganzoo.training.capture import CudaGraphs, Tapes
from ganzoo.training.determinism import determinism


# The tape that stands in for CUDA graphs on a CPU does not repeat torch's own operator for LSTMs; rcgan runs eagerly.
@pytest.mark.parametrize("model", each_model("rcgan"))
def test_every_bundled_model_is_captured_and_trains_the_same(model):
    steps = max([6, *(phase.every + 2 for phase in training(model).phases)])
    captured, eager = (advanced(training(model, graphs=kind), steps) for kind in (Tapes, None))
    assert_captured(captured)
    # torch's RMSprop reads tensors as rates on a GPU alone, so that on the tape the warm-up stands still.
    if not any(isinstance(each, torch.optim.RMSprop) for each in captured.trainer.optimizers.values()):
        assert_same(state(captured, averages=False), state(eager, averages=False))
        assert captured.take_logs() == eager.take_logs()
        for key, average in captured.ema.items():
            assert_same(average.state_dict(), eager.ema[key].state_dict(), rtol=1e-5, atol=1e-6)


ADAPTIVE = ("model.augment.policy=['color','translation','cutout']", "model.augment.target=0.6")


@pytest.mark.parametrize(
    ("model", "data", "sets"),
    [
        ("dcgan", LABELED, (*ADAPTIVE, "model.augment.images=50", "model.pack=2")),
        ("dcgan", LABELED, ("model.augment.policy=ada", *ADAPTIVE[1:], "model.augment.images=50")),
        ("dcgan", LABELED, ("loss.label_noise=0.2", "regularizer.r1=false", "regularizer.consistency.flip=true")),
        ("gan_fc", POINTS, ("regularizer.path_length.weight=1", "regularizer.consistency.weight=1")),
        ("gan_fc", POINTS, ("regularizer.virtual_adversarial.weight=1", "regularizer.dragan.interval=3")),
        ("gan_fc", POINTS, ("regularizer.weight_clip.limit=0.01", "loss.name=hinge", "model.spectral_norm=true")),
        ("acgan", DESCRIBED, ()),
        ("cgan_matching", DESCRIBED, ()),
        pytest.param("cyclegan", PAIRS, ("accumulate=2", "model.pool=6"), marks=pytest.mark.slow),
        ("cyclegan", PAIRS, ("model.n_critic=2", "model.identity_weight=1")),
        ("wgan_gp_conv", LABELED, ("precision=bf16", "clip_grad=1")),
    ],
)
def test_what_users_add_is_captured_too(model, data, sets):
    captured, eager = (advanced(training(model, *sets, data=data, graphs=kind), 6) for kind in (Tapes, None))
    assert_captured(captured)
    assert_same(state(captured, averages=False), state(eager, averages=False))
    assert captured.take_logs() == eager.take_logs()


@pytest.mark.parametrize("model", ["began", pytest.param("cyclegan", marks=pytest.mark.slow), "wgan_gp_fc"])
def test_a_resumed_training_is_the_same_as_one_that_went_on(tmp_path, model):
    straight = state(advanced(training(model), 7))
    path = advanced(training(model), 4).save(tmp_path)
    resumed = training(model)
    torch.rand(7)
    resumed.restore(path)
    advanced(resumed, 3)
    assert resumed.captures.refused == {}
    assert_same(straight, state(resumed))


@pytest.fixture
def exact():
    """The same on every call."""
    with determinism(True):
        yield


@pytest.mark.gpu
@pytest.mark.parametrize("model", each_model())
def test_every_bundled_model_is_captured_as_cuda_graphs(model, exact):
    sets, device = ("precision=fp32", "deterministic=true"), torch.device("cuda")
    # With Failing and not with capture=false, which has its learning rates in Python, in double precision.
    captured, eager = (
        advanced(training(model, *sets, graphs=kind, device=device), 50) for kind in (CudaGraphs, Failing)
    )
    assert_captured(captured)
    assert captured.take_logs() == pytest.approx(eager.take_logs(), rel=1e-4, abs=1e-4)
