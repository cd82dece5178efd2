"""Texts and other series of symbols."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np

from ganzoo.fields import drawing
from ganzoo.fields.base import Field
from ganzoo_runtime.fields import lines
from ganzoo_runtime.text import counted

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

__all__ = ["Tokens"]


@dataclass(frozen=True)
class Tokens(Field):
    """A series of ``length`` symbols out of ``vocabulary`` many: ``tokens`` are their texts, if they have any.

    A data set holds whole numbers in 0 .. vocabulary - 1, int64 [length]. A network sees and returns them ``encoded``,
    float32 [length, vocabulary]: for each place a row of numbers, the largest of which names the token. Real samples
    are one-hot; generated ones are probabilities, one-hot with a straight-through gradient, or logits. So critics and
    their penalties work as for images, a trainer that samples from logits (REINFORCE, Gumbel) gives its discriminator
    one-hot rows of what it has drawn, and a file of any of them is sampled by taking the largest.

    Samples that are shorter are padded: where the text of token 0 is empty (:attr:`padded`), the first token 0 ends a
    sample, and its text is that of the tokens before, less a space at the front, which words bring along. Whatever
    stands behind counts for nothing.

    As a condition it is a caption: whole numbers, which a network looks up. The ``tokens`` are words, the first of them
    the empty text that fills up what is shorter. ``examples`` are a few captions as the data has them, [length] each;
    samples are drawn for them where none is asked for.
    """

    length: int
    vocabulary: int
    tokens: tuple[str, ...] = ()
    name: str = "x"
    encoded: bool = False
    examples: tuple[tuple[int, ...], ...] = ()

    kind: ClassVar[str] = "tokens"
    shown: ClassVar[int] = 32

    @property
    def dtype(self) -> str:
        """``"int64"``, or ``"float32"`` if it is encoded."""
        return "float32" if self.encoded else "int64"

    @property
    def shape(self) -> tuple[int, ...]:
        """``(length,)``, or ``(length, vocabulary)`` if it is encoded."""
        return (self.length, self.vocabulary) if self.encoded else (self.length,)

    @property
    def padded(self) -> bool:
        """Whether token 0, whose text is empty, ends a sample and fills it up to the length."""
        return self.tokens[:1] == ("",)

    def describe(self) -> str:
        """Return ``"32 tokens out of 96"``."""
        return f"{counted(self.length, 'token')} out of {self.vocabulary}"

    def to_json(self) -> dict[str, Any]:
        """Add the size of the vocabulary, the tokens' texts, and the examples if there are any."""
        examples = {"examples": [list(row) for row in self.examples]} if self.examples else {}
        return {**super().to_json(), "vocabulary": self.vocabulary, "tokens": list(self.tokens), **examples}

    @classmethod
    def from_json(cls, data: Mapping[str, Any], name: str, shape: tuple[int, ...]) -> Self:
        """Read what :meth:`to_json` wrote."""
        examples = tuple(tuple(int(token) for token in row) for row in data.get("examples", ()))
        encoded = data["dtype"] == "float32"
        return cls(shape[0], int(data["vocabulary"]), tuple(data["tokens"]), name, encoded, examples)

    @property
    def drawn(self) -> bool:
        """Whether there are examples to draw samples for."""
        return bool(self.examples)

    def scaled(self, pixel_range: tuple[float, float]) -> Tokens:
        """Return the encoded field."""
        return replace(self, encoded=True, examples=())

    def encode(self, batch: Tensor) -> Tensor:
        """Return one-hot rows, float32 [N, length, vocabulary], for tokens, int64 [N, length], if it is encoded."""
        import torch

        if batch.is_floating_point() or not self.encoded:
            return batch
        return (batch.unsqueeze(-1) == torch.arange(self.vocabulary, device=batch.device)).to(torch.float32)

    def decode(self, values: Tensor) -> Tensor:
        """Return the tokens, int64 [N, length], that encoded rows name."""
        return values.argmax(-1) if values.is_floating_point() else values

    def example(self, random: np.random.Generator, index: NDArray[np.int64]) -> NDArray[Any]:
        """Return the examples in turn; random tokens if there are none, of an encoded field as one-hot rows."""
        if self.examples:
            return np.array(self.examples, np.int64)[index % len(self.examples)]
        drawn = random.integers(self.vocabulary, size=(len(index), self.length))
        return np.eye(self.vocabulary, dtype=np.float32)[drawn] if self.encoded else drawn

    def fault(self, values: NDArray[Any]) -> str:
        """Say that there are tokens beyond the vocabulary."""
        if self.encoded or (values.min() >= 0 and values.max() < self.vocabulary):
            return ""
        return f"tokens outside of 0..{self.vocabulary - 1}"

    def packed(self, count: int) -> Tokens:
        """Join the series one after another."""
        return replace(self, length=count * self.length)

    def picture(
        self, samples: NDArray[Any], real: NDArray[Any] | None = None, columns: int | None = None
    ) -> NDArray[np.uint8]:
        """Write a line of text for each sample, of numbers where the tokens have no texts."""
        return drawing.text(lines(samples, self.to_json()))
