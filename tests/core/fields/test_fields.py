"""What networks may be given and return: every rule is refused alike, of one's own network and of a file."""

from typing import Any

import pytest

from ganzoo import Attributes, Image, Label, Latent, Mask, Points, UserError
from ganzoo.fields import field_from_json
from ganzoo_runtime import ModelError
from ganzoo_runtime.fields import check_field


@pytest.mark.parametrize(
    ("kind", "arguments", "message"),
    [
        (Latent, {"shape": ()}, "'z' has no numbers"),
        (Latent, {"shape": (2, 0)}, "the shape of 'z' is not made of whole numbers of at least 1"),
        (Latent, {"shape": (2,), "distribution": "gaussian"}, "'z' is neither 'normal' nor 'uniform'"),
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
