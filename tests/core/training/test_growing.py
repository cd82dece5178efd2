"""Networks that grow while they are trained, and losses that ask for the step."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import Command
from growing import GrowingConfig, Progressive
from sites import Site, importable
from torch import Tensor, nn

from ganzoo import Generator as GeneratorNetwork
from ganzoo import Image, Latent, Loss, Phase, Points, Signature, Trainer, TrainerConfig, UserError, load, load_registry
from ganzoo.config.train_settings import TrainSettings
from ganzoo.data.dataset import DataSpec, TensorDataset
from ganzoo.gan.optimizers import OptimizerConfig
from ganzoo.plugin.registry import BUNDLED, Registry
from ganzoo.runs import checkpoint
from ganzoo.testing import general, run_checks
from ganzoo.training.capture import Tapes
from ganzoo.training.loop import Loop

FIRST, FADE = 3, 4  # so that a 16 x 16 model grows before steps 3 and 11, and fades until 7 and 15
STEPS = 18


def images(size: int = 16) -> TensorDataset:
    pixels = torch.randint(256, (40, 1, size, size), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    return TensorDataset(DataSpec("made", (Image(1, size, size, range=(0, 255)),), 40), {"x": pixels})


def training(graphs: Any = None, kind: type[Progressive] = Progressive, **settings: Any) -> Loop:
    data = images()
    checkpoint.seed_random(0)
    loss: Loss = load_registry().get("loss", "non_saturating").spec.load()
    trainer = kind(GrowingConfig(first=FIRST, fade=FADE), data.spec, loss(loss.Config()), {})
    return Loop(trainer, data, TrainSettings(batch_size=4, steps=100, seed=0, device="cpu", **settings), graphs)


def advanced(loop: Loop, steps: int) -> Loop:
    for _ in range(steps):
        loop.advance()
    return loop


def state(loop: Loop) -> dict[str, Any]:
    """Everything that a checkpoint holds, as copies."""
    return copy.deepcopy(
        {
            "networks": {key: each.state_dict() for key, each in loop.trainer.networks.items()},
            "ema": {key: each.state_dict() for key, each in loop.ema.items()},
            "optimizers": {key: each.state_dict()["state"] for key, each in loop.trainer.optimizers.items()},
            "groups": [len(each.param_groups) for each in loop.trainer.optimizers.values()],
            "random": torch.get_rng_state(),
        }
    )


def assert_same(one: Any, other: Any, tolerance: float = 0.0) -> None:
    torch.testing.assert_close(one, other, rtol=tolerance, atol=tolerance)


def test_everything_follows_a_growth() -> None:
    loop = advanced(training(lr_schedule="linear"), FIRST)
    before = state(loop)
    assert before["groups"] == [1, 1]
    assert loop.grow(FIRST)
    assert not loop.grow(FIRST)
    after = state(loop)
    assert after["groups"] == [2, 2]
    for which in ("networks", "ema"):
        for name, old in before[which].items():
            new = after[which][name]
            assert len(new) == len(old) + 4
            assert all(torch.equal(new[key], value) for key, value in old.items()), "what was there goes on"
    assert set(after["ema"]["generator"]) == set(after["networks"]["generator"])
    trained = dict(loop.trainer.generator.named_parameters())  # type: ignore[operator, union-attr]
    added = {key: part.detach().clone() for key, part in trained.items() if key.startswith("levels.1")}
    advanced(loop, 4)
    assert all(not torch.equal(part, trained[key]) for key, part in added.items()), "what is new learns"
    averages = dict(loop.ema["generator"].named_parameters())
    assert all(not torch.equal(averages[key], part) for key, part in trained.items())
    assert all(not torch.equal(averages[key], part) for key, part in added.items()), "and is averaged"
    rates = {group["lr"] for each in loop.trainer.optimizers.values() for group in each.param_groups}
    assert len(rates) == 1, "under the schedule"
    assert loop.exports()["generator"] is loop.ema["generator"]
    assert not any(part.requires_grad for part in loop.ema["generator"].parameters())


@pytest.mark.parametrize("saved", [1, 3, 4, 6, 11, 12, 16])
def test_a_resumed_training_is_the_same_to_the_last_bit(saved: int, tmp_path: Path) -> None:
    whole = advanced(training(), STEPS)
    assert whole.trainer.stage == 2
    advanced(training(), saved).save(tmp_path)
    resumed = training()
    torch.manual_seed(99)  # growing draws new weights, and what it draws is not what is resumed with
    resumed.restore(checkpoint.latest(tmp_path))
    assert resumed.trainer.stage == (saved > FIRST) + (saved > FIRST + 2 * FADE)
    assert_same(state(advanced(resumed, STEPS - saved)), state(whole))


def test_a_checkpoint_of_before_does_not_fit_what_has_grown(tmp_path: Path) -> None:
    advanced(training(), 2).save(tmp_path)
    with pytest.raises(UserError, match="does not fit this model"):
        advanced(training(), 8).restore(checkpoint.latest(tmp_path))


@pytest.mark.parametrize("settings", [{}, {"lr_schedule": "cosine", "lr_warmup": 4, "accumulate": 2, "clip_grad": 0.5}])
def test_captured_it_fades_in_as_it_does_otherwise(settings: dict[str, Any]) -> None:
    def run(graphs: Any) -> tuple[Loop, dict[str, Any], list[float]]:
        loop, shares = training(graphs, **settings), []
        for _ in range(STEPS):
            loop.advance()
            shares.append(loop.trainer.networks["generator"].alpha.item())  # type: ignore[union-attr, operator]
        return loop, state(loop), shares

    (captured, mine, shares), (_, theirs, eager) = run(Tapes), run(None)  # they draw from one random state
    assert captured.captures is not None
    assert captured.captures.refused == {}
    assert shares == eager
    assert shares[2:9] == [1.0, 0.25, 0.5, 0.75, 1.0, 1.0, 1.0]
    for part in ("networks", "optimizers", "random"):
        assert_same(mine[part], theirs[part])
    assert_same(mine["ema"], theirs["ema"], 1e-6)  # the average is computed in another way


def test_what_is_frozen_for_good_stays_frozen() -> None:
    loop = training()
    frozen = loop.trainer.networks["generator"].base.bias.requires_grad_(False)  # type: ignore[union-attr]
    loop = Loop(loop.trainer, images(), TrainSettings(batch_size=4, steps=100, device="cpu"))
    before = frozen.clone()
    advanced(loop, FIRST + 3)
    assert torch.equal(frozen, before)
    assert not frozen.requires_grad


# --- A network that is added, with an optimizer and a phase of its own


class Net(GeneratorNetwork):
    def __init__(self) -> None:
        super().__init__(Signature((Latent((2,)),), Points(2)))
        self.layer = nn.Linear(2, 2)

    def forward(self, z: Tensor) -> Tensor:
        return self.layer(z)


class Adding(Trainer):
    averaged = ("first", "second")
    stages = (2,)

    def __init__(self, *given: Any) -> None:
        super().__init__(*given)
        self.add("first")

    def add(self, name: str) -> None:
        self.networks[name] = Net()
        self.optimizers[name] = OptimizerConfig(lr=0.01).build(self.networks[name].parameters())

    def grow(self, stage: int) -> None:
        self.add("second")

    def phases(self) -> list[Phase]:
        def loss(name: str) -> Any:
            return lambda batch: {"loss": (self.networks[name](batch["x"]) - 3).square().mean()}

        return [Phase(name, loss(name), (name,)) for name in self.networks]


def adding() -> Loop:
    data = TensorDataset(DataSpec("made", (Points(2),), 20), {"x": torch.linspace(-1, 1, 40).reshape(20, 2)})
    checkpoint.seed_random(0)
    return Loop(Adding(TrainerConfig(), data.spec, None, {}), data, TrainSettings(batch_size=4, steps=9, device="cpu"))


def test_a_network_is_added(tmp_path: Path) -> None:
    loop = advanced(adding(), 2)
    assert [*loop.exports()] == ["first"]
    advanced(loop, 2).save(tmp_path)
    assert [*loop.exports()] == ["first", "second"]
    assert {"first/loss", "second/loss"} == loop.take_logs().keys()
    resumed = adding()
    resumed.restore(checkpoint.latest(tmp_path))
    assert_same(state(advanced(resumed, 2)), state(advanced(loop, 2)))


# --- The step


def asking(loss: Any, graphs: Any = None, **settings: Any) -> Loop:
    class Asking(Adding):
        stages = ()

        def phases(self) -> list[Phase]:
            return [Phase("first", lambda batch, step: loss(self, batch, step), ("first",), repeat=2)]

    data = TensorDataset(DataSpec("made", (Points(2),), 20), {"x": torch.linspace(-1, 1, 40).reshape(20, 2)})
    checkpoint.seed_random(0)
    settings = {"batch_size": 4, "steps": 20, "device": "cpu", **settings}
    return Loop(Asking(TrainerConfig(), data.spec, None, {}), data, TrainSettings(**settings), graphs)


def test_a_loss_is_given_the_step() -> None:
    steps: list[Tensor] = []

    def loss(trainer: Trainer, batch: Any, step: Tensor) -> dict[str, Tensor]:
        steps.append(step.clone())
        return {"loss": trainer.networks["first"](batch["x"]).square().mean(), "step": step}

    loop = advanced(asking(loss), 3)
    assert [step.item() for step in steps] == [0, 0, 1, 1, 2, 2]
    assert {(step.dtype, step.shape) for step in steps} == {(torch.float32, torch.Size())}
    loop.phases[0].compute({"x": torch.zeros(1, 2)}, torch.tensor(7.0))
    assert steps[-1].item() == 7


def weighted(trainer: Trainer, batch: Any, step: Tensor) -> dict[str, Tensor]:
    return {"loss": (step / 10).clamp(max=1) * (trainer.networks["first"](batch["x"]) - 3).square().mean(), "at": +step}


def test_a_graph_reads_the_step_and_a_resumed_training_goes_on_with_it(tmp_path: Path) -> None:
    captured, eager = (asking(weighted, graphs, lr_schedule="linear") for graphs in (Tapes, None))
    for _ in range(12):
        advanced(captured, 1), advanced(eager, 1)
        assert captured.take_logs() == eager.take_logs()
    assert captured.captures is not None
    assert captured.captures.refused == {}
    assert_same(state(captured)["networks"], state(eager)["networks"])
    captured.save(tmp_path)
    for graphs in (Tapes, None):
        resumed = asking(weighted, graphs, lr_schedule="linear")
        resumed.restore(checkpoint.latest(tmp_path))
        resumed.advance()
        assert resumed.take_logs()["first/at"] == 12
    assert asking(weighted).phases[0].takes_step


def test_a_loss_that_reads_the_steps_value_runs_without_a_graph() -> None:
    def loss(trainer: Trainer, batch: Any, step: Tensor) -> dict[str, Tensor]:
        share = 1.0 if step < 5 else 0.5
        return {"loss": share * (trainer.networks["first"](batch["x"]) - 3).square().mean()}

    captured, eager = (advanced(asking(loss, graphs), 10) for graphs in (Tapes, None))
    assert captured.captures is not None
    assert "reads a value" in captured.captures.refused["the phase 'first'"]
    assert_same(state(captured)["networks"], state(eager)["networks"])


# --- The command, and the kit


class Forgets(Progressive):
    """Adds layers that no optimizer holds."""

    def grow(self, stage: int) -> None:
        for network in self.networks.values():
            network.add(self.config.width)  # type: ignore[operator]


class Unused(Progressive):
    """Adds a layer that nothing goes through."""

    def grow(self, stage: int) -> None:
        super().grow(stage)
        self.generator.spare = nn.Linear(2, 2)
        self.optimizers["generator"].add_param_group({"params": [*self.generator.spare.parameters()]})


class Counts(Progressive):
    """Grows by its number of steps in this process, which a checkpoint does not hold."""

    def prepare(self, batch: Any) -> Any:
        self.seen = getattr(self, "seen", 0) + 1
        return super().prepare(batch)

    def fade(self, step: Tensor) -> None:
        if self.stage:
            share = min(1.0, 0.1 * self.seen)
            for network in (self.generator, self.discriminator):
                network.alpha.fill_(share)


class Disordered(Progressive):
    stages = (5, 5)  # type: ignore[assignment]


CASES: dict[type[Progressive], str] = {
    Progressive: "",
    Forgets: "its optimizer does not hold all of it",
    Unused: "grown at step 40, gradients: generator.spare.weight and 1 more gets no gradient in 4 steps",
    Counts: "grown at step 40, resume: a resumed run differs",
    Disordered: "its stages are steps from 1 on in ascending order, not [5, 5]",
}


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    folder = tmp_path_factory.mktemp("growing")
    specs = ", ".join(f"Spec('model', {each.__name__!r}, 'S.', '{__name__}:{each.__name__}')" for each in CASES)
    with importable(folder):
        Site(folder).add("toys", plugin=f"@hookimpl\ndef ganzoo_specs():\n    return [{specs}]\n")
        with pytest.MonkeyPatch.context() as patch:  # files take seconds
            patch.setenv("GANZOO_DISABLE_PLUGINS", f"{BUNDLED}/onnx")
            found = Registry()
        yield found


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.__name__)
def test_the_kit_looks_at_each_stage(case: type, registry: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(general, "discovery", lambda *_: None)
    results = {each.name: each for each in run_checks(registry, f"model:toys/{case.__name__}", ["model.first=40"])}
    failed = [name for name, each in results.items() if each.outcome == "failed"]
    if case in (Counts, Disordered):  # which other checks see too
        failed = [name for name in failed if name == "stages"]
    assert failed == (["stages"] if CASES[case] else []), results
    assert CASES[case] in results["stages"].detail


def test_the_commands_train_resume_and_sample_it(cli: Command, tmp_path: Path) -> None:
    with importable(tmp_path):
        offered = (
            f"@hookimpl\ndef ganzoo_specs():\n    return [Spec('model', 'prog', 'S.', '{__name__}:Progressive')]\n"
        )
        Site(tmp_path).add("growers", plugin=offered)
        flags = ("--set", "model.first=3", "--set", "checkpoint_every=2", "-q")
        dry = cli("train", "-p", "prog", "--dry-run", "--steps", "8", *flags[:-1]).out
        small = cli("train", "-p", "prog", "--dry-run", "--steps", "3", *flags[:-1]).out
        count = [next(line for line in text.splitlines() if line.startswith("# generator:")) for text in (dry, small)]
        assert count[0] != count[1]
        run = cli("train", "-p", "prog", "--steps", "6", *flags).out.strip()  # in the middle of the fade
        assert 0 < load(run).generator.alpha.item() < 1  # type: ignore[attr-defined]
        assert cli("sample", run, "-n", "4", "--out", "a.png").code == 0
        assert cli("export", run, "--onnx", "--out", "a.onnx").code == 0
        assert cli("train", "--resume", run, "--steps", "12", "-q").code == 0
        assert load(run).generator.alpha.item() == 1  # type: ignore[attr-defined]
        early = cli("train", "-p", "prog", "--steps", "2", *flags).out.strip()
        assert len(load(early).generator.levels) == 1  # type: ignore[attr-defined]
