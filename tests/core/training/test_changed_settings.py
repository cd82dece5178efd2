"""A resumed run takes other learning rates and records it; one that diverges goes back, slower; plateaus; images."""

from __future__ import annotations

import json
from collections.abc import Callable
from math import nan

import pytest
import torch

import ganzoo
from ganzoo import Run, TrainingError, UserError, load_config, load_registry
from ganzoo.runs import checkpoint
from ganzoo.training.loop import Loop

pytestmark = pytest.mark.usefixtures("undrawn")

TINY = {
    "batch_size": 8,
    "log_every": 2,
    "sample_every": 2,
    "checkpoint_every": 2,
    "model": {"hidden": [4], "optimizer": {"lr": 0.001}},
    "data": {"size": 100},
    "metric": {"modes": {"samples": 20}},
    "tracker": {"tensorboard": False},
}


@pytest.fixture
def rates(monkeypatch: pytest.MonkeyPatch) -> dict[int, list[float]]:
    """Note what the learning rates are in each step."""
    found: dict[int, list[float]] = {}
    run = Loop.run

    def noted(self: Loop, phase: object) -> None:
        if self.lr_scale is not None and self.stream.batch_size == 8:
            groups = [group for each in self.trainer.optimizers.values() for group in each.param_groups]
            found[self.step] = [round(float(group["lr"]), 9) for group in groups]
        run(self, phase)

    monkeypatch.setattr(Loop, "run", noted)
    return found


def trained(*sets: str, steps: int = 4, resume: str | None = None, **more: object) -> Run:
    if resume is not None:
        return ganzoo.train(resume=resume, steps=steps, sets=sets, quiet=True, **more)
    return ganzoo.train("gan_fc", data="gaussians", steps=steps, config=TINY, sets=sets, quiet=True, **more)


def moments(run: Run) -> dict[str, object]:
    return checkpoint.load_state(checkpoint.latest(run.checkpoints))[1]["optimizers"]


def test_a_resumed_run_trains_at_the_new_rate_with_its_moments_and_says_so(rates: dict, cli) -> None:
    run = trained()
    assert rates[3] == [0.001, 0.001]
    before = moments(run)
    loop = Loop(
        (config := run.config(load_registry(), sets=["model.optimizer.lr=0.0001"])).build_trainer(run.data_spec()),
        config.build_dataset(),
        config.train,
    )
    loop.restore(run.checkpoint())
    for name, optimizer in loop.trainer.optimizers.items():
        for key, state in optimizer.state_dict()["state"].items():
            assert torch.equal(state["exp_avg"], before[name]["state"][key]["exp_avg"])
    sets = ("model.optimizer.lr=0.0001", "model.discriminator_lr=0.0003", "ema=0.9", "sample_every=4")
    trained(*sets, steps=6, resume="1")
    assert rates[4] == rates[5] == [0.0001, 0.0003]
    assert rates[3] == [0.001, 0.001]
    trained(steps=8, resume="1")  # and it stays
    assert rates[7] == [0.0001, 0.0003]
    events = {event.get("setting"): event for event in run.events()}
    assert events["model.optimizer.lr"] == {
        "step": 4,
        "kind": "setting",
        "text": "model.optimizer.lr: 0.001 becomes 0.0001",
        "setting": "model.optimizer.lr",
        "from": 0.001,
        "to": 0.0001,
    }
    assert {"model.discriminator_lr", "ema", "sample_every", "steps"} <= events.keys()
    card = (run.path / "README.md").read_text()
    assert "- after step 4, model.optimizer.lr: 0.001 becomes 0.0001" in card
    refused = cli("train", "--resume", "1", "--steps", 9, "--set", "model.latent_dim=7")
    refused.refused("'model.latent_dim' cannot change", "model.optimizer.lr, model.discriminator_lr, metrics", "ema")
    cli("train", "--resume", "1", "--steps", 9, "--set", "data.size=99").refused("'data.size' cannot change")


def test_the_same_rate_resumes_to_the_bit(rates: dict) -> None:
    whole, parts = trained(steps=4), trained(steps=2, out="parts")
    trained(steps=4, resume=str(parts.path))
    weights = [checkpoint.load_tensors(each.checkpoint()) for each in (whole, parts)]
    assert all(torch.equal(weights[0][key], weights[1][key]) for key in weights[0])
    assert [event["setting"] for event in parts.events()] == ["steps"]


@pytest.fixture
def breaking(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Let the training diverge in the next runs of a step."""

    def let(step: int, times: int) -> None:
        left, advance = [times], Loop.advance

        def broken(self: Loop) -> None:
            advance(self)
            if self.step == step and left[0]:
                left[0] -= 1
                with torch.no_grad():
                    next(iter(self.trainer.networks["generator"].parameters())).fill_(nan)

        monkeypatch.setattr(Loop, "advance", broken)

    return let


def test_one_that_diverges_goes_back_and_on_at_a_lower_rate(
    rates: dict, breaking: Callable[..., None], caplog: pytest.LogCaptureFixture
) -> None:
    breaking(6, 2)
    run = trained("rewind=2", "lr_drop=0.1", steps=8)
    assert rates[3] == [0.001, 0.001]
    assert rates[4] == rates[7] == [1e-5, 1e-5], "twice a tenth"
    said = [event["text"] for event in run.events()]
    assert said[0].startswith(
        "generator/loss is no longer finite: back to the checkpoint of step 4 (rewind 1 of 2)"
    ) or (said[0].startswith("the generator is no longer finite: back to the checkpoint of step 4 (rewind 1 of 2)"))
    assert "rewind 2 of 2" in said[1]
    assert said[1] in caplog.text
    steps = [row["step"] for row in run.metrics() if "generator/loss" in row]
    assert steps == [2, 4, 6, 8], "none of what was given up"
    trained(steps=10, resume="1")
    assert rates[9] == [1e-5, 1e-5]
    breaking(12, 1)
    with pytest.raises(TrainingError, match="no longer finite at step 12"):
        trained(steps=12, resume="1")  # the rewinds of the run are used up
    assert json.loads((run.checkpoints / "step-000010" / "checkpoint.json").read_text())["step"] == 10


def test_it_goes_back_to_an_older_checkpoint_that_it_came_from(rates: dict, breaking: Callable[..., None]) -> None:
    run = trained(steps=6)
    breaking(5, 1)
    with pytest.raises(TrainingError):
        trained("log_every=1", steps=8, resume="1", from_step=4)
    assert checkpoint.latest(run.checkpoints).name == "step-000006", "the newest is still there"
    breaking(5, 1)
    trained("rewind=1", "log_every=1", steps=8, resume="1", from_step=4)
    assert rates[7] == [0.0005, 0.0005]
    assert [row["step"] for row in run.metrics() if "generator/loss" in row] == [2, 4, 5, 6, 7, 8]


def test_without_a_checkpoint_or_the_setting_it_ends(breaking: Callable[..., None]) -> None:
    breaking(2, 1)
    with pytest.raises(TrainingError, match="there is no checkpoint yet"):
        trained("rewind=3")


def test_rates_fall_on_a_plateau(rates: dict, monkeypatch: pytest.MonkeyPatch) -> None:
    values = [9.0, 3, 4, 5, 2, 6, 7, 8, 9, 9, 9]  # the first is that of step 0, which does not count
    cls = load_registry().get("metric", "modes").spec.load()
    monkeypatch.setattr(cls, "__call__", lambda *_: {"count": 1.0, "kl": values.pop(0), "covered": 1.0})
    run = trained("keep_best=modes/kl", "lr_plateau=2", "lr_drop=0.1", steps=14)
    assert rates[5] == rates[2] == [0.001, 0.001]
    assert rates[6] == rates[11] == [0.0001, 0.0001], "after 4 and 5"
    assert rates[12] == [0.00001, 0.00001], "after 6 and 7, since 2 is better than 3"
    trained(steps=16, resume="1")
    assert rates[15] == [0.00001, 0.00001]
    assert [event["kind"] for event in run.events()] == ["rate", "rate", "setting", "rate"], "and the count went on"
    assert run.events()[0]["text"].startswith("2 evaluations without a better modes/kl")
    with pytest.raises(UserError, match="lr_plateau counts evaluations"):
        trained("lr_plateau=2")


def test_schedules_count_images(rates: dict) -> None:
    trained("lr_unit=images", "lr_schedule.name=step", "lr_schedule.every=16", "lr_schedule.gamma=0.1", steps=5)
    assert [rates[step][0] for step in range(5)] == [0.001, 0.001, 0.0001, 0.0001, 0.00001]
    sets = ["data.name=gaussians", "lr_unit=images", "lr_warmup=32", "accumulate=2"]
    config = load_config(load_registry(), "gan_fc", file=TINY, sets=sets)
    dataset = config.build_dataset()
    loop = Loop(config.build_trainer(dataset.spec), dataset, config.train)
    assert [loop.rate_factor(step) for step in range(3)] == [0.5, 1, 1]
