"""What is wrong with a kind of field is caught by the right check."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from torch import Tensor
from toys import Toys

from ganzoo import fields
from ganzoo.plugin.registry import Registry

toy = Toys(__name__)


@pytest.fixture(scope="module")
def toys(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    with toy.registry(tmp_path_factory.mktemp("toys")) as registry:
        yield registry


def flat(cls: type) -> type:
    """Make a kind of field out of a class that says what is wrong with it: 3 numbers, called by its own name."""
    members = {
        "kind": cls.__name__,
        "describe": lambda self: "three numbers",
        "from_json": classmethod(lambda cls, data, name, shape: cls(shape[0], name)),
        "shape": property(lambda self: (self.dim,)),
        "__annotations__": {"dim": "int", "name": "str"},
        "dim": 3,
        "name": "x",
        "__module__": __name__,
    }
    return dataclass(frozen=True)(type(cls.__name__, (fields.Field,), members | own(cls)))


def own(cls: type) -> dict[str, Any]:
    return {name: value for name, value in vars(cls).items() if name not in ("__dict__", "__weakref__", "__module__")}


@toy("field")
@flat
class HonestField:
    pass


@toy("field", "kind")
@flat
class MisnamedField:
    kind = "other"


@toy("field", "kind")
@flat
class UnnamedField:
    kind = ""


@toy("field", "kind")
class LooseField(fields.Field):
    """It is no dataclass, so that two that are the same are not equal."""

    kind = "LooseField"
    shape = (3,)
    name = "x"

    def describe(self) -> str:
        return "three numbers"

    @classmethod
    def from_json(cls, data: Any, name: str, shape: Any) -> Any:
        return cls()


@toy("field", "build")
@flat
class UnmadeField:
    def __post_init__(self) -> None:
        raise TypeError("no")


@toy("field", "build")
@flat
class UnreadyField:
    def __post_init__(self) -> None:
        raise AttributeError("no")


@toy("field", "build")
@flat
class UnknownField:
    def __post_init__(self) -> None:
        raise KeyError("dim")


@toy("field", "document")
@flat
class ForgetfulField:
    from_json = classmethod(lambda cls, data, name, shape: cls(shape[0] + 1, name))


@toy("field", "document")
@flat
class UnspokenField:
    def to_json(self) -> dict[str, Any]:
        return {**fields.Field.to_json(self), "extra": {1, 2}}


@toy("field", "document")
@flat
class RenamedField:
    def to_json(self) -> dict[str, Any]:
        return {**fields.Field.to_json(self), "name": "another"}


@toy("field", "values")
@flat
class ShapelessField:
    def example(self, random: Any, index: Any) -> Any:
        return random.standard_normal((len(index), 2), dtype="float32")


@toy("field", "values")
@flat
class SelfAccusingField:
    def fault(self, values: Any) -> str:
        return "nothing right"


@toy("field", "values")
@flat
class RestlessField:
    def example(self, random: Any, index: Any) -> Any:
        return np.random.default_rng().standard_normal((len(index), 3), dtype="float32")


@toy("field", "encoding")
@flat
class OneWayField:
    def encode(self, batch: Tensor) -> Tensor:
        return batch * 2


@toy("field", "encoding")
@flat
class WideField:
    def encode(self, batch: Tensor) -> Tensor:
        return batch.double()


@toy("field", "encoding")
@flat
class DecodedField:
    def decode(self, batch: Tensor) -> Tensor:
        return batch + 1


@toy("field", "packed")
@flat
class PackedField:
    def packed(self, count: int) -> Any:
        return self


@toy("field", "packed")
@flat
class LongField:
    def packed(self, count: int) -> Any:
        return type(self)(self.dim + count)  # type: ignore[attr-defined,call-arg]


@toy("field", "packed")
@flat
class UnpackedField:
    def packed(self, count: int) -> Any:
        raise NotImplementedError


@toy("field", "picture")
@flat
class UnseenField:
    def picture(self, samples: Any, real: Any = None, columns: Any = None) -> Any:
        return samples


@toy("field", "picture")
@flat
class FloatPictureField:
    def picture(self, samples: Any, real: Any = None, columns: Any = None) -> Any:
        return np.zeros((8, 8, 3))


@toy("field", "picture")
@flat
class PictureOfOneField:
    def picture(self, samples: Any) -> Any:
        return np.zeros((8, 8, 3), dtype=np.uint8)


@toy("field", "stored")
@flat
class DriftingField:
    def stored(self, samples: Any) -> Any:
        return samples + 1


@toy("field", "stored")
@flat
class UnstoredField:
    def stored(self, samples: Any) -> Any:
        return None


@toy("field", "stored")
@flat
class LostField:
    def stored(self, samples: Any) -> Any:
        return samples[:1]


@toy("field", "stored")
@flat
class SortedField:
    """Pieces of a stream are sorted each by itself."""

    def stored(self, samples: Any) -> Any:
        return np.sort(samples, axis=0)


# --------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("key", toy.offered)
def test_a_toy_is_caught_by_the_right_check(toys: Registry, key: str) -> None:
    toy.assert_caught(toys, key)


def test_every_check_has_three_toys() -> None:
    toy.assert_three_for_each("field", "kind", "build", "document", "values", "encoding", "packed", "picture", "stored")
