"""What networks may be given and return: every rule is refused alike, of one's own network and of a file."""

from typing import Any

import pytest

from ganzoo import (
    Attributes,
    Column,
    Image,
    Label,
    Latent,
    Mask,
    Points,
    Sequence,
    Table,
    Tokens,
    UserError,
    fields,
    load_registry,
)
from ganzoo.fields import Field, field_from_json
from ganzoo_runtime import ModelError
from ganzoo_runtime.fields import KINDS, check_field


@pytest.mark.parametrize(
    ("kind", "arguments", "message"),
    [
        (Latent, {"shape": ()}, "'z' has no numbers"),
        (Latent, {"shape": (2, 0)}, "the shape of 'z' is not made of whole numbers of at least 1"),
        (Latent, {"shape": (2,), "distribution": "gaussian"}, "'z' is neither 'normal' nor 'uniform'"),
        (Latent, {"shape": (2,), "truncation": "cut"}, "truncation of 'z' is neither 'scaled' nor 'resampled'"),
        (
            Latent,
            {"shape": (2,), "distribution": "uniform", "truncation": "resampled"},
            "which only normal latents are",
        ),
        (Label, {"classes": 0}, "'y' has no classes"),
        (Label, {"classes": 2, "names": ("a",)}, "'y' has names, but not one for each of 2"),
        (Label, {"classes": 1, "names": ("a\x1b",)}, r"'a\\x1b' cannot be the name of a class"),
        (Attributes, {"dim": 0}, "the shape of 'y'"),
        (Attributes, {"dim": 1, "names": ("a", "b")}, "not one for each of 1"),
        (Attributes, {"dim": 2, "examples": ((1.0,),)}, "an example of 'y' is no list of 2 numbers"),
        (Attributes, {"dim": 1, "examples": ((float("nan"),),)}, "an example of 'y' has what is no number"),
        (Points, {"dim": -1}, "the shape of 'x'"),
        (Image, {"channels": 1, "height": 0, "width": 2}, "the shape of 'x'"),
        (Image, {"channels": 1, "height": 4, "width": 6, "multiple": 4}, "the size of 'x', 4x6, is no multiple"),
        (Image, {"channels": 1, "height": 4, "width": 4, "multiple": 0}, "is no multiple"),
        (Image, {"channels": 1, "height": 4, "width": 4, "range": (1.0, 1.0)}, "does not run from a lower to a higher"),
        (Image, {"channels": 1, "height": 4, "width": 4, "range": (0.0, float("inf"))}, "has what is no number"),
        (Image, {"channels": 1, "height": 4, "width": 4, "layout": "CHWN"}, "neither 'NCHW' nor 'NHWC'"),
        (Sequence, {"channels": 0, "length": 2}, "the shape of 'x'"),
        (Sequence, {"channels": 2, "length": 2, "range": (1.0, 0.0)}, "does not run from a lower to a higher"),
        (Sequence, {"channels": 2, "length": 2, "names": ("a",)}, "not one for each of 2"),
        (Tokens, {"length": 0, "vocabulary": 2}, "the shape of 'x'"),
        (Tokens, {"length": 2, "vocabulary": 0}, "'x' is not that of tokens of its vocabulary"),
        (Tokens, {"length": 2, "vocabulary": 3, "tokens": ("a", "b")}, "not one for each of 3"),
        (Tokens, {"length": 2, "vocabulary": 1, "tokens": ("\x1b",)}, "cannot be the text of a token"),
        (Tokens, {"length": 2, "vocabulary": 3, "tokens": (1, 2, 3)}, "texts of tokens, but not one for each"),
        (Table, {"columns": ()}, "the shape of 'x'|'x' has no columns"),
        (Table, {"columns": (Column("a"),)}, "the column 'a' needs a range or categories"),
        (Table, {"columns": (Column("a", (0, 1), ("b",)),)}, "the column 'a' needs a range or categories"),
        (Table, {"columns": (Column("a", (1, 0)),)}, "of the column 'a' does not run from a lower"),
        (Table, {"columns": (Column("", (0, 1)),)}, "a column of 'x' has no name"),
        (Table, {"columns": (Column("a", (0, 1)), Column("a", (0, 1)))}, "two columns of 'x' have one name"),
        (Table, {"columns": (Column("a", None, ("b", "b")),)}, "two categories of the column 'a'"),
        (Table, {"columns": (Column("a", None, ("\n",)),)}, "cannot be the name of a category"),
        (Mask, {"height": 4, "width": 6, "multiple": 4}, "the size of 'mask', 4x6, is no multiple"),
    ],
)
def test_a_wrong_field_is_refused(kind: Any, arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message) as caught:
        kind(**arguments)
    unchecked = object.__new__(kind)
    for name, value in {**kind_defaults(kind), **arguments}.items():
        object.__setattr__(unchecked, name, value)
    with pytest.raises(ModelError) as told:
        check_field(unchecked.to_json())
    assert str(told.value) == str(caught.value)
    with pytest.raises(UserError):
        field_from_json(unchecked.to_json())


def kind_defaults(kind: Any) -> dict[str, Any]:
    return {name: field.default for name, field in kind.__dataclass_fields__.items()}


@pytest.mark.parametrize(
    ("document", "message"),
    [
        ({"kind": "tokens", "dtype": "int64", "shape": [3], "vocabulary": 3}, "texts of tokens"),
        ({"kind": "tokens", "dtype": "float32", "shape": [3], "vocabulary": 3, "tokens": []}, "not that of tokens"),
        ({"kind": "tokens", "dtype": "float32", "shape": [3, 4], "vocabulary": 3, "tokens": []}, "not that of tokens"),
        ({"kind": "tokens", "dtype": "uint8", "shape": [3], "vocabulary": 3, "tokens": []}, "not float32 or int64"),
        ({"kind": "sequence", "dtype": "float32", "shape": [3], "range": [0, 1], "names": []}, "no sequence"),
        ({"kind": "sequence", "dtype": "float32", "shape": [3, 1], "names": []}, "the range of 'x'"),
        ({"kind": "table", "dtype": "float32", "shape": [3], "columns": "abc"}, "has no columns"),
        ({"kind": "table", "dtype": "float32", "shape": [3], "columns": [1, 2, 3]}, "has no columns"),
        ({"kind": "table", "dtype": "float32", "shape": [3], "columns": [{"name": "a", "range": [0, 1]}]}, "the shape"),
        ({"kind": "table", "dtype": "float32", "shape": [1], "columns": [{"name": 1, "range": [0, 1]}]}, "no name"),
        ({"kind": "table", "dtype": "float32", "shape": [1], "columns": [{"name": "a", "categories": 3}]}, "categor"),
        ({"kind": "cloud", "dtype": "float16", "shape": [1]}, "not float32 or int64 or uint8"),
    ],
)
def test_what_a_foreign_file_says_is_refused(document: dict[str, Any], message: str) -> None:
    with pytest.raises(ModelError, match=message):
        check_field({"name": "x", **document})


def test_a_kind_that_is_not_installed_is_a_plain_array() -> None:
    document = {"kind": "fog", "name": "x", "dtype": "float32", "shape": [12, 3], "axes": ["x", "y", "z"]}
    field = field_from_json(document)
    assert (field.kind, field.shape, field.dtype, field.describe()) == ("fog", (12, 3), "float32", "fog, 12 x 3")
    assert field_from_json(field.to_json()) == field
    assert not field.drawn
    with pytest.raises(UserError, match="not a field"):
        field_from_json({**document, "dtype": None, "shape": "?"})


def test_the_bundled_kinds_are_listed_and_found() -> None:
    listed = {entry.spec.key: entry.spec.load() for entry in load_registry().specs("field")}
    public = {
        cls.kind: cls
        for cls in vars(fields).values()
        if isinstance(cls, type) and issubclass(cls, Field) and cls is not Field
    }
    assert listed == public
    for kind in public:
        assert kind in KINDS
