"""Captured phases do what phases do, and what cannot be captured is found.

Where there is no GPU, the tape stands in for CUDA graphs; the tests marked ``gpu`` are of the real ones.
"""

import copy
import random
import subprocess
import sys

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from small import each_model, made, pixels, small
from small import suited as small_data
from torch import nn

from ganzoo import Attributes, Label, Points, Run, UserError, load_config, load_registry
from ganzoo.config.train_settings import TrainSettings
from ganzoo.gan.optimizers import OptimizerConfig
from ganzoo.gan.trainer import Phase, Trainer, TrainerConfig
from ganzoo.runs import checkpoint
from ganzoo.testing.models import capture
from ganzoo.training.capture import CaptureFailed, CudaGraphs, Tapes
from ganzoo.training.determinism import determinism
from ganzoo.training.loop import Loop
from ganzoo.training.snapshot import Snapshot
from ganzoo.training.tape import Tape, Uncapturable

REGISTRY = load_registry()
CPU = torch.device("cpu")
SHORT = ("batch_size=4", "steps=100", "seed=0", "device=cpu", "lr_warmup=3")


LABELED, POINTS = made(pixels(1), Label(3)), made(Points(2))
DESCRIBED = made(pixels(3), Attributes(2, examples=((0.0, 1.0),)))
PAIRS = made(pixels(3, "a"), pixels(3, "b"))


def suited(model):
    if fields := small_data(model):
        return made(*fields)
    return PAIRS if model in ("pix2pix", "cyclegan", "discogan", "dualgan") else LABELED


def training(model, *sets, data=None, graphs=Tapes, device=CPU):
    data = data or suited(model)
    config = load_config(REGISTRY, model, sets=[*small(model), *SHORT, *sets])
    checkpoint.seed_random(config.train.seed)
    trainer = config.build_trainer(data.spec)
    trainer.to(device)
    return Loop(trainer, data, config.train, graphs)


def advanced(loop, steps):
    for _ in range(steps):
        loop.advance()
    return loop


def state(loop, averages=True):
    """Everything that a checkpoint holds, as copies."""
    parts = {"networks": {key: each.state_dict() for key, each in loop.trainer.networks.items()}}
    if averages:
        parts["ema"] = {key: each.state_dict() for key, each in loop.ema.items()}
    parts["optimizers"] = {key: each.state_dict()["state"] for key, each in loop.trainer.optimizers.items()}
    return copy.deepcopy({**parts, "trainer": loop.trainer.state_dict(), "random": torch.get_rng_state()})


def assert_same(one, other, **tolerance):
    if not tolerance:
        tolerance = {"rtol": 0, "atol": 0}
    torch.testing.assert_close(one, other, **tolerance)


def assert_captured(loop):
    assert loop.captures.refused == {}
    kinds = {type(each).__name__ for each in loop.captures._known.values()}
    assert kinds == {"_Replay"}
    assert len(loop.captures._known) == len(loop.phases) + 1, "the averaging too"


# --- the tape -------------------------------------------------------------------------------------------------------


def test_a_tape_repeats_views_changes_in_place_random_numbers_and_both_derivatives():
    layer, x, total = nn.Linear(3, 3), torch.zeros(2, 3), torch.zeros(())

    def run():
        noise = torch.rand(2, 3)
        z = (x + noise).requires_grad_()
        (gradient,) = torch.autograd.grad(layer(z).tanh().square().sum(), z, create_graph=True)
        gradient.norm().backward()
        with torch.no_grad():
            layer.weight[0].sub_(layer.weight.grad[0])
            total.add_(noise[:, 1:].t().sum())
        layer.weight.grad = layer.bias.grad = None

    before = copy.deepcopy(layer.state_dict())
    replay = Tape.record(run, CPU)
    found = []
    for each in (replay, run):
        layer.load_state_dict(before)
        total.zero_()
        torch.manual_seed(1)
        for value in (1.0, 2.0):
            x.fill_(value)
            each()
        found.append((layer.weight.clone(), total.clone(), torch.get_rng_state()))
    assert_same(*found)
    assert not torch.equal(found[0][0], before["weight"])


def fixed():
    return torch.ones(3)


KEPT, COUNT = {"state": torch.ones(3)}, torch.ones(3, dtype=torch.int64)


def replaced():
    KEPT["state"] = KEPT["state"] * 2


@pytest.mark.parametrize(
    ("run", "words"),
    [
        (lambda: fixed().sum().item(), "reads a value"),
        (lambda: 1 if (fixed() > 0).any() else 2, "reads a value"),
        (lambda: torch.equal(fixed(), fixed()), "reads a value"),
        (lambda: fixed()[fixed() > 0], "by a mask"),
        (lambda: fixed().index_put_((fixed() > 0,), torch.zeros(())), "by a mask"),
        (lambda: fixed().nonzero(), "whose shape"),
        (lambda: fixed().unique(), "whose shape"),
        (lambda: fixed().repeat_interleave(COUNT), "whose shape"),
        (lambda: torch.rand(3, generator=torch.Generator()), "generator of its own"),
        (lambda: fixed() * torch.tensor(2.0), "host's memory"),
        (lambda: fixed() * torch.from_numpy(np.ones(3)), "host's memory"),
        (lambda: fixed()[[2, 1]], "host's memory"),
        (replaced, "not the same in each run"),
    ],
)
def test_what_a_graph_cannot_hold_is_found(run, words):
    with pytest.raises(Uncapturable, match=words):
        Tape.record(run, CPU)


def test_what_a_graph_can_hold_is_not_mistaken():
    def run():
        x = fixed()
        x[1:] = 2.0  # x[0] would be a copy of one number from the host
        x = torch.where(x > 1, x, x.new_full((), 3.0))[torch.arange(3)]
        return x.clamp(max=2).sum() + torch.full((), 1.0)

    Tape.record(run, CPU)()


def test_a_snapshot_puts_everything_back():
    class Keeper:
        def __init__(self):
            self.numbers, self.names, self.count = [1, 2], {"a": 1}, 3
            self.tensor, self.rng, self.array = torch.zeros(2), random.Random(0), np.zeros(2)
            self.network = nn.Linear(1, 1)
            inner = 0

            def counted():
                nonlocal inner
                inner += 1
                return inner

            self.counted = counted

    keeper = Keeper()
    before = Snapshot({"keeper": keeper})
    assert before.changed() == ""
    changes = {
        "keeper.numbers": lambda: keeper.numbers.append(3),
        "keeper.names": lambda: keeper.names.update(b=2),
        "keeper.count": lambda: setattr(keeper, "count", 4),
        "keeper.rng draws": keeper.rng.random,
        "keeper.array": lambda: keeper.array.fill(1),
        "keeper.counted.inner": keeper.counted,
        "keeper.tensor is replaced": lambda: setattr(keeper, "tensor", keeper.tensor + 1),
        "keeper.network.bias": lambda: setattr(keeper.network, "bias", None),
        "keeper.new is added": lambda: setattr(keeper, "new", 1),
    }
    for words, change in changes.items():
        change()
        assert words in before.changed()
        before.restore()
        assert before.changed() == "", words
    keeper.tensor.add_(1)
    torch.rand(1), random.random()
    assert before.changed() == "", "what a tensor holds may change"
    before.restore()
    assert keeper.tensor.tolist() == [0, 0]
    assert before.read()[0].tolist() == [0, 0]


# --- phases ---------------------------------------------------------------------------------------------------------


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


class Failing(Tapes):
    """Graphs that cannot be made: all runs as it is, with what is set between the runs in tensors."""

    calls = 0

    def record(self, function):
        function()
        type(self).calls += 1
        raise CaptureFailed("out of everything")


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


# --- bundled models -------------------------------------------------------------------------------------------------


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


# --- settings -------------------------------------------------------------------------------------------------------


def test_capture_is_for_cuda(cli):
    loop = training("gan_fc", graphs=None)
    assert loop.captures is None
    arguments = ("-p", "gan_fc", "--data", "gaussians", "--steps", 1, "--device", "cpu", "-q")
    cli("train", *arguments, "--set", "capture=true").refused("capture=true", "cpu")
    cli("train", *arguments, "--set", "capture=sometimes").refused("capture")
    assert cli("train", *arguments, "--set", "capture=false", "--dry-run").code == 0


def switches():
    cudnn = torch.backends.cudnn
    return torch.are_deterministic_algorithms_enabled(), cudnn.deterministic, cudnn.benchmark


def test_determinism_is_put_back(monkeypatch):
    import os

    monkeypatch.delenv("CUBLAS_WORKSPACE_CONFIG", raising=False)
    before = switches()
    with determinism(True):
        assert switches() == (True, True, False)
        assert os.environ["CUBLAS_WORKSPACE_CONFIG"] == ":4096:8"
    assert switches() == before
    assert "CUBLAS_WORKSPACE_CONFIG" not in os.environ
    with (
        pytest.raises(UserError, match=r"^kthvalue_cuda has no deterministic form .* without --deterministic$"),
        determinism(True),
    ):
        raise RuntimeError("kthvalue_cuda does not have a deterministic implementation, but you set ...")
    with pytest.raises(RuntimeError, match="other"), determinism(True):
        raise RuntimeError("other")
    assert switches() == before
    with determinism(False):
        assert switches() == before


def test_a_deterministic_run_says_so_and_stays_so(tmp_path, monkeypatch, cli):
    seen = []
    advance = Loop.advance
    monkeypatch.setattr(Loop, "advance", lambda self: (seen.append(switches()), advance(self)))
    before = switches()
    arguments = ("-p", "gan_fc", "--data", "gaussians", "--set", "model.hidden=[8]", "--device", "cpu", "-q")
    assert cli("train", *arguments, "--steps", 2, "--deterministic", "--out", tmp_path).code == 0
    (path,) = tmp_path.iterdir()
    assert Run.open(path).document()["deterministic"] is True
    assert cli("train", "--resume", path, "--steps", 3, "-q").code == 0
    assert seen == [(True, True, False)] * 3
    assert switches() == before


def test_an_operation_without_a_deterministic_form_is_one_sentence(cli, monkeypatch):
    from ganzoo_plugins.losses.non_saturating import NonSaturating

    def discriminator(self, real, fake):
        torch.use_deterministic_algorithms(torch.are_deterministic_algorithms_enabled())
        if torch.are_deterministic_algorithms_enabled():
            raise RuntimeError("median CUDA with indices output does not have a deterministic implementation, but ...")
        return fake.mean() - real.mean()

    monkeypatch.setattr(NonSaturating, "discriminator", discriminator)
    arguments = ("-p", "gan_fc", "--data", "gaussians", "--loss", "non_saturating", "--steps", 1, "-q", "--dry-run")
    cli("train", *arguments, "--deterministic").refused("no deterministic form", "without --deterministic")


# --- on a GPU -------------------------------------------------------------------------------------------------------


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


@pytest.mark.gpu
@pytest.mark.parametrize("capture", [True, False])
@pytest.mark.parametrize("model", ["wgan_gp_conv", "cyclegan", "began"])
def test_deterministic_runs_and_a_resumed_one_are_equal_to_the_bit(tmp_path, model, capture):
    def go(*arguments):
        # In processes of their own, since cuBLAS reads its setting once.
        subprocess.run([sys.executable, "-m", "ganzoo", "train", "-q", *map(str, arguments)], check=True)

    sets = [
        *small(model),
        "batch_size=4",
        "checkpoint_every=20",
        "sample_every=1000",
        f"capture={str(capture).lower()}",
    ]
    settings = [word for each in sets for word in ("--set", each)]
    for name, steps in {"a": 40, "b": 40, "c": 20}.items():
        go("-p", model, *settings, "--device", "cuda", "--deterministic", "--steps", steps, "--out", tmp_path / name)
    (resumed,) = (tmp_path / "c").iterdir()
    go("--resume", resumed, "--steps", 40)
    ends = {}
    for name in "abc":
        (run,) = (tmp_path / name).iterdir()
        ends[name] = load_file(checkpoint.latest(Run.open(run).checkpoints) / "networks.safetensors")
    differ = {
        other: [name for name, tensor in ends["a"].items() if not torch.equal(tensor, ends[other][name])]
        for other in "bc"
    }
    assert differ == {"b": [], "c": []}, "b: the same again; c: resumed"
