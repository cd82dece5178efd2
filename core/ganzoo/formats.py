"""File formats that a trained network is exported to and sampled from."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import ArrayLike, NDArray

    from ganzoo.networks import Network

    Classes = int | Sequence[int] | NDArray[np.integer[Any]]
    """A class for all samples, or one for each."""
    Labels = Classes | Mapping[str, Classes] | None
    """What is asked of a model's labels; see :meth:`Sampler.sample`."""
    Vectors = ArrayLike | Mapping[str, float] | None
    """What is asked of a model's attributes; see :meth:`Sampler.sample`."""

__all__ = ["Format", "Sampler"]


class Sampler(Protocol):
    """A trained generator that is ready to draw, from a run folder or from a file."""

    metadata: Mapping[str, Any]
    """The document of the ONNX contract: model, signature, data, metrics ..."""

    device: str
    """Where it runs, as told to the user: ``"cpu"``, ``"CUDAExecutionProvider"`` ..."""

    def sample(
        self, n: int, *, seed: int = 0, label: Labels = None, attributes: Vectors = None, truncation: float = 1.0
    ) -> NDArray[np.float32]:
        """Draw ``n`` samples, float32 [n, ...] in the signature's range; the same seed gives the same latents.

        ``label`` is a class for all samples or one for each, of a model with one label; or a mapping from names of
        labels to such. Labels that are not asked for take all their combinations in turn, the first one changing
        fastest: sample ``i`` is of class ``i % c1`` of the first, ``i // c1 % c2`` of the second, and so on.
        ``attributes`` is a vector for all samples, [dim], or one for each, [n, dim]; or a mapping from names of
        attributes (their indices if they have no names) to numbers, which take the place of these entries of the
        signature's examples. The examples, zeros if there are none, take turns.
        """
        ...


class Format(ABC):
    """A file format; its spec's key is the file suffix without the dot.

    Importing the class imports nothing heavy: exporting may need torch, loading must not.
    """

    @abstractmethod
    def export(self, network: Network, path: Path, metadata: Mapping[str, Any]) -> Mapping[str, Any]:
        """Write the network and its metadata to ``path``, atomically, and return the metadata as written.

        The file is compared with the network before it gets its name; above tolerance :class:`~ganzoo.GanzooError`
        is raised and no file is left.
        """

    @abstractmethod
    def load(self, path: Path) -> Sampler:
        """Open the file; raises :class:`~ganzoo.UserError` if it is not one of ours or damaged."""
