"""Checkpoints whose files are whole and whose content is of another model: nothing of it is loaded."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import Command
from safetensors.torch import load_file, save_file

from ganzoo import load_registry
from ganzoo.runs import checkpoint
from ganzoo.runs.run import Run
from ganzoo.runs.state_checks import conformed
from ganzoo.training.loop import Loop

State = dict[str, Any]


@pytest.fixture
def run(trained: dict[str, Path], tmp_path: Path) -> Run:
    shutil.copytree(trained["digits"], tmp_path / "run")
    return Run(tmp_path / "run")


def sign(path: Path) -> None:
    """Put the hashes of a checkpoint right."""
    manifest = json.loads((path / "checkpoint.json").read_text())
    manifest["sha256"] = {name: hashlib.sha256((path / name).read_bytes()).hexdigest() for name in manifest["sha256"]}
    (path / "checkpoint.json").write_text(json.dumps(manifest))


def rewrite(run: Run, change: Callable[[State], object]) -> Path:
    path = checkpoint.latest(run.checkpoints)
    state = torch.load(path / "state.pt", weights_only=True)
    change(state)
    torch.save(state, path / "state.pt")
    sign(path)
    return path


def moments(state: State) -> State:
    return state["optimizers"]["generator"]["state"][0]


def group(state: State) -> State:
    return state["optimizers"]["discriminator"]["param_groups"][0]


def flattened(state: State) -> None:
    whole = moments(state)["exp_avg"]
    moments(state)["exp_avg"] = whole.flatten()[:1].clone().expand(whole.shape)  # of the right shape, and 4 bytes


CHANGES: dict[str, tuple[Callable[[State], object], str]] = {
    "one element": (lambda s: moments(s).update(exp_avg=torch.zeros(1)), "exp_avg has the shape [1], not"),
    "no element": (lambda s: moments(s).update(exp_avg_sq=torch.zeros(0)), "exp_avg_sq has the shape [0], not"),
    "no key": (lambda s: moments(s).pop("exp_avg"), "state.0 has no 'exp_avg'"),
    "another key": (lambda s: moments(s).update(more=torch.zeros(1)), "has 'more', which this model has not"),
    "no tensor": (lambda s: moments(s).update(exp_avg=[0.0]), "exp_avg is no tensor"),
    "integers": (lambda s: moments(s).update(exp_avg=moments(s)["exp_avg"].long()), "is of torch.int64"),
    "no memory": (flattened, "exp_avg is no ordinary tensor"),
    "sparse": (lambda s: moments(s).update(exp_avg=moments(s)["exp_avg"].to_sparse()), "is no ordinary tensor"),
    "another parameter": (
        lambda s: s["optimizers"]["generator"]["state"].update({99: moments(s)}),
        "is of other parameters",
    ),
    "fewer parameters": (lambda s: group(s)["params"].pop(), "param_groups.0 is of other parameters"),
    "no group": (lambda s: s["optimizers"]["generator"]["param_groups"].clear(), "is of other groups"),
    "endless rate": (lambda s: group(s).update(lr=float("inf")), "lr is no number in range"),
    "no rate": (lambda s: group(s).update(lr="fast"), "lr is no number in range"),
    "one decay": (lambda s: group(s).update(betas=(0.5,)), "betas has 1 entries, not 2"),
    "no switch": (lambda s: group(s).update(fused=3), "fused is no bool"),
    "no optimizer": (lambda s: s["optimizers"].pop("generator"), "state.optimizers is not of generator, discriminator"),
    "no optimizers": (lambda s: s.update(optimizers=[]), "state.optimizers is not of"),
    "no trainer": (lambda s: s.pop("trainer"), "state has no 'trainer'"),
    "other trainer": (lambda s: s["trainer"].update(augment=None), "trainer.augment is no number"),
    "nan": (lambda s: s["trainer"].update(augment=float("nan")), "trainer.augment is no number in range"),
    "position": (lambda s: s.update(position=-1), "position is no number of batches"),
    "half a position": (lambda s: s.update(position=0.5), "position is no number of batches"),
    "torch's generator": (lambda s: s["random"].update(torch=torch.zeros(7, dtype=torch.uint8)), "random.torch has"),
    "NumPy's place": (lambda s: s["random"]["numpy"].__setitem__(2, 10**6), "random.numpy is no state"),
    "Python's generator": (lambda s: s["random"].update(python=(3, (1, 2), None)), "random.python.1 has 2 entries"),
    "empty": (lambda s: s.clear(), "state has no"),
}


@pytest.mark.parametrize("name", CHANGES)
def test_state_of_another_model_is_refused(cli: Command, run: Run, name: str) -> None:
    change, words = CHANGES[name]
    path = rewrite(run, change)
    config = run.config(load_registry())
    dataset = config.build_dataset()
    loop = Loop(config.build_trainer(dataset.spec), dataset, config.train)
    before = {key: value.clone() for key, value in loop.trainer.networks["generator"].state_dict().items()}
    with pytest.raises(ValueError, match="does not fit this model"):
        loop.restore(path)
    if not name.startswith(("NumPy",)):  # what only the generator itself can judge comes last
        assert all(
            torch.equal(before[key], value) for key, value in loop.trainer.networks["generator"].state_dict().items()
        )
    assert loop.step == 0
    cli("train", "--resume", run.path, "--steps", "9", "-q").refused("does not fit this model", words)


def test_weights_of_another_model_are_refused(cli: Command, run: Run) -> None:
    path = checkpoint.latest(run.checkpoints)
    weights = load_file(path / "ema.safetensors")
    key = next(iter(weights))
    save_file({**weights, key: weights[key].flatten()[:2].clone()}, path / "ema.safetensors")
    sign(path)
    for arguments in (["sample", run.path], ["train", "--resume", run.path, "--steps", "9"]):
        cli(*arguments).refused("does not fit this model", f"{key} has the shape [2], not")


@pytest.mark.parametrize("step", [-1, 5, 4.0, "4", 10**30, None])
def test_step_of_another_checkpoint_is_refused(cli: Command, run: Run, step: object) -> None:
    path = checkpoint.latest(run.checkpoints)
    manifest = json.loads((path / "checkpoint.json").read_text())
    (path / "checkpoint.json").write_text(json.dumps({**manifest, "step": step}))
    cli("train", "--resume", run.path, "--steps", "9").refused(f"{path} is damaged")


def test_what_is_empty_at_first_may_have_grown() -> None:
    fresh = {"pool": torch.empty(0, 3), "list": [], "numbers": [0.0], "none": None, "table": {}}
    kept = {
        "pool": torch.ones(4, 3).t().contiguous().t(),
        "list": [torch.ones(2), "text"],
        "numbers": [1, 2.5],
        "none": (1, None),
        "table": {"a": True},
    }
    found = conformed(kept, fresh, "state")
    assert torch.equal(found.pop("pool"), kept.pop("pool"))
    assert torch.equal(found["list"].pop(0), kept["list"].pop(0))
    assert found == kept
    for key, value in {"pool": torch.ones(4, 2), "list": [object()], "numbers": [], "table": {"a": {1}}}.items():
        with pytest.raises(ValueError, match=f"state.{key}"):
            conformed({**kept, "pool": torch.ones(4, 3), "list": [], key: value}, fresh, "state")


def test_moments_take_the_layout_of_their_weights() -> None:
    fresh = torch.zeros(2, 3, 4, 4).to(memory_format=torch.channels_last)
    kept = torch.randn(2, 3, 4, 4)
    found = conformed(kept, fresh, "moments")
    assert torch.equal(found, kept)
    assert found.stride() == fresh.stride() != kept.stride()
