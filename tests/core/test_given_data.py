"""Data that is given as an object or a folder: what it is taken for, and what is refused."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import Command
from given import BYTES, POINTS, Mine, pictures, train

import ganzoo
from ganzoo import (
    Attributes,
    DataSpec,
    Image,
    Label,
    Points,
    UserError,
)
from ganzoo.data.objects import as_dataset

pytestmark = pytest.mark.usefixtures("elsewhere")


def test_images_become_bytes_whatever_they_were() -> None:
    wanted = BYTES
    for given in (wanted, wanted.numpy(), wanted.float() / 255, wanted.double() / 127.5 - 1, wanted.numpy()[:, :, ::1]):
        dataset = as_dataset(given)
        assert dataset.spec == DataSpec("given", (Image(1, 6, 6, range=(0, 255)),), 20)
        assert torch.equal(dataset.rows["x"], wanted)
    fixed = wanted.numpy().copy()
    fixed.setflags(write=False)
    assert torch.equal(as_dataset(fixed[:, :, ::-1]).rows["x"], wanted.flip(2))


def test_points_labels_and_attributes_are_what_they_look_like() -> None:
    dataset = as_dataset((POINTS.double().requires_grad_(), torch.arange(50, dtype=torch.int32) % 3))
    assert dataset.spec.fields == (Points(2), Label(3))
    assert {name: rows.dtype for name, rows in dataset.rows.items()} == {"x": torch.float32, "y": torch.int64}
    _, described = as_dataset((BYTES, np.ones((20, 4)))).spec.fields
    assert isinstance(described, Attributes)
    assert (described.dim, len(described.examples)) == (4, 16)
    mine = Mine()
    assert as_dataset(mine) is mine


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (5, "int is none of these"),
        ([1.0, 2.0], "list is none of these"),
        (np.array(["a"]), "<U1 array is none of these"),
        (BYTES[:, 0], r"x\[:, None\]"),
        (BYTES.permute(0, 2, 3, 1), r"x.permute\(0, 3, 1, 2\)"),
        (POINTS[0], r"images \[N, C, H, W\] or points"),
        (POINTS[:0], "no samples"),
        (torch.tensor([[1.0, torch.nan]]), "not finite"),
        (BYTES.float(), r"0\.\.1 or -1\.\.1, and these are float32 in 0\.\.255"),
        (BYTES.int(), "these are int32"),
        ((BYTES, torch.zeros(3).long()), "20 samples and 3 labels"),
        ((BYTES, torch.arange(20) - 1), "the lowest of these is -1"),
        ((BYTES, torch.zeros(20)), r"these are float32 \[20\]"),
        ((BYTES, BYTES, BYTES), "tuple is none of these"),
        ((BYTES, [0] * 20), "samples and labels, tensors or arrays too; list is none of these"),
        (POINTS.to("meta"), "has no values"),
        (POINTS.to_sparse(), "a dense tensor"),
        ((BYTES, torch.arange(20) * 10**9), r"counted from 0, and among these 20 there is 19000000000"),
        ("nothing", "unknown data set 'nothing', and no folder of that name; there is: "),
        ("", "empty name"),
        ("./nothing", "nothing does not exist"),
        (Path("nothing"), "nothing does not exist"),
    ],
)
def test_what_is_no_data_is_refused(data: Any, words: str) -> None:
    with pytest.raises(UserError, match=words):
        train(data)
    assert not Path("runs").exists()


@pytest.mark.parametrize("given", [str, Path, lambda path: f"./{path}"])
def test_a_folder_is_data(given: Callable[[Path], Any], cli: Command) -> None:
    run = train(given(pictures()))
    assert run.document()["data"]["name"] == "torch-ganzoo/folder"
    assert run.data_spec().size == 4
    assert ganzoo.train(resume=run, steps=3, quiet=True).metrics()[-1]["step"] == 3
    done = cli("train", "-p", "gan_fc", "--data", "images", "--steps", 1, "--set", "model.hidden=[8]", "-q")
    assert done.code == 0


def test_a_name_comes_before_a_folder() -> None:
    pictures("digits")
    assert train("digits").document()["data"]["name"] == "torch-ganzoo/digits"


def test_data_that_was_given_is_given_again(cli: Command) -> None:
    run = train()
    assert run.path == Path("runs/0001-gan_fc-given")
    assert ganzoo.load(run).sample(3).shape == (3, 2)
    again = "was given as an object in Python: give it again there, with data="
    for call in (
        lambda: ganzoo.train(resume=run, steps=4),
        lambda: ganzoo.evaluate(run),
        lambda: ganzoo.train("gan_fc", config=run.path / "config.toml"),
    ):
        with pytest.raises(UserError, match=f"{again}$"):
            call()
    cli("train", "--resume", run.path, "--steps", 4).refused(again)
    cli("eval", run.path).refused(again)
    with pytest.raises(UserError, match="--data cannot change a run that is resumed"):
        ganzoo.train(resume=run, steps=4, data="gaussians")
    with pytest.raises(UserError, match=r"has changed since the run began \(50 samples then, 40 now\)"):
        ganzoo.train(resume=run, steps=4, data=POINTS[:40])
    resumed = ganzoo.train(resume=run, steps=4, data=POINTS, quiet=True)
    whole = train(steps=4)
    assert np.array_equal(ganzoo.load(resumed).sample(5), ganzoo.load(whole).sample(5)), "bit for bit"
    once_more = ganzoo.train(config=run.path / "config.toml", data=POINTS, quiet=True)
    assert np.array_equal(ganzoo.load(once_more).sample(5), ganzoo.load(whole).sample(5))
    named = train("gaussians", sets=["data.size=50"])
    with pytest.raises(UserError, match="--data cannot change a run that is resumed"):
        ganzoo.train(resume=named, steps=4, data=POINTS)


def test_an_encoder_is_trained_on_data_that_is_given_again() -> None:
    images = torch.rand(20, 1, 16, 16)
    config = {"batch_size": 4, "model": {"width": 4, "latent_dim": 4}}
    run = ganzoo.train("dcgan", data=images, steps=1, config=config, quiet=True)
    asked = {"generator": run, "steps": 1, "config": {"batch_size": 4}, "quiet": True}
    with pytest.raises(UserError, match="give it again there, with data="):
        ganzoo.train("encoder_regression", **asked)
    assert ganzoo.train("encoder_regression", data=images, **asked).metrics()[-1]["step"] == 1


def test_a_data_set_that_is_given_brings_its_metrics() -> None:
    run = train(Mine())
    assert run.document()["metric"].keys() == {"torch-ganzoo/modes"}
    assert run.data_spec().name == "mine"
    assert ganzoo.evaluate(run, data=Mine(), n=20, quiet=True).figures.keys() >= {"modes/covered"}
    ganzoo.export(run, "mine.onnx")
    with pytest.raises(UserError, match="evaluate it on with --data"):
        ganzoo.evaluate("mine.onnx", quiet=True)


def test_images_that_are_given_are_evaluated() -> None:
    run = train(BYTES)
    found = ganzoo.evaluate(run, data=BYTES, metrics=["memorization"], n=10, quiet=True)
    assert found.document["data"]["samples"] == 20
