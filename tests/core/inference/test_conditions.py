"""Labels and attributes outside of training: the same samples from torch and the file."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from ganzoo import Attributes, Generator, Image, Label, Latent, Points, Scores, Signature, UserError
from ganzoo.inference.sampling import draw_inputs
from ganzoo.testing import bench
from ganzoo_exporters.export import export
from ganzoo_runtime import Generator as Runtime

EXAMPLES = ((0.25, -1.0), (0.5, 3.0), (1.5, 0.0))


class Labeled(Generator):
    """Shows its two labels: the upper row of an image is the first one, the lower row the second one."""

    def __init__(self) -> None:
        fields = (Latent((2,)), Label(3, ("circle", "square", "cross=x"), "shape"), Label(4, name="hue"))
        super().__init__(Signature(fields, Image(1, 2, 2, (0.0, 1.0))))
        self.gain = nn.Parameter(torch.tensor(1e-3))

    def forward(self, z: Tensor, shape: Tensor, hue: Tensor) -> Tensor:
        told = torch.stack([shape, hue], 1).float() / 4
        return (told[:, :, None] + self.gain * z.tanh()[:, None])[:, None].clamp(0, 1)


class Described(Generator):
    """Shows its attributes as they are."""

    def __init__(self, names: tuple[str, ...] = ("smiling", "age"), examples: Any = EXAMPLES) -> None:
        super().__init__(Signature((Latent((2,)), Attributes(2, names, examples)), Points(2)))
        self.gain = nn.Parameter(torch.tensor(1e-3))

    def forward(self, z: Tensor, y: Tensor) -> Tensor:
        return y + self.gain * z


class OneLabel(Labeled):
    """The same with a label alone, one of whose classes is called as if it were an assignment."""

    def __init__(self) -> None:
        super().__init__()
        fields = (Latent((2,)), Label(3, ("circle", "square", "y=2")))
        self.signature = Signature(fields, Image(1, 2, 2, (0.0, 1.0)))

    def forward(self, z: Tensor, y: Tensor) -> Tensor:
        return super().forward(z, y, y)


def given_to(runtime: Runtime, n: int, **arguments: Any) -> list[np.ndarray]:
    """Return what the network is given, an array an input."""
    pieces = [list(piece.inputs.values()) for piece in runtime.stream(n, **arguments)]
    return [np.concatenate(parts) for parts in zip(*pieces, strict=True)]


NETWORKS = {
    "labels": Labeled,
    "attributes": Described,
    "label": OneLabel,
    "plain": lambda: Described((), ()),
}


def exported(folder: Path) -> dict[str, Path]:
    """Return files of the networks."""
    paths = {name: folder / f"{name}.onnx" for name in NETWORKS}
    for name, build in NETWORKS.items():
        export(build(), paths[name], {"model": name})
    return paths


@pytest.fixture(scope="module")
def runtimes(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Runtime]:
    files = exported(tmp_path_factory.mktemp("conditions"))
    return {name: Runtime(path, providers=["CPUExecutionProvider"], threads=1) for name, path in files.items()}


def same(runtime: Runtime, n: int, *, batch: int = 64, **arguments: Any) -> list[np.ndarray]:
    """Assert that torch and the runtime draw the same inputs; return them."""
    signature = Signature.from_json(runtime.signature)
    seed, truncation = arguments.pop("seed", 0), arguments.pop("truncation", 1.0)
    drawn = [part.numpy() for part in draw_inputs(signature, n, seed, truncation=truncation, **arguments)]
    found = given_to(runtime, n, seed=seed, truncation=truncation, batch=batch, **arguments)
    for field, ours, theirs in zip(signature.inputs, drawn, found, strict=True):
        assert str(ours.dtype) == field.dtype
        assert len(ours) == n
        np.testing.assert_array_equal(ours, theirs)
    return drawn


@st.composite
def requests(draw: st.DrawFn) -> dict[str, Any]:
    n = draw(st.integers(1, 40))
    label: dict[str, Any] = {}
    for name, classes in (("hue", 4), ("shape", 3)):
        one = st.integers(0, classes - 1)
        asked = draw(st.none() | one | st.lists(one, min_size=n, max_size=n) | one.map(np.int32))
        if asked is not None:
            label[name] = asked
    return {"n": n, "label": label or None, "batch": draw(st.integers(1, 50)), "seed": draw(st.integers(0, 9))}


@settings(deadline=None, max_examples=60)
@given(requests())
def test_torch_and_the_runtime_draw_the_same_labels(runtimes: dict[str, Runtime], asked: dict[str, Any]) -> None:
    _, shape, hue = same(runtimes["labels"], **asked)
    label = asked["label"] or {}
    rest = list(range(asked["n"]))
    for name, classes, found in (("shape", 3, shape), ("hue", 4, hue)):
        if name in label:
            expected = np.broadcast_to(label[name], len(rest)).tolist()
        else:
            expected, rest = [i % classes for i in rest], [i // classes for i in rest]
        assert found.tolist() == expected


numbers = st.floats(-1e3, 1e3, width=32)


@settings(deadline=None, max_examples=60)
@given(st.integers(1, 40), st.integers(1, 50), st.data())
def test_torch_and_the_runtime_draw_the_same_attributes(
    runtimes: dict[str, Runtime], n: int, batch: int, data: st.DataObject
) -> None:
    kind = data.draw(st.sampled_from(["attributes", "plain"]))
    names: Any = ["smiling", "age"] if kind == "attributes" else [0, "1"]
    vector = st.tuples(numbers, numbers)
    asked = data.draw(
        st.none()
        | vector
        | st.lists(vector, min_size=n, max_size=n)
        | st.lists(vector, min_size=n, max_size=n).map(np.array)
        | st.dictionaries(st.sampled_from(names), numbers)
    )
    _, found = same(runtimes[kind], n, batch=batch, attributes=asked)
    examples = EXAMPLES if kind == "attributes" else ((0.0, 0.0),)
    if asked is None or isinstance(asked, dict):
        expected = np.array([examples[i % len(examples)] for i in range(n)])
        for name, value in (asked or {}).items():
            expected[:, names.index(name)] = value
    else:
        expected = np.broadcast_to(asked, (n, 2))
    np.testing.assert_array_equal(found, expected.astype(np.float32))


def test_classes_by_name_are_those_of_their_index(runtimes: dict[str, Runtime]) -> None:
    for named, label in (("circle", 0), ("cross=x", 2), ("1", 1), (["square", "circle", "2"], [1, 0, 2])):
        for ours, theirs in zip(
            same(runtimes["labels"], 3, label={"shape": named}),
            same(runtimes["labels"], 3, label={"shape": label}),
            strict=True,
        ):
            np.testing.assert_array_equal(ours, theirs)
    _, in_turn = same(runtimes["label"], 3, label="all")
    assert in_turn.tolist() == [0, 1, 2]


def test_fewer_samples_are_a_prefix_of_more(runtimes: dict[str, Runtime]) -> None:
    for name in ("labels", "attributes"):
        for fewer, more in zip(same(runtimes[name], 5), same(runtimes[name], 30), strict=True):
            np.testing.assert_array_equal(fewer, more[:5])


def test_several_attributes_and_no_latent() -> None:
    signature = Signature((Attributes(1, (), ((1.0,), (2.0,)), "a"), Attributes(2, name="b"), Label(2)), Points(1))
    a, b, y = (part.tolist() for part in draw_inputs(signature, 3, 0))
    assert (a, b, y) == ([[1], [2], [1]], [[0, 0]] * 3, [0, 1, 0])
    with pytest.raises(UserError, match=r"several vectors of attributes \(a, b\)"):
        draw_inputs(signature, 3, 0, attributes=[1.0])


@pytest.mark.parametrize(
    ("name", "arguments", "message"),
    [
        ("labels", {"label": 1}, "this model has the labels shape, hue"),
        ("labels", {"label": [0, 1, 2]}, "this model has the labels shape, hue"),
        ("labels", {"label": {"hu": 1}}, "no label 'hu'"),
        ("labels", {"label": {0: 1}}, "no label 0"),
        ("labels", {"label": {"hue": 4}}, "4"),
        ("labels", {"label": {"hue": -1}}, "-1"),
        ("labels", {"label": {"hue": [0, 1]}}, "one for each of the 3 samples"),
        ("labels", {"label": {"hue": [[0, 1, 2]]}}, "one for each of the 3 samples"),
        ("labels", {"label": {"hue": 1.5}}, "is one class"),
        ("labels", {"label": {"hue": True}}, "is one class"),
        ("labels", {"label": {"hue": None}}, "is one class"),
        ("labels", {"label": {"hue": "red"}}, "unknown label 'red': it is a number from 0 to 3, a name or 'all'"),
        ("labels", {"label": {"shape": "cirle"}}, "a name or 'all'; did you mean 'circle'?"),
        ("labels", {"label": {"shape": ["circle", "square", "triangle"]}}, "unknown label 'triangle'"),
        ("labels", {"attributes": [0.0]}, "no attributes"),
        ("labels", {"attributes": {}}, "no attributes"),
        ("attributes", {"label": 0}, "label"),
        ("attributes", {"label": {"y": 0}}, "no label 'y'"),
        ("attributes", {"attributes": [1.0]}, "shape"),
        ("attributes", {"attributes": 1.0}, "shape"),
        ("attributes", {"attributes": [1.0, 2.0, 3.0]}, "shape"),
        ("attributes", {"attributes": [[1.0, 2.0]] * 2}, "shape"),
        ("attributes", {"attributes": [[1.0, 2.0], [1.0]]}, "numbers"),
        ("attributes", {"attributes": ["a", "b"]}, "numbers"),
        ("attributes", {"attributes": [1.0, float("nan")]}, "finite"),
        ("attributes", {"attributes": [1.0, 1e39]}, "finite"),
        ("attributes", {"attributes": [1, 10**400]}, "numbers"),
        ("attributes", {"attributes": {"smilling": 1.0}}, "no attribute 'smilling'"),
        ("attributes", {"attributes": {0: 1.0}}, "no attribute 0"),
        ("attributes", {"attributes": {"age": float("inf")}}, "finite"),
        ("attributes", {"attributes": {"age": [1.0, 2.0, 3.0]}}, "one number for all samples"),
        ("plain", {"attributes": {2: 1.0}}, "no attribute 2"),
        ("plain", {"attributes": {"smiling": 1.0}}, "no attribute 'smiling'"),
    ],
)
def test_wrong_conditions_are_refused(
    runtimes: dict[str, Runtime], name: str, arguments: dict[str, Any], message: str
) -> None:
    with pytest.raises(UserError, match=message):
        draw_inputs(Signature.from_json(runtimes[name].signature), 3, 0, **arguments)
    with pytest.raises(ValueError, match=message):
        runtimes[name].stream(3, **arguments)


def test_a_misspelt_name_is_corrected() -> None:
    with pytest.raises(UserError, match=r"no label 'hu'; did you mean 'hue'\?"):
        draw_inputs(Labeled().signature, 3, 0, label={"hu": 1})
    with pytest.raises(UserError, match=r"no attribute 'agee'; did you mean 'age'\?"):
        draw_inputs(Described().signature, 3, 0, attributes={"agee": 1})


# --- The conformance kit


def test_the_kit_draws_every_condition() -> None:
    for network in (Labeled(), Described()):
        assert network.signature.drawn
        for ours, theirs in zip(bench.draw(network.signature, 9, 4), draw_inputs(network.signature, 9, 4), strict=True):
            assert torch.equal(ours, theirs)
    fields = (Image(1, 2, 2, (0.0, 1.0)), Label(2), Attributes(2, (), EXAMPLES, "a"), Points(3, "p"), Label(2, (), "b"))
    signature = Signature(fields, Scores())
    assert not signature.drawn
    x, y, a, p, b = bench.draw(signature, 4)
    assert [tuple(part.shape) for part in (x, p)] == [(4, 1, 2, 2), (4, 3)]
    assert 0 <= x.min() < x.max() <= 1
    assert list(zip(y.tolist(), b.tolist(), strict=True)) == [(0, 0), (1, 0), (0, 1), (1, 1)]
    assert a.tolist() == [list(EXAMPLES[i % 3]) for i in range(4)]


def test_the_kit_has_data_of_every_form() -> None:
    forms = [tuple(field.kind for field in data.spec.fields) for data in bench._stand_ins()]
    assert ("image", "label", "label") in forms
    assert ("image", "attributes") in forms
    assert forms.index(("image", "label", "label")) > forms.index(("points",))
