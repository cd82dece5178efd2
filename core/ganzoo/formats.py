"""File formats that a trained network is exported to and sampled from."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from ganzoo.networks import Network

__all__ = ["Format", "Sampler"]


class Sampler(Protocol):
    """A trained generator that is ready to draw, from a run folder or from a file."""

    metadata: Mapping[str, Any]
    """The document of the ONNX contract: model, signature, data, metrics ..."""

    device: str
    """Where it runs, as told to the user: ``"cpu"``, ``"CUDAExecutionProvider"`` ..."""

    def sample(
        self, n: int, *, seed: int = 0, label: int | Sequence[int] | None = None, truncation: float = 1.0
    ) -> NDArray[np.float32]:
        """Draw ``n`` samples, float32 [n, ...] in the signature's range; the same seed gives the same latents."""
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
