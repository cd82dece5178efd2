"""What draws samples: the interface of a trained generator, whether it runs in torch or from a file."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from ganzoo_runtime.random_inputs import Given, Labels, Texts, Truncation, Vectors

__all__ = ["Sampler"]


class Sampler(Protocol):
    """A trained generator that is ready to draw, from a run folder or from a file."""

    metadata: Mapping[str, Any]
    """What is known about the model, as JSON: model, signature, data, metrics ..."""

    device: str
    """Where it runs, as shown to the user: ``"cpu"``, ``"CUDAExecutionProvider"`` ..."""

    def __call__(self, *arrays: NDArray[Any]) -> NDArray[Any]:
        """Apply the network to arrays, [N, ...] each, in the signature's order."""
        ...

    def latents(
        self, n: int | Sequence[int], seed: int = 0, name: str | None = None, *, truncation: Truncation = None
    ) -> NDArray[np.float32]:
        """Return the latents of ``n`` samples, [n, *shape]: those that :meth:`sample` uses for this seed.

        In place of how many, ``n`` may be the numbers of the samples that are wanted, in memory for them alone.
        ``name`` is one of the model's latents, by default the first.
        """
        ...

    def styles(
        self,
        n: int | Sequence[int],
        seed: int = 0,
        *,
        label: Labels = None,
        attributes: Vectors = None,
        text: Texts = None,
        truncation: Truncation = None,
    ) -> NDArray[np.float32]:
        """Return the styles of ``n`` samples of a style-based model, [n, L, D]: one w for each layer.

        They are those that :meth:`sample` draws from, and go into it as ``latents={"w": styles}``. In place of how
        many, ``n`` may be the numbers of the samples that are wanted. Raises ValueError for a model without styles.
        """
        ...

    def stream(
        self,
        n: int,
        *,
        seed: int = 0,
        label: Labels = None,
        attributes: Vectors = None,
        text: Texts = None,
        truncation: Truncation = None,
        latents: Given = None,
    ) -> Iterator[tuple[NDArray[Any], Mapping[str, NDArray[Any]]]]:
        """Yield what :meth:`sample` returns a piece at a time, with its inputs by name, in constant memory."""
        ...

    def sample(
        self,
        n: int,
        *,
        seed: int = 0,
        label: Labels = None,
        attributes: Vectors = None,
        text: Texts = None,
        truncation: Truncation = None,
        latents: Given = None,
    ) -> NDArray[Any]:
        """Draw ``n`` samples, [n, ...] in the signature's range; the same seed gives the same latents.

        See :meth:`ganzoo_runtime.Generator.sample` for the requests it takes. Raises ValueError for what this model
        cannot be asked.
        """
        ...
