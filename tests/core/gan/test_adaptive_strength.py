"""The probability of augmentation: fixed, rising, or steered by the signs of the real scores."""

from __future__ import annotations

from math import cos, pi
from pathlib import Path
from typing import Any

import pytest
import torch

from ganzoo import Augment, AugmentConfig, Image, Label, UserError, load_config, load_registry
from ganzoo.config.train_settings import TrainSettings
from ganzoo.data.dataset import DataSpec, TensorDataset
from ganzoo.training.loop import Loop

IMAGES = DataSpec("made", (Image(1, 16, 16, range=(0, 255)), Label(3)), 64)
SETTINGS = TrainSettings(batch_size=8, steps=100, seed=0)
ADAPTIVE = ("policy=ada", "target=0.6", "images=100")


def trainer_of(name: str, *sets: str) -> Any:
    sets = tuple(f"model.augment.{each}" for each in sets)
    return load_config(load_registry(), name, sets=["model.width=4", *sets]).build_trainer(IMAGES)


def test_every_fourth_batch_moves_the_probability_by_the_sign_of_the_mean_sign() -> None:
    augment = Augment(AugmentConfig(policy="ada", target=0.6, images=1000), (-1, 1))
    rng = torch.Generator().manual_seed(0)
    p, signs, seen = 0.0, [], set()
    for step in range(400):
        # Scores that grow and fall, so that the probability reaches either end.
        scores = torch.randn(16, generator=rng) + (3 if step % 200 < 110 else 0)
        (logged,) = augment.adapt(scores, 16).values()
        signs.append(float(scores.sign().mean()))
        if len(signs) == 4:
            p = min(max(p + (1 if sum(signs) / 4 > 0.6 else -1) * 4 * 16 / 1000, 0), 1)
            signs = []
        assert float(logged) == augment.probability == pytest.approx(p, abs=1e-5)
        seen.add(round(p, 6))
    assert {0, 1} < seen
    assert len(seen) > 15
    assert augment.adapt(torch.zeros(16), 16).keys() == {"augment_p"}
    augment = Augment(AugmentConfig(policy="ada", target=0.5), (-1, 1))
    for scores in (torch.ones(4), torch.zeros(4)) * 2:
        augment.adapt(scores, 10)
    assert augment.probability == 0, "exactly at the target it stays"
    for _ in range(4 * 100):
        augment.adapt(torch.ones(4), 1250)
    assert augment.probability == pytest.approx(1, abs=1e-5), "from 0 to 1 in 500,000 images"


def test_it_is_resumed_to_the_bit_amid_four_batches(tmp_path: Path) -> None:
    torch.manual_seed(0)
    dataset = TensorDataset(
        IMAGES, {"x": torch.randint(256, (64, 1, 16, 16), dtype=torch.uint8), "y": torch.zeros(64, dtype=torch.int64)}
    )

    def loop() -> Loop:
        return Loop(trainer_of("dcgan", "policy=ada", "target=0.01", "images=100"), dataset, SETTINGS)

    straight = loop()
    for _ in range(7):
        straight.advance()
    kept = straight.save(tmp_path)
    held = straight.trainer.state_dict()
    assert held["augment"][2] == 3, "batches since the last move"
    for _ in range(6):
        straight.advance()
    assert 0 <= straight.take_logs()["discriminator/augment_p"] <= 1
    resumed = loop()
    resumed.restore(kept)
    assert resumed.trainer.state_dict() == held
    for _ in range(6):
        resumed.advance()
    assert straight.trainer.state_dict() == resumed.trainer.state_dict() != held
    pairs = zip(straight.trainer.discriminator.parameters(), resumed.trainer.discriminator.parameters(), strict=True)
    assert all(torch.equal(*pair) for pair in pairs)


def test_older_states_are_read_and_foreign_ones_refused() -> None:
    trainer = trainer_of("dcgan", *ADAPTIVE)
    assert trainer.state_dict()["augment"] is None
    trainer.load_state_dict({**trainer.state_dict(), "augment": 0.25})
    assert trainer.augment.probability == 0.25
    kept = trainer.state_dict()
    assert kept["augment"] == [0.25, 0, 0]
    for foreign in (2.0, [0.1], [0.1, 0.0, 4.0], float("nan"), "much", {}, [[0.1], [0.1], [0.1]]):
        with pytest.raises((ValueError, TypeError)):
            trainer.augment.load_state_dict(foreign)
    assert trainer.state_dict() == kept
    trainer.augment.load_state_dict(None)
    assert trainer.augment.probability == 0
    fixed = trainer_of("dcgan", "policy=color", "probability=0.5")
    assert fixed.state_dict()["augment"] == 0.5, "as ever"
    fixed.load_state_dict(fixed.state_dict())


def test_a_ramp_is_half_a_cosine_over_images_and_needs_no_signs() -> None:
    trainer = trainer_of("dcgan", "policy=ada", "probability=0.3", "ramp=100")
    augment = trainer.augment
    assert augment.probability == 0
    for images in range(10, 150, 10):
        (logged,) = augment.adapt(torch.randn(4), 10).values()
        expected = 0.3 * (1 - cos(pi * min(images / 100, 1))) / 2
        assert float(logged) == pytest.approx(expected, abs=1e-6)
    other = trainer_of("dcgan", "policy=ada", "probability=0.3", "ramp=100")
    other.load_state_dict(trainer.state_dict())
    assert other.augment.probability == augment.probability


def test_what_makes_no_sense_is_refused() -> None:
    for sets, words in {
        ("policy=ada",): "leaks into the samples .* set augment.target=0.6",
        ("policy=ada", "probability=0.9"): "leaks into the samples",
        ("policy=ada", "target=0.6", "ramp=10"): "a target or a ramp",
    }.items():
        with pytest.raises(UserError, match=words):
            trainer_of("dcgan", *sets)
    with pytest.raises(UserError, match=r"no meaning; .* augment.probability with augment.ramp"):
        load_config(load_registry(), "r3gan", sets=[f"model.augment.{each}" for each in ADAPTIVE]).build_trainer(IMAGES)
    trainer_of("dcgan", "policy=ada", "probability=0.8")
