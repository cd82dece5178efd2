"""What can be asked for in Python alone, and makes no sense, is refused in one sentence."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest
import torch

import ganzoo
from ganzoo import UserError
from ganzoo.data.objects import as_dataset

POINTS = torch.randn(50, 2, generator=torch.Generator().manual_seed(0))
ZOO, AAE = "zoo:cgan-mnist5k", "zoo:aae-mnist5k"


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def train(data: Any) -> ganzoo.Run:
    config = {"batch_size": 8, "model": {"hidden": [8]}}
    return ganzoo.train("gan_fc", data=data, steps=1, config=config, quiet=True)


class _Odd(ganzoo.Dataset):
    """A data set whose batches are whatever is given."""

    def __init__(self, give: Callable[[int], Any], *, spec: bool = True) -> None:
        self.give = give
        if spec:
            self.spec = ganzoo.DataSpec("odd", (ganzoo.Points(2),), 9)

    def batch(self, indices: torch.Tensor, rng: torch.Generator) -> Any:
        return self.give(len(indices))


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (_Odd(lambda n: {"x": torch.zeros(n, 2)}, spec=False), "^_Odd sets no spec"),
        (_Odd(lambda n: {"y": torch.zeros(n, 2)}), r"odd has the fields \['y'\], the spec \['x'\]"),
        (_Odd(lambda n: {"x": torch.zeros(n, 2).numpy()}), "has a ndarray in 'x', not a tensor"),
        (_Odd(lambda n: {"x": torch.zeros(n, 2).double()}), "its spec says torch.float32"),
        (_Odd(lambda n: torch.zeros(n, 2)), "is a Tensor, not a dict"),
        (_Odd(lambda n: {}["x"]), r"the data set odd gives no batch: KeyError: 'x' \(test_odd_requests.py, line"),
    ],
)
def test_a_data_set_that_is_not_as_it_says_is_refused(data: Any, words: str) -> None:
    with pytest.raises(UserError, match=words):
        train(data)
    assert not Path("runs").exists()


def test_tensors_that_are_not_as_their_spec_says_are_refused() -> None:
    spec = ganzoo.DataSpec("odd", (ganzoo.Points(2),), 50)
    for tensors in ({"z": POINTS}, {"x": POINTS.numpy()}, {"x": POINTS.double()}, {"x": POINTS[:3]}):
        with pytest.raises(UserError, match=r"^the data of odd has"):
            ganzoo.TensorDataset(spec, tensors)


def test_arrays_of_another_byte_order_are_data() -> None:
    assert torch.equal(as_dataset(POINTS.numpy().astype(">f4")).examples(50)["x"], POINTS)


def test_a_model_that_is_too_large_is_refused() -> None:
    with pytest.raises(UserError, match=r"^out of memory before the first step; take a smaller gan_fc"):
        ganzoo.train("gan_fc", data=POINTS, sets=["model.hidden=[1000000000000]"])


def test_python_alone_can_ask_for_what_no_option_takes() -> None:
    PIL.Image.new("L", (28, 28)).save("in.png")
    for call, words in (
        (lambda: ganzoo.train("gan_fc", regularizers="r1"), r"^regularizers is a list, not a text: write \['r1'\]$"),
        (lambda: ganzoo.train("gan_fc", sets="steps=3"), "^sets is a list"),
        (lambda: ganzoo.evaluate(ZOO, metrics="fid"), "^metrics is a list"),
        (lambda: ganzoo.evaluate(ZOO, n="5"), "^-n is at least 1, not '5'$"),
        (lambda: ganzoo.evaluate(ZOO, metrics=3), "^metrics is a list, not 3$"),
        (lambda: ganzoo.evaluate(ZOO, metrics=[3]), "^the metric is called by its name, not 3$"),
        (lambda: ganzoo.train(3), "^the model is called by its name, not 3$"),
        (lambda: ganzoo.train("gan_fc", preset=3), "^gan_fc has no preset 3"),
        (lambda: ganzoo.train("gan_fc", config=3), "^config is a path, not 3$"),
        (lambda: ganzoo.train("gan_fc", out=3), "^out is a path, not 3$"),
        (lambda: ganzoo.train("gan_fc", sets=[3]), "^--set takes section.setting=value, not 3$"),
        (lambda: ganzoo.export(ZOO, 3), "^out is a path, not 3$"),
        (lambda: ganzoo.encode(AAE, 3), "^source is a path, not 3$"),
        (lambda: ganzoo.translate(AAE, 3, "out.png"), "^source is a path, not 3$"),
        (lambda: ganzoo.compare("last"), "^runs is a list"),
        (lambda: ganzoo.compare([]), "^name the runs"),
        (lambda: ganzoo.export(target="gpu"), "^target is one of 'any', 'cpu', not 'gpu'$"),
        (lambda: ganzoo.export(precision="fp8"), "^precision is one of"),
        (lambda: ganzoo.encode(ZOO, "in.png", optimize=True, space="q"), "^space is one of"),
        (lambda: ganzoo.encode(AAE, "in.png", label=3), "^this model has no labels; leave the label out$"),
        (lambda: ganzoo.encode(AAE, "in.png", attributes=[1.0]), "^this model has no attributes"),
    ):
        with pytest.raises(UserError, match=words):
            call()


def test_runs_refuse_arrays_as_files_do() -> None:
    labelled = (torch.rand(20, 1, 16, 16), torch.arange(20) % 3)
    run = ganzoo.train("cgan", data=labelled, steps=1, config={"batch_size": 8, "model": {"width": 4}}, quiet=True)
    ganzoo.export(run, "g.onnx")
    zeros, classes = np.zeros((2, 100), np.float32), np.array([0, 2])
    for arrays, words in (
        ((zeros[:, :3], classes), r"^input 'z' has the shape \['N', 100\], not \[2, 3\]$"),
        ((zeros, classes + 1), "^there is no class 3: the label 'y' has the classes 0 .. 2$"),
        ((zeros,), "^this model takes the inputs z, y; 1 were given$"),
        ((zeros, classes, classes), "^this model takes the inputs z, y; 3 were given$"),
        ((zeros, classes.astype(float)), "^input 'y' is int64, not float64$"),
        ((zeros, classes[:1]), "^the inputs of one call have one batch size"),
        (("z", "y"), "^input 'z' has the shape"),
    ):
        for model in (run, "g.onnx"):
            with pytest.raises(UserError, match=words):
                ganzoo.load(model)(*arrays)
    same = ganzoo.load(run)(zeros.astype(float), classes)
    np.testing.assert_allclose(same, ganzoo.load("g.onnx")(zeros.astype(float), classes), atol=1e-5)


def test_what_is_neither_translated_nor_animated() -> None:
    with pytest.raises(UserError, match="takes latent first, and no image"):
        ganzoo.Translator(ganzoo.load(ZOO))
    with pytest.raises(UserError, match="there are no frames"):
        ganzoo.write_animation("a.gif", [])
    with pytest.raises(UserError, match=r"an animation is a \.gif or \.mp4, not a\.xyz"):
        ganzoo.write_animation("a.xyz", [np.zeros((4, 4, 1), np.uint8)])
