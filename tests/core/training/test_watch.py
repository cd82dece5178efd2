"""A training that has failed is warned of once, and is the same with and without being watched."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest
import torch

import ganzoo
from ganzoo import load_config, load_registry
from ganzoo.training.loop import Loop
from ganzoo.training.watch import SHOWN, Watch


@pytest.fixture
def watch() -> Watch:
    """Of a training of points that has taken 300 steps, with a discriminator that scores the first coordinate."""
    config = load_config(
        load_registry(), "gan_fc", sets=["data.name=gaussians", "loss.name=minimax", "model.hidden=[4]"]
    )
    dataset = config.build_dataset()
    trainer = config.build_trainer(dataset.spec)
    loop = Loop(trainer, dataset, config.train)
    loop.step = 300
    trainer.score = lambda points, condition: points[:, 0]
    return Watch(loop, next(iter(loop.exports().values())).signature, [])


def drawn(at: float, spread: float = 1.0) -> torch.Tensor:
    torch.manual_seed(0)
    return torch.randn(SHOWN, 2) * spread + torch.tensor([at, 0.0])


def look(watch: Watch, samples: torch.Tensor) -> dict[str, float]:
    return watch.look(samples, [torch.zeros(SHOWN, *field.shape) for field in watch._signature.inputs])


def test_the_figures_are_what_they_say(watch: Watch) -> None:
    samples = drawn(-1.0)
    found = look(watch, samples)
    real = watch._loop.trainer.prepare(watch._loop.dataset.examples(SHOWN))["x"].double()

    def spread(points: torch.Tensor) -> float:
        return sum((a - b).norm().item() for a in points for b in points) / (SHOWN * (SHOWN - 1))

    assert found["watch/diversity"] == pytest.approx(spread(samples.double()) / spread(real), rel=1e-5)
    above = sum((a[0] > b[0]).item() for a in real for b in samples) / SHOWN**2
    assert found["watch/separation"] == pytest.approx(above)
    # minimax: the mean of log(1 - D) = -softplus(score), of which the derivative is -D / N
    slopes = samples[:, 0].double().sigmoid() / SHOWN
    assert found["watch/gradient"] == pytest.approx(slopes.norm().item(), rel=1e-5)


def test_each_failure_is_said_once_with_what_to_try(watch: Watch, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING, "ganzoo")
    look(watch, drawn(0.0))
    for _ in range(3):
        look(watch, drawn(0.0, 0.001))
    (collapse,) = [each.message for each in caplog.records]
    assert "step 300: " in collapse
    assert "docs/why.md#mode-collapse" in collapse
    caplog.clear()
    look(watch, drawn(-50.0))
    assert not caplog.records, "a single look may be chance"
    for _ in range(3):
        look(watch, drawn(-50.0))
    (saturation,) = [each.message for each in caplog.records]
    assert "next to nothing: saturation; try --regularizer r1" in saturation
    caplog.clear()
    watch._loop.trainer.score = lambda points, condition: points[:, 0] * 1e6
    for _ in range(2):
        look(watch, drawn(3.0))
    (explosion,) = [each.message for each in caplog.records]
    assert "clip_grad=1" in explosion


def test_a_resumed_run_does_not_say_it_again_and_a_young_one_nothing(
    watch: Watch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING, "ganzoo")
    rows = [{"step": step, "watch/diversity": 0.0} for step in (250, 300)]
    resumed = Watch(watch._loop, watch._signature, rows)
    look(resumed, drawn(0.0, 0.001))
    watch._loop.step = 100
    for _ in range(3):
        look(watch, drawn(0.0, 0.001))
    assert not caplog.records


def test_watching_changes_no_bit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    sets = ["model.width=4", "model.latent_dim=4", "batch_size=8", "sample_every=1", "log_every=1"]
    images = torch.randint(256, (40, 1, 16, 16), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    data = (images, torch.arange(40) % 3)

    def weights() -> tuple[list[torch.Tensor], int]:
        run = ganzoo.train("cgan", data=data, steps=3, sets=sets, quiet=True)
        networks = [network for network, _ in run.load_all(load_registry()).values()]
        watched = sum("watch/gradient" in row for row in run.metrics())
        return [part for network in networks for part in network.state_dict().values()], watched

    state, watched = weights()
    monkeypatch.setattr(Watch, "look", lambda *_: {})
    blind, unwatched = weights()
    assert (watched, unwatched) == (3, 0)
    assert all(torch.equal(a, b) for a, b in zip(state, blind, strict=True))
