"""Captured phases do what phases do, and what cannot be captured is found."""

import random

import pytest
import torch
from capturing import POINTS, Failing, advanced, assert_captured, assert_same, state, training
from torch import nn

from ganzoo.config.train_settings import TrainSettings
from ganzoo.gan.optimizers import OptimizerConfig
from ganzoo.gan.trainer import Phase, Trainer, TrainerConfig
from ganzoo.runs import checkpoint
from ganzoo.testing.models import capture
from ganzoo.training.capture import Tapes
from ganzoo.training.determinism import determinism
from ganzoo.training.loop import Loop


class Game(Trainer):
    """A linear network with a moving mean, and a loss that a test may spoil."""

    averaged = ("net",)

    def __init__(self, data, spoil=None, optimizer=None):
        super().__init__(TrainerConfig(), data, None, {})
        self.networks = {"net": nn.Linear(2, 2)}
        parameters = self.networks["net"].parameters()
        self.optimizers = {"net": optimizer(parameters) if optimizer else OptimizerConfig(lr=0.01).build(parameters)}
        self.mean, self.count, self.seen, self.extra = torch.zeros(2), 0, [], torch.zeros(2)
        self.spoil = spoil

    def phases(self):
        return [Phase("net", self.loss_of, updates=("net",))]

    def loss_of(self, batch):
        noisy = batch["x"] + torch.randn_like(batch["x"])
        loss = (self.networks["net"](noisy) - self.mean).square().mean()
        with torch.no_grad():
            self.mean.lerp_(batch["x"].mean(0), 0.1)
        return {"loss": loss if self.spoil is None else self.spoil(self, batch, loss), "mean": self.mean.sum()}


def game(spoil=None, graphs=Tapes, optimizer=None, trainer=Game, **settings):
    checkpoint.seed_random(0)
    return Loop(
        trainer(POINTS.spec, spoil, optimizer), POINTS, TrainSettings(batch_size=5, steps=50, **settings), graphs
    )


def counts(self, batch, loss):
    self.count += 1
    return loss * self.count


def grows(self, batch, loss):
    self.seen.append(1)
    return loss * len(self.seen)


def replaces(self, batch, loss):
    self.extra = self.extra + 1
    return loss + self.extra.sum()


def reads(self, batch, loss):
    return loss * 2 if loss.item() > 1 else loss


def draws_elsewhere(self, batch, loss):
    return loss * random.random()


def has_a_value_unseen(self, batch, loss):
    return loss * (1 + abs(batch["x"].tolist()[0][0]))  # tolist() is no operation of torch


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (counts, "trainer.count changes in Python"),
        (grows, "trainer.seen[1] is added"),
        (replaces, "trainer.extra is replaced by a new tensor"),
        (reads, "reads a value of a tensor (.item(), float(), if) (test_capture.py, line "),
        (draws_elsewhere, "draws random numbers on the host"),
        (has_a_value_unseen, "gives something else when it is repeated"),
    ],
)
def test_a_phase_that_cannot_be_captured_trains_as_before_and_says_why(spoil, words):
    captured, eager = advanced(game(spoil), 6), advanced(game(spoil, graphs=None), 6)
    assert words in captured.captures.refused["the phase 'net'"]
    assert_same(state(captured, averages=False), state(eager, averages=False))
    assert captured.trainer.count == eager.trainer.count
    assert captured.trainer.seen == eager.trainer.seen
    assert captured.take_logs() == eager.take_logs()


@pytest.mark.parametrize(
    ("spoil", "words"), [(None, ""), (reads, "the phase 'net' would run without a CUDA graph: it reads a")]
)
def test_the_kit_remarks_what_cannot_be_captured(spoil, words):
    class Bench:
        def loop(self, graphs):
            return game(spoil, graphs)

    remark = capture(Bench())
    assert remark.startswith(words)
    assert bool(remark) == bool(words)


def test_hooks_and_unknown_optimizers_are_not_captured():
    loop, calls = game(), []
    loop.trainer.networks["net"].register_forward_hook(lambda *_: calls.append(1))
    advanced(loop, 4)
    assert "hooks" in loop.captures.refused["the phase 'net'"]
    assert len(calls) == 4
    loop = advanced(game(optimizer=lambda parameters: torch.optim.SGD(parameters, 0.01)), 4)
    assert "SGD, that has its learning rate in Python" in loop.captures.refused["the phase 'net'"]


@pytest.mark.parametrize("deterministic", [False, True])
def test_a_graph_of_a_deterministic_training_gives_the_same_to_the_bit(deterministic):
    class Rounded(Tapes):
        def record(self, function):
            replay, weight = super().record(function), loop.trainer.networks["net"].weight
            return lambda: (replay(), weight.data.mul_(1 + 2**-22))

    loop = game(graphs=Rounded, deterministic=deterministic)
    advanced(loop, 4)
    found = loop.captures.refused.get("the phase 'net'", "")
    assert ("gives something else when it is repeated" in found) is deterministic


def test_when_cuda_ends_a_capture_all_goes_on_without(monkeypatch):
    monkeypatch.setattr(Failing, "calls", 0)
    captured, eager = (advanced(game(graphs=kind), 6) for kind in (Failing, None))
    assert list(captured.captures.refused.values()) == [
        "cannot be captured, nor is anything from now on: out of everything"
    ]
    assert_same(state(captured, averages=False), state(eager, averages=False))
    assert Failing.calls == 1


@pytest.mark.parametrize(
    "settings",
    [
        {"lr_schedule": "linear", "lr_warmup": 4},
        {"lr_schedule": "cosine", "accumulate": 3, "clip_grad": 0.1},
        {"precision": "bf16"},
    ],
)
def test_captured_steps_are_those_of_an_eager_training(settings):
    captured, eager = (advanced(game(graphs=kind, **settings), 20) for kind in (Tapes, None))
    assert_captured(captured)
    assert_same(state(captured, averages=False), state(eager, averages=False))
    assert captured.stream.position == eager.stream.position
    assert captured.take_logs() == eager.take_logs()
    assert_same(captured.ema["net"].state_dict(), eager.ema["net"].state_dict(), rtol=1e-6, atol=1e-6)
    assert not torch.equal(captured.ema["net"].weight, captured.trainer.networks["net"].weight)


@pytest.mark.parametrize("name", ["adam", "adamw", "sgd", "rmsprop"])
def test_every_optimizer_is_captured_and_saved_with_plain_rates(tmp_path, name):
    def build(parameters):
        return OptimizerConfig(name=name, lr=0.01).build(parameters)

    # torch's RMSprop reads tensors as rates on a GPU alone, so that on the tape its rate stays.
    schedule = "constant" if name == "rmsprop" else "linear"

    def start(kind):
        return game(graphs=kind, optimizer=build, lr_schedule=schedule)

    paths = [advanced(start(kind), 5).save(tmp_path / str(kind)) for kind in (Tapes, None)]
    states = [checkpoint.load_state(path)[1]["optimizers"]["net"] for path in paths]
    assert_same(*states)
    assert type(states[0]["param_groups"][0]["lr"]) is float
    # Either kind of training goes on from either's checkpoint.
    ends = []
    for path in paths:
        for kind in (Tapes, None):
            loop = start(kind)
            loop.restore(path)
            ends.append(state(advanced(loop, 5), averages=False))
            if kind is Tapes:
                assert_captured(loop)
    for end in ends:
        assert_same(end, ends[0])


def test_networks_that_change_are_captured_anew():
    class Growing(Game):
        def prepare(self, batch):
            if self.count == 6:
                self.revision += 1
                self.spoil = lambda self, batch, loss: loss * 3
            self.count += 1
            return super().prepare(batch)

    captured, eager = advanced(game(trainer=Growing), 12), advanced(game(graphs=None, trainer=Growing), 12)
    assert_captured(captured)
    assert_same(state(captured, averages=False), state(eager, averages=False))


def test_batches_of_another_size_run_eagerly():
    ends = []
    for kind in (Tapes, None):
        loop = advanced(game(graphs=kind), 4)
        loop.stream.batch_size = 3
        ends.append(state(advanced(loop, 3), averages=False))
    assert_same(*ends)


def test_capture_is_for_cuda(cli):
    loop = training("gan_fc", graphs=None)
    assert loop.captures is None
    arguments = ("-p", "gan_fc", "--data", "gaussians", "--steps", 1, "--device", "cpu", "-q")
    cli("train", *arguments, "--set", "capture=true").refused("capture=true", "cpu")
    cli("train", *arguments, "--set", "capture=sometimes").refused("capture")
    assert cli("train", *arguments, "--set", "capture=false", "--dry-run").code == 0


@pytest.fixture
def exact():
    """The same on every call."""
    with determinism(True):
        yield


@pytest.mark.gpu
def test_a_phase_that_reads_a_value_leaves_a_gpu_as_it_was(exact):
    def go(**settings):
        loop = game(reads, graphs=None, **settings)
        loop.trainer.to(torch.device("cuda"))
        loop.trainer.mean = loop.trainer.mean.cuda()
        return advanced(Loop(loop.trainer, POINTS, loop.settings), 6)

    captured, eager = go(), go(capture=False)
    assert "reads a value" in captured.captures.refused["the phase 'net'"]
    assert_same(torch.cuda.get_rng_state(), torch.cuda.get_rng_state())
    assert_same(captured.trainer.networks["net"].state_dict(), eager.trainer.networks["net"].state_dict())
