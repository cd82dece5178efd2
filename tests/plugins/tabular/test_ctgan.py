"""CTGAN: against float64 references, by category, and as a file."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import Command
from torch import Tensor

import ganzoo
from ganzoo import Column, DataSpec, Table, load_config, load_registry
from ganzoo_plugins.tabular.ctgan import CTGAN, RowGenerator, Training
from ganzoo_runtime import Generator

TABLE = Table(
    (
        Column("n", (0, 10), modes=((0.5, 2, 1), (0.5, 7, 1)), missing=True),
        Column("kind", categories=("a", "b", "c"), shares=(0.9, 0.08, 0.02)),
        Column("old", (0, 1)),
        Column("yes", categories=("no", "yes"), shares=(0.25, 0.75)),
    )
)
NUMBERS = Table((Column("a", (0, 1)), Column("b", (-1, 1))))
SMALL = ("model.hidden=[8, 8]", "model.latent_dim=4", "batch_size=20")


def trainer_for(table: Table, *sets: str, size: int = 1000) -> CTGAN:
    torch.manual_seed(0)
    config = load_config(load_registry(), "ctgan", sets=[*SMALL, *sets])
    trainer = config.build_trainer(DataSpec("made", (table,), size))
    assert isinstance(trainer, CTGAN)
    return trainer


def rows(table: Table, n: int) -> Tensor:
    random = np.random.Generator(np.random.Philox(1))
    columns: dict[str, Any] = {"n": random.uniform(0, 10, n), "old": random.uniform(0, 1, n)}
    for column in table.columns:
        if column.categories:
            columns[column.name] = random.choice(column.categories, n, p=np.array(column.shares) / sum(column.shares))
        else:
            columns.setdefault(column.name, random.uniform(*column.range, n))
    return torch.from_numpy(table.encoded(columns))


def reference(generator: RowGenerator, z: Tensor, u: Tensor, y: Tensor) -> tuple[np.ndarray, np.ndarray]:
    """Return rows and logarithms of probabilities by section 4.4 of the paper, in float64 and in evaluation mode."""
    state = {name: value.double().numpy() for name, value in generator.state_dict().items()}
    h = np.concatenate([z.double().numpy(), y.double().numpy()], 1)
    for layer in range(2):
        a = h @ state[f"layers.{layer}.0.weight"].T + state[f"layers.{layer}.0.bias"]
        a = (a - state[f"layers.{layer}.1.running_mean"]) / np.sqrt(state[f"layers.{layer}.1.running_var"] + 1e-5)
        a = np.maximum(0, a * state[f"layers.{layer}.1.weight"] + state[f"layers.{layer}.1.bias"])
        h = np.concatenate([a, h], 1)
    raw = h @ state["head.weight"].T + state["head.bias"]
    gumbel = -np.log(-np.log((u.double().numpy() + 1) / 2))
    out, logs, place = raw.copy(), np.zeros_like(raw), 0
    for start, stop in ((1, 4), (4, 7), (8, 10)):
        hot = np.exp((raw[:, start:stop] + gumbel[:, place : place + stop - start]) / 0.2)
        out[:, start:stop] = hot / hot.sum(1, keepdims=True)
        logs[:, start:stop] = np.log(out[:, start:stop])
        place += stop - start
    for number in (0, 7):
        out[:, number] = np.tanh(raw[:, number])
    return out, logs


def test_the_generator_is_the_papers() -> None:
    generator = trainer_for(TABLE).generator.eval()
    torch.manual_seed(1)
    z, u, y = torch.randn(6, 4), torch.rand(6, 9) * 1.8 - 0.9, torch.eye(5)[torch.tensor([0, 1, 2, 3, 4, 0])]
    with torch.no_grad():
        found, logs = generator.drawn(z, u, y)
    expected, expected_logs = reference(generator, z, u, y)
    np.testing.assert_allclose(found, expected, atol=2e-5)
    np.testing.assert_allclose(logs, expected_logs, atol=2e-3)
    assert [field.shape for field in generator.signature.inputs] == [(4,), (9,), (5,)]


def test_nothing_asked_for_is_drawn_as_often_as_the_data_has_it() -> None:
    generator = trainer_for(TABLE).generator
    u = torch.linspace(0, 1, 20_001)[:-1, None]
    drawn = generator.condition(u, torch.zeros(len(u), 5))
    assert torch.equal(drawn.sum(1), torch.ones(len(u)))
    torch.testing.assert_close(drawn.mean(0), torch.tensor([0.45, 0.04, 0.01, 0.125, 0.375]), atol=2e-4, rtol=0)
    asked = torch.eye(5)[:1].expand(len(u), -1)
    assert torch.equal(generator.condition(u, asked), asked)


def test_training_by_sampling_evens_out_by_the_logarithm() -> None:
    data = rows(TABLE, 500)
    sampling = Training(TABLE, 1000)
    torch.manual_seed(0)
    parts = [sampling(data) for _ in range(40)]
    condition = torch.cat([part for _, part in parts])
    assert torch.equal(condition.sum(1), torch.ones(len(condition)))
    logs = [np.log(1 + 1000 * np.array(column.shares)) for column in TABLE.columns if column.categories]
    expected = np.concatenate([each / each.sum() / 2 for each in logs])
    np.testing.assert_allclose(condition.mean(0), expected, atol=0.012)
    for chosen, asked in parts:
        assert torch.equal((chosen[:, [4, 5, 6, 8, 9]] * asked).sum(1), torch.ones(500))
    chosen, asked = parts[0]
    picked = chosen[asked[:, 3] == 1]
    assert len({tuple(row.tolist()) for row in picked}) > 0.5 * len(picked)  # not one row again and again
    assert not Training(TABLE, 1000)(data[data[:, 6] == 0])[1][:, 2].any()  # what the batch does not have


def test_both_losses_are_the_papers() -> None:
    """Ten rows with their conditions are one sample; G adds the cross-entropy after the Gumbel softmax."""
    trainer = trainer_for(TABLE, "model.dropout=0", "model.condition_weight=3")
    data = rows(TABLE, 20)
    assert trainer.discriminator.signature.inputs[0].shape == (10 * (10 + 5),)
    torch.manual_seed(3)
    real, fake, _ = trainer.pair({"x": data})
    assert real.shape == fake.shape == (2, 150)
    chosen, asked = real.view(20, 15).split([10, 5], 1)
    assert torch.equal(fake.view(20, 15)[:, 10:], asked)
    assert torch.equal((chosen[:, [4, 5, 6, 8, 9]] * asked).sum(1), torch.ones(20))  # each row beside its own condition
    torch.manual_seed(3)
    found = trainer.generator_loss({"x": data})
    torch.manual_seed(3)
    _, condition = trainer.chosen({"x": data})
    generated, _ = trainer.generator.drawn(*trainer.inputs(condition))
    packed = torch.cat([generated, condition], 1).view(2, 150)
    entropy = -(condition * generated[:, [4, 5, 6, 8, 9]].log()).sum(1).mean()
    torch.testing.assert_close(found["condition"], entropy.detach(), rtol=1e-3, atol=1e-4)
    expected = -trainer.discriminator(packed).mean() + 3 * entropy
    torch.testing.assert_close(found["loss"], expected, rtol=1e-3, atol=1e-3)


def test_a_table_of_numbers_alone_has_no_condition() -> None:
    trainer = trainer_for(NUMBERS)
    assert [field.name for field in trainer.generator.signature.inputs] == ["z"]
    losses = trainer.generator_loss({"x": rows(NUMBERS, 20)})
    assert "condition" not in losses
    assert trainer.discriminator_loss({"x": rows(NUMBERS, 20)})["loss"].isfinite()


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("ctgan")
    lines = [f"{i % 7 + 0.5},{('red', 'blue', '=x')[i % 3]},{'' if i % 5 == 0 else i}" for i in range(60)]
    (folder / "a.csv").write_text("\n".join(["width,color,count", *lines]))
    sets = [*SMALL, f"data.path={folder / 'a.csv'}", "data.target=color", "data.modes=3", "log_every=2"]
    trained = ganzoo.train("ctgan", data="table", steps=4, sets=sets, device="cpu", out=folder / "runs", quiet=True)
    ganzoo.export(trained, out=folder / "g.onnx")
    return trained.path


def test_a_file_gives_what_torch_does(run: Path) -> None:
    file = Generator(run.parent.parent / "g.onnx", providers=["cpu"])
    sampler = ganzoo.load(run)
    for n in (1, 3, 64):
        np.testing.assert_allclose(file.sample(n, seed=5), sampler.sample(n, seed=5), atol=1e-4)
    asked = {"attributes": {"color=blue": 1}}
    np.testing.assert_allclose(file.sample(9, **asked), sampler.sample(9, **asked), atol=1e-4)
    assert not np.allclose(file.sample(9, **asked), file.sample(9), atol=1e-2)


@pytest.mark.parametrize("source", ["run", "file"])
def test_rows_are_written_as_they_were(source: str, run: Path, cli: Command, tmp_path: Path) -> None:
    model = run if source == "run" else run.parent.parent / "g.onnx"
    assert cli("sample", model, "-n", "200", "--attribute", "color=red=1", "--out", "a.csv").code == 0
    with Path("a.csv").open(newline="") as file:
        found = list(csv.DictReader(file))
    assert list(found[0]) == ["width", "color", "count"]
    assert {row["color"] for row in found} <= {"red", "blue", "'=x"}
    assert all(row["count"] == "" or 1 <= int(row["count"]) <= 59 for row in found)
    assert {len(row["width"].partition(".")[2]) for row in found} == {1}
    cli("sample", model, "--attribute", "colour=red=1", "--out", "b.csv").refused("unknown --attribute")


def test_metrics_are_computed_in_training(run: Path) -> None:
    last = json.loads((run / "metrics.jsonl").read_text().splitlines()[-1])
    assert 0 <= last["column_shapes/mean"] <= 1
    assert "ml_efficacy/logistic/accuracy" in last
    assert "distance_to_closest_record/share" in last
