"""A loss that is no longer finite ends a training before it spoils a checkpoint."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from conftest import Command
from safetensors.torch import load_file
from test_run_for_real import last

from ganzoo import load_registry


def test_a_loss_that_is_not_finite_stops_before_it_spoils_a_checkpoint(
    cli: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    loss = load_registry().get("loss", "wgan_gp").spec.load()
    calls = []

    def generator(self: object, fake: torch.Tensor, real: torch.Tensor | None) -> torch.Tensor:
        calls.append(1)
        # Two of the calls are not of a step, but of the look at the first samples.
        return -fake.mean() * (float("nan") if len(calls) == 8 else 1.0)

    monkeypatch.setattr(loss, "generator", generator)
    sets = [
        "--set",
        "model.width=2",
        "--set",
        "checkpoint_every=2",
        "--set",
        "sample_every=100",
        "--set",
        "log_every=100",
    ]
    outcome = cli("train", "-p", "wgan_gp_conv", "--data", "digits", "--steps", "20", "-q", *sets)
    assert (outcome.code, outcome.out) == (1, "")
    outcome.sentence("is no longer finite at step 6", "lower the learning rate", "from before")
    (run,) = Path("runs").iterdir()
    assert last(run).name == "step-000004"
    assert all(value.isfinite().all() for value in load_file(last(run) / "networks.safetensors").values())
    assert not (run / "samples" / "000006.png").exists()
    assert cli("train", "--resume", run, "-q").code == 0


def test_a_learning_rate_that_explodes(cli: Command) -> None:
    sets = [
        "--set",
        "model.optimizer.lr=1e30",
        "--set",
        "model.width=2",
        "--set",
        "lr_warmup=0",
        "--set",
        "log_every=1",
    ]
    outcome = cli("train", "-p", "wgan_gp_conv", "--data", "digits", "--steps", "20", "-q", *sets)
    assert outcome.code == 1
    outcome.sentence("is no longer finite", "--set clip_grad=1", "there is no checkpoint yet")
