"""Drawing from a seed: torch and the exported file take the same requests, and refuse the same ones alike."""

import re
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from built import CPU, build
from hypothesis import example, given, settings
from hypothesis import strategies as st
from torch import Tensor

from ganzoo import Attributes, Image, Label, Latent, Mask, Points, Signature, UserError
from ganzoo.gan.networks import Generator as Network
from ganzoo.inference.sampling import TorchSampler, draw_inputs
from ganzoo_runtime import Generator

ROWS = ((0.25, -1.0), (0.5, 3.0), (1.5, 0.0))
EVERYTHING = Signature(
    (
        Latent((3, 2)),
        Label(3, name="shape"),
        Mask(5, 4),
        Latent((4,), "uniform", "w"),
        Attributes(2, ("smile", "age"), ROWS, "a"),
        Label(2, name="hue"),
    ),
    Points(2),
)
SIGNATURES = {
    "everything": EVERYTHING,
    "noise": Signature((Latent((4,)),), Points(2)),
    "resampled": Signature((Latent((4,), truncation="resampled"), Latent((2,), "uniform", "w")), Points(2)),
    "label": Signature((Label(3),), Points(2)),
    "numbered": Signature((Latent((2,)), Attributes(2, name="a"), Label(3)), Points(2)),
    "vectors": Signature((Attributes(1, name="a"), Attributes(2, name="b")), Points(2)),
    "images": Signature((Image(1, 2, 2), Latent((2,)), Mask(2, 2)), Points(2)),
}
ONE_CLASS = "the label 'y' is one class, by its index (a whole number) or its name, or one for each of the 3 samples"


class Still(Network):
    """Takes whatever its signature says."""

    def forward(self, *inputs: Tensor) -> Tensor:
        return torch.zeros(len(inputs[0]), 2)


def samplers(name: str) -> tuple[TorchSampler, Generator]:
    signature = SIGNATURES[name]
    document = {
        "schema": 1,
        "signature": signature.to_json(),
        "latent_mean": {"z": [0.5] * 6} if "every" in name else {},
    }
    return TorchSampler(Still(signature), document), Generator(build(signature, document), providers=CPU, threads=1)


@pytest.fixture(scope="module")
def pairs() -> dict[str, tuple[TorchSampler, Generator]]:
    return {name: samplers(name) for name in SIGNATURES}


def outcome(ask: Callable[[], Any]) -> Any:
    """Return what is drawn, an array an input, or the sentence that refuses it."""
    try:
        drawn = ask()
    except ValueError as error:
        return type(error), str(error)
    if isinstance(drawn, np.ndarray):
        return {"latents": drawn}
    pieces = [inputs for _, inputs in drawn]
    return {name: np.concatenate([inputs[name] for inputs in pieces]) for name in pieces[0]}


def assert_alike(run: Callable[[], Any], file: Callable[[], Any]) -> None:
    ours, theirs = outcome(run), outcome(file)
    if isinstance(theirs, tuple):
        assert theirs[0] is ValueError
        assert ours == (UserError, theirs[1])
        assert theirs[1]
        assert "\n" not in theirs[1]
    else:
        assert ours.keys() == theirs.keys()
        for name, array in ours.items():
            assert array.dtype == theirs[name].dtype
            np.testing.assert_array_equal(array, theirs[name])


nothing: list[Any] = [None, True, "", "1", "red", b"x", object(), [], (), {}, [None], {None: 1}, [[1], [1, 2]]]
numbers: list[Any] = [-1, 1.5, 1j, 10**400, 1e39, float("nan"), float("-inf"), np.float16(0.5), np.int8(1)]
odd = st.sampled_from([*nothing, *numbers, np.zeros((2, 2)), np.array(1), np.array([True])])
small = st.integers(-1, 4)
several = st.lists(small | st.floats(-2, 2, width=32), max_size=4)
values = odd | small | several | st.lists(several, max_size=4)
names = st.sampled_from(["shape", "hue", "hues", "smile", "agee", "age", "z", "w", "zz", "0", "1", 0, 1, 2, "y"])
counts = odd.filter(lambda n: not (type(n) is int and n > 5))  # which is a whole number, and takes its time
asked = values | st.dictionaries(names, values, max_size=2)
truncations = odd | st.floats(-0.5, 2)
requests = st.fixed_dictionaries(
    {"n": st.integers(1, 5) | counts},
    optional={"seed": small | odd, "label": asked, "attributes": asked, "truncation": truncations, "latents": asked},
)
models = st.sampled_from(sorted(SIGNATURES))


@settings(deadline=None, max_examples=400)
@given(models, requests)
@example("everything", {"n": 70, "seed": 2**70})
@example("everything", {"n": 3, "truncation": 0.5, "latents": {"w": np.ones(4)}})
@example("everything", {"n": 2, "label": {"hue": [0, 1]}, "attributes": {"age": 3}})
@example("noise", {"n": 2, "truncation": -1})
@example("resampled", {"n": 70, "truncation": 0.5})
@example("resampled", {"n": 2, "truncation": 0})
@example("noise", {"n": 2, "latents": np.ones((2, 4))})
@example("numbered", {"n": 2, "attributes": {1: 3}})
def test_torch_and_the_file_take_and_refuse_the_same(
    pairs: dict[str, tuple[TorchSampler, Generator]], model: str, request: dict[str, Any]
) -> None:
    run, file = pairs[model]
    n = request.pop("n")
    assert_alike(lambda: run.stream(n, **request), lambda: file.stream(n, **request))


@settings(deadline=None, max_examples=200)
@given(
    models,
    st.integers(1, 5) | st.lists(st.integers(0, 9), max_size=4) | several | counts,
    st.fixed_dictionaries({}, optional={"seed": small | odd, "name": names, "truncation": truncations}),
)
@example("everything", [70, 3, 3], {"name": "w", "truncation": 0.25})
@example("everything", np.array([8, 0]), {"truncation": 0.25})
@example("images", 2, {})  # what cannot be sampled has latents all the same
def test_torch_and_the_file_have_the_same_latents(
    pairs: dict[str, tuple[TorchSampler, Generator]], model: str, n: Any, request: dict[str, Any]
) -> None:
    run, file = pairs[model]
    assert_alike(lambda: run.latents(n, **request), lambda: file.latents(n, **request))


@pytest.mark.parametrize(
    ("model", "wrong", "message"),
    [
        ("noise", {"truncation": -1}, "the truncation is a finite number of at least 0, not -1"),
        ("noise", {"truncation": "much"}, "the truncation is a finite number of at least 0, not 'much'"),
        ("noise", {"truncation": [0.5]}, "this model has no styles, so its truncation is one number"),
        ("resampled", {"truncation": 0}, "the truncation is a finite number above 0 for this model, not 0"),
        ("noise", {"seed": 1.5}, "the seed is a whole number of at least 0, not 1.5"),
        ("noise", {"label": 1}, "this model has no labels; leave the label out"),
        ("label", {"label": 3}, "there is no class 3: the label 'y' has the classes 0 .. 2"),
        ("label", {"label": "3"}, "unknown label '3': it is a number from 0 to 2, a name or 'all'"),
        ("label", {"label": [1.0, 2.0, 0.0]}, ONE_CLASS),
        ("label", {"label": ["0", "1"]}, ONE_CLASS),
        ("label", {"latents": [1.0]}, "this model takes no latents"),
        ("everything", {"label": {"hues": 1}}, "this model has no label 'hues'; did you mean 'hue'?"),
        ("everything", {"latents": {"zz": 1}}, "this model has no latent 'zz'; did you mean 'z'?"),
        (
            "vectors",
            {"attributes": [1]},
            "this model has several vectors of attributes (a, b); leave the attributes out",
        ),
        (
            "images",
            {},
            "this model cannot be sampled from noise alone: it takes image 'x'; call it with arrays",
        ),
    ],
)
def test_what_is_wrong_is_told(model: str, wrong: dict[str, Any], message: str) -> None:
    for sampler in samplers(model):
        with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
            sampler.stream(3, **wrong)


def test_masks_are_rectangles_whose_streams_come_after_those_of_latents() -> None:
    drawn = dict(zip(["z", "shape", "mask", "w", "a", "hue"], draw_inputs(EVERYTHING, 50, 5), strict=True))
    fewer = Signature(tuple(field for field in EVERYTHING.inputs if not isinstance(field, Mask)), Points(2))
    for field, part in zip(fewer.inputs, draw_inputs(fewer, 50, 5), strict=True):
        assert torch.equal(part, drawn[field.name])
    masks = drawn["mask"].numpy()
    assert masks.shape == (50, 1, 5, 4)
    for mask in masks[:, 0]:
        rows, columns = mask.max(axis=1), mask.max(axis=0)
        assert 1 <= rows.sum() <= 3
        assert 1 <= columns.sum() <= 2
        np.testing.assert_array_equal(mask, np.outer(rows, columns))
        for side in (rows, columns):
            assert np.abs(np.diff(side, prepend=0, append=0)).sum() == 2, "in one piece"
    assert len(np.unique(masks, axis=0)) > 5


def test_what_is_given_takes_turns_and_is_not_drawn() -> None:
    images, masks = torch.rand(3, 1, 2, 2), torch.ones(1, 1, 2, 2)
    x, z, mask = draw_inputs(SIGNATURES["images"], 5, 1, given={"x": images, "mask": masks, "other": masks})
    assert torch.equal(x, images[[0, 1, 2, 0, 1]])
    assert torch.equal(z, draw_inputs(Signature((Latent((2,)),), Points(2)), 5, 1)[0])
    assert torch.equal(mask, masks.expand(5, -1, -1, -1))


@pytest.mark.parametrize(
    "code", ["import ganzoo.inference.sampling", "sys.argv[1:] = ['--help']; from ganzoo.cli import main; main()"]
)
def test_what_the_core_takes_from_the_runtime_imports_no_onnxruntime(code: str) -> None:
    script = f"import sys\ntry:\n    {code}\nfinally:\n    assert 'onnxruntime' not in sys.modules"
    done = subprocess.run([sys.executable, "-W", "error", "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
