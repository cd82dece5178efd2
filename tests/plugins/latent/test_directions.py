"""Directions in the space of latents: fitted, found, kept in files, and the commands for them."""

import csv
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from built import CPU, build
from conftest import Command
from PIL import Image as Pillow
from test_latent import GREY, images, shown
from torch import Tensor, nn

from ganzoo import Image, Label, Latent, Signature, UserError, read_directions
from ganzoo.gan.networks import Generator as Network
from ganzoo_plugins.latent.directions import (
    describe,
    find_components,
    find_in_first_layer,
    fit,
    held_out,
    project_out,
    write_directions,
)
from ganzoo_runtime import Generator, edit

# --- Fitting and finding


@pytest.mark.parametrize("method", ["difference", "svm"])
@pytest.mark.parametrize("binary", [False, True])
def test_a_direction_is_found_again(method: Any, binary: bool) -> None:
    rng = np.random.default_rng(0)
    truth = rng.standard_normal(10)
    truth /= np.linalg.norm(truth)
    z = rng.standard_normal((1500, 2, 5))
    values = np.tanh(z.reshape(-1, 10) @ truth) * 7 + 100
    if binary:
        values = (values > 100).astype(float)
    vector = fit(z, values, method)
    assert vector @ truth > 0.98
    assert held_out(z, values, method) > 0.75
    assert abs(held_out(z, rng.standard_normal(1500), method)) < 0.1


def test_unequal_classes_and_rare_ones() -> None:
    rng = np.random.default_rng(0)
    z = rng.standard_normal((400, 3))
    for method in ("difference", "svm"):
        assert fit(z, z[:, 1] > 1.5, method)[1] > 0.8  # fewer than half: the median is the lower class


@pytest.mark.parametrize(
    ("z", "values", "words"),
    [
        (np.zeros((3, 2)), [0, 1, 0], "at least 10 labeled samples, not 3"),
        (np.ones((20, 2)), np.ones(20), "these are all the same"),
        (np.ones((20, 2)), np.arange(20), "nothing to do with their latents"),
    ],
)
def test_nothing_to_fit(z: np.ndarray, values: Any, words: str) -> None:
    with pytest.raises(UserError, match=words):
        fit(z, values)


def test_conditional_directions_leave_the_others_alone() -> None:
    rng = np.random.default_rng(0)
    vector, *others = rng.random((4, 8))
    apart = project_out(vector, others)
    assert np.linalg.norm(apart) == pytest.approx(1)
    np.testing.assert_allclose(np.stack(others) @ apart, 0, atol=1e-9)
    assert vector @ apart > 0
    np.testing.assert_allclose(project_out(vector, [*others, others[0] - others[1]]), apart, atol=1e-9)
    np.testing.assert_allclose(project_out(vector, []), vector / np.linalg.norm(vector))
    with pytest.raises(UserError, match="is a mixture of the others"):
        project_out(others[0] + others[1], others)


def test_components_are_what_moves_samples_most() -> None:
    rng = np.random.default_rng(0)
    z, groups = rng.standard_normal((3000, 6)), np.arange(3000) % 3
    basis, _ = np.linalg.qr(rng.standard_normal((6, 6)))
    frame, _ = np.linalg.qr(rng.standard_normal((40, 6)))
    strengths = np.array([5.0, 3.0, 2.0, 0.1, 0.1, 0.1])
    samples = (z @ basis * strengths) @ frame.T + 50 * groups[:, None]  # classes differ by more than anything
    found = find_components(z, samples, groups, 3)
    for index, vector in enumerate(found):
        assert abs(vector @ basis[:, index]) > 0.99


def test_components_of_too_few_samples_are_refused() -> None:
    z, groups = np.random.default_rng(0).standard_normal((6, 8)), np.arange(6) % 3
    assert len(find_components(z, z, groups, 3)) == 3
    with pytest.raises(UserError, match="4 directions are found from 7 samples or more, not from 6"):
        find_components(z, z, groups, 4)


class First(Network):
    """Latents beside an embedding into the first layer, another layer before it that only looks at the label."""

    def __init__(self) -> None:
        super().__init__(Signature((Latent((6,)), Label(3)), Image(1, 2, 2)))
        self.embed, self.of_label = nn.Embedding(3, 4), nn.Linear(4, 5)
        self.first, self.last = nn.Linear(11, 7), nn.Linear(7, 4)

    def forward(self, z: Tensor, y: Tensor) -> Tensor:
        hidden = self.first(torch.cat([self.of_label(self.embed(y)), z], dim=1))
        return self.last(hidden.relu()).tanh().view(-1, 1, 2, 2)


def test_the_first_layers_strongest_directions() -> None:
    torch.manual_seed(0)
    network = First().eval().requires_grad_(False)
    inputs = [torch.zeros(1, 6), torch.zeros(1, dtype=torch.int64)]
    weight = network.first.weight[:, 5:].double().numpy()
    _, vectors = np.linalg.eigh(weight.T @ weight)
    found = find_in_first_layer(network, inputs, 0, 3)
    for index, vector in enumerate(found):
        assert abs(vector @ vectors[:, -1 - index]) == pytest.approx(1, abs=1e-5)
        assert vector[np.abs(vector).argmax()] > 0
    assert not any(layer._forward_hooks for layer in network.modules())


# --- Files of directions


def test_files_of_directions(tmp_path: Path) -> None:
    path = tmp_path / "d.json"
    one = describe(Latent((6,)), np.array([3.0, 0, 0, 4, 0, 0]), "svm", samples=7)
    assert one == {"latent": "z", "vector": [0.6, 0, 0, 0.8, 0, 0], "range": [-3, 3], "method": "svm", "samples": 7}
    assert describe(Latent((6,), "uniform"), np.ones(6), "svm")["range"] == [-1.73, 1.73]
    write_directions(path, {"a": one, "b": one}, GREY)
    write_directions(path, {"b": one | {"method": "new"}, "c": one}, GREY)
    found = read_directions(path, GREY)["directions"]
    assert [(name, entry["method"]) for name, entry in found.items()] == [("a", "svm"), ("b", "new"), ("c", "svm")]
    for damage, words in (
        ("{", "d.json is not JSON"),
        ("[1]", "d.json holds no directions"),
        ("{}", "d.json holds no directions"),
        ('{"directions": []}', "d.json: its directions have no names"),
        ('{"directions": {}, "latent_mean": []}', "d.json: the mean of its latents is no object"),
        ('{"directions": {}, "latent_mean": {"z": [1]}}', "d.json: the mean has 1 number and is of another model"),
        ('{"a": 1}', "d.json: the direction 'a' is no object with 'latent' and 'vector'"),
        ('{"a": {}}', "of a latent that the network does not have; it has: z"),
        ('{"a": {"latent": "z", "vector": "abc", "range": [0, 1]}}', "'a' is no list of numbers"),
        ('{"a": {"latent": "z", "vector": [1, 1, 1, 1, 1, true], "range": [0, 1]}}', "what is no number"),
        (
            '{"a": {"latent": "z", "vector": [1, 1, 1, 1, 1, 1], "range": [0, 1], "method": 1}}',
            "method of .* is no text",
        ),
        (
            '{"a\\u001b[31m": {"latent": "z", "vector": [1, 1, 1, 1, 1, 1], "range": [0, 1]}}',
            "a name that cannot be kept",
        ),
        ('{"a": {"latent": "z", "vector": [1, 1, 1, 1, 1, 1]}}', "range of the direction 'a' is no list of 2 numbers"),
        (
            '{"a": {"latent": "z", "vector": [1], "range": [0, 1]}}',
            "the direction 'a' has 1 number and is of another model: 'z' has 6",
        ),
        (
            '{"a": {"latent": "z", "vector": [1, 1, 1, NaN, 1, 1], "range": [0, 1]}}',
            "what is no number",
        ),
        ('{"a": {"latent": "z", "vector": [1, 1, 1, 1e39, 1, 1], "range": [0, 1]}}', "what is no number"),
        (
            '{"a": {"latent": "z", "vector": [1, 1, 1, 1, 1, 1], "range": [1, 0]}}',
            "does not run from a lower to a higher",
        ),
        (
            '{"a": {"latent": "z", "vector": [1, 1, 1, 1, 1, 1], "range": [0, 1], "samples": NaN}}',
            "d.json: it has a number that is not finite",
        ),
        ('{"a": {"latent": "w", "vector": [1], "range": [0, 1]}}', "of a latent that the network does not have"),
    ):
        path.write_text(damage)
        with pytest.raises(UserError, match=words):
            read_directions(path, GREY)
    for kept, words in (
        ("my notes", "d.json is not JSON"),
        (json.dumps({"a": {**one, "vector": [1.0]}}), "is of another model: 'z' has 6; it is kept, so choose another"),
    ):
        path.write_text(kept)
        with pytest.raises(UserError, match=words):
            write_directions(path, {"b": one}, GREY)
        assert path.read_text() == kept
    with pytest.raises(UserError, match=r"cannot read .*none.json: No such file"):
        read_directions(tmp_path / "none.json", GREY)


# --- The commands


@pytest.fixture
def grey(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Generator:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GANZOO_CACHE", str(tmp_path / "cache"))
    Path("grey.onnx").write_bytes(build(GREY))
    return Generator("grey.onnx", providers=CPU)


def test_from_samples_to_label_to_an_edit(cli: Command, grey: Generator) -> None:
    """What a person does: draws samples, writes numbers behind them, fits, looks, edits."""
    outcome = cli("directions", "samples", "grey.onnx", "--out", "lab", "-n", "60", "--name", "bright", "--name", "odd")
    assert (outcome.code, outcome.out) == (0, "lab/labels.csv\n"), outcome
    assert len(list(Path("lab").glob("*.png"))) == 60
    cli("directions", "samples", "grey.onnx", "--out", "lab").refused("lab/labels.csv is there already")
    cli("directions", "fit", "grey.onnx", "--labels", "lab/labels.csv").refused("has no labels yet")
    with open("lab/labels.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    for row in rows:
        with Pillow.open(f"lab/{row['sample']}.png") as picture:
            row["bright"] = f"{np.asarray(picture).mean():.3f}"
        row["odd"] = {"0": "yes", "1": "no"}.get(row["sample"][-1], "")
    with open("lab/labels.csv", "w", newline="", encoding="utf-8-sig") as file:  # as spreadsheets write it
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    outcome = cli("directions", "fit", "grey.onnx", "--labels", "lab/labels.csv", "--json")
    found = json.loads(outcome.out)
    assert {name: entry["samples"] for name, entry in found.items()} == {"bright": 60, "odd": 12}
    assert found == json.loads(Path("directions.json").read_text())
    z = grey.latents(60)
    brightness = np.array([float(row["bright"]) for row in rows])
    np.testing.assert_allclose(found["bright"]["vector"], fit(z, brightness), atol=1e-6)
    strengths = [shown(grey, edit(z, found, {"bright": s}), 1).mean() for s in (-2, 0, 2)]
    assert strengths[0] < strengths[1] < strengths[2]
    assert cli("directions", "grid", "grey.onnx", "bright", "--directions", "directions.json", "-n", "3").code == 0
    starts = np.repeat(z[:3], 7, axis=0)
    moves = edit(np.zeros((7, 6)), found, {"bright": 1.0}) * np.linspace(-3, 3, 7)[:, None]
    expected = shown(grey, (starts + np.tile(moves, (3, 1))).astype(np.float32), np.repeat([0, 1, 2], 7))
    np.testing.assert_allclose(images("directions.png", 7, titles=20).astype(int), expected, atol=1)
    Path("lab/labels.csv").write_text("sample,seed,bright\n000000,0,perhaps\n")
    cli("directions", "fit", "grey.onnx", "--labels", "lab/labels.csv").refused("line 2", "not 'perhaps'")
    Path("lab/labels.csv").write_text("sample,seed,bright\n000000,-1,1\n")
    cli("directions", "fit", "grey.onnx", "--labels", "lab/labels.csv").refused("out of range")
    Path("lab/labels.csv").write_text("number\n1\n")
    cli("directions", "fit", "grey.onnx", "--labels", "lab/labels.csv").refused("its columns are sample, seed")


def test_labels_from_a_function(cli: Command, grey: Generator, monkeypatch: pytest.MonkeyPatch) -> None:
    Path("judging.py").write_text("""
import numpy as np
def corners(images):
    first = images[:, :4, :4].mean((1, 2, 3))
    return {"first": np.where(first > first.mean(), first, np.nan), "last": images[:, 4:, 4:].mean((1, 2, 3))}
def wrong(images):
    return [1, 2]
def short(images):
    return {"first": [1.0]}
""")
    monkeypatch.delitem(sys.modules, "judging", raising=False)
    fitted = ("directions", "fit", "grey.onnx", "-n", "600", "--attribute-of")
    assert cli(*fitted, "judging:corners").code == 0
    plain = json.loads(Path("directions.json").read_text())
    assert plain["first"]["samples"] < 600 == plain["last"]["samples"]
    assert plain["last"]["correlation"] > 0.5
    assert cli(*fitted, "judging:corners", "--conditional", "--method", "svm", "--out", "apart.json").code == 0
    apart = json.loads(Path("apart.json").read_text())
    assert apart["first"]["without"] == ["last"]
    cli(*fitted, "judging:wrong").refused("returns a dict from names to one number for each image")
    cli(*fitted, "judging:short").refused("returns a dict from names to one number for each image")
    assert "" not in sys.path


def test_finding(cli: Command, grey: Generator, trained: dict[str, Path]) -> None:
    assert cli("directions", "find", "grey.onnx", "-k", "2", "-n", "600").out == "directions.json\n"
    known = read_directions("directions.json", GREY)["directions"]
    assert list(known) == ["pca1", "pca2"]
    z = grey.latents(50)

    def change(vector: np.ndarray) -> float:
        steps = {"x": {"vector": vector.tolist()}}
        return float(np.abs(grey(edit(z, steps, {"x": 1.0}), np.ones(50, int)) - grey(z, np.ones(50, int))).mean())

    rng = np.random.default_rng(0)
    chance = [change(v / np.linalg.norm(v)) for v in rng.standard_normal((20, 6))]
    assert change(np.array(known["pca1"]["vector"])) > np.mean(chance)
    run = trained["digits"]
    assert cli("directions", "find", run, "--method", "sefa", "-k", "2", "--out", "sefa.json").code == 0
    assert cli("directions", "grid", run, "--directions", "sefa.json").code == 0
    assert cli("directions", "grid", run, "--directions", "directions.json").refused("is of another model")
    for start in (("fit", "grey.onnx", "--attribute-of", "json:dumps"), ("find", "grey.onnx")):
        cli("directions", *start, "--out", "sefa.json").refused("is of another model", "choose another --out")
    cli("directions", "find", run, "--method", "sefa").refused("directions.json: the direction 'pca1'", "another --out")
    assert cli("interpolate", run, "--out", "run.png").code == 0


def test_a_file_with_a_mean_beside_is_read_and_added_to(cli: Command, grey: Generator) -> None:
    known, mean = {"up": describe(Latent((6,)), np.arange(6.0), "test")}, {"z": [0.5] * 6}
    Path("plain.json").write_text(json.dumps(known))
    Path("both.json").write_text(json.dumps({"directions": known, "latent_mean": mean}))
    pictures = []
    for file in ("plain.json", "both.json"):
        given = ("grey.onnx", "--directions", file)
        assert cli("edit", *given, "--direction", "up=1.5", "--out", "edit.png").code == 0
        assert cli("directions", "grid", *given, "--out", "grid.png").code == 0
        pictures.append(Path("edit.png").read_bytes() + Path("grid.png").read_bytes())
    assert pictures[0] == pictures[1]
    assert cli("directions", "find", "grey.onnx", "-k", "1", "-n", "100", "--out", "both.json").code == 0
    found = read_directions("both.json", GREY)
    assert (list(found["directions"]), found["latent_mean"]) == (["up", "pca1"], mean)
