"""What is pushed of a run, and that it says the same where it was pulled."""

from __future__ import annotations

import tomllib

import numpy as np
import torch
from safetensors.numpy import load_file

import ganzoo
from ganzoo.sharing.package import _save_weights, _without_folders


def test_a_run_is_pushed_with_a_license_alone_and_draws_the_same_where_it_was_pulled(cli, tmp_path, monkeypatch):
    monkeypatch.setenv("GANZOO_ZOO", str(tmp_path / "zoo"))
    small = {"batch_size": 8, "model": {"hidden": [4]}}
    run = ganzoo.train("gan_fc", data="gaussians", steps=2, config=small, quiet=True)
    out = cli("push", "last", "shared/alice/points")
    assert out.code == 2
    out.sentence("no license is stated", "--license")
    out = cli("push", "last", "shared/alice/points", "--license", "CC-BY-4.0")  # there is nobody to ask
    assert out.code == 2
    assert "license of the weights: CC-BY-4.0" in out.err
    assert "learned from: gaussians" in out.err
    assert "nothing was sent" in out.err
    assert not (tmp_path / "shared").exists()
    assert cli("push", "last", "shared/alice/points", "--license", "CC-BY-4.0", "--yes").code == 0
    out = cli("pull", "shared/alice/points")
    assert (out.code, out.out) == (0, "zoo:alice/points\n")
    model, home = ganzoo.load("zoo:alice/points"), tmp_path / "zoo" / "alice" / "points"
    np.testing.assert_allclose(model.sample(5, seed=3), ganzoo.load(run).sample(5, seed=3), atol=1e-5)
    assert model.metadata["license"] == "CC-BY-4.0"
    card = (home / "README.md").read_text()
    assert "license: cc-by-4.0" in card
    assert "arXiv:1406.2661" in card
    assert "gaussians" in card
    assert tomllib.loads((home / "config.toml").read_text())["plugin"].rpartition("/")[2] == "gan_fc"
    tensors = load_file(home / "weights.safetensors")
    assert {name.partition(".")[0] for name in tensors} == {"generator", "discriminator"}
    weights = ganzoo.load(run).generator.state_dict()
    for name, value in weights.items():
        np.testing.assert_array_equal(tensors[f"generator.{name}"], value.numpy())
    tuned = ganzoo.train("gan_fc", data="gaussians", steps=1, config=small, quiet=True, from_="zoo:alice/points")
    assert tuned.document()["source"]["license"] == "CC-BY-4.0"


def test_folders_of_the_machine_stay_on_it():
    document = {"data": {"path": "/home/alice/photos/"}, "a": ["C:\\Users\\alice\\x", "~/y", "images/z", 3, "a/b"]}
    assert _without_folders(document) == {"data": {"path": "photos"}, "a": ["x", "y", "images/z", 3, "a/b"]}


def test_the_weights_of_a_part_of_a_network_are_not_written_twice(tmp_path):
    whole, other = torch.nn.Sequential(torch.nn.Linear(2, 3), torch.nn.Linear(3, 1)), torch.nn.Linear(1, 1)
    _save_weights({"part": whole[0], "whole": whole, "other": other}, tmp_path / "w.safetensors")
    names = {"whole.0.weight", "whole.0.bias", "whole.1.weight", "whole.1.bias", "other.weight", "other.bias"}
    assert load_file(tmp_path / "w.safetensors").keys() == names
