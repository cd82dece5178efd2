"""File formats that a trained network is exported to and sampled from."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Protocol

from ganzoo.errors import UserError
from ganzoo.gan.sampler import Sampler

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ganzoo.gan.networks import Network

    Pieces = Iterable[tuple[NDArray[Any], Mapping[str, NDArray[Any]]]]
    """Samples, [N, ...], and by name the inputs that they were drawn for, [N, ...] each."""

__all__ = ["Format", "Sink"]


class Sink(Protocol):
    """A function that writes a stream of samples into a file or a folder, in constant memory.

    Its spec's key is the file suffix, or ``folder``. It raises ValueError for what it cannot write.
    """

    def __call__(self, path: Path, pieces: Pieces, n: int, signature: Mapping[str, Any]) -> Path:
        """Write ``n`` samples, given in pieces, of a model with this signature (as JSON) to ``path``, atomically.

        The signature's entry ``provenance`` is what image files say of where they come from, as
        :func:`ganzoo_runtime.encode_png` takes it, and ``first``, where it has it, the number of the first of these
        samples, which are a part of more. Samples come as their field stores them
        (:meth:`ganzoo.Field.stored`): a structured array if it has columns.

        Returns what a reader is given: the path, or a pattern of the paths that there are instead.
        """
        ...


class Format(ABC):
    """A file format; its spec's key is the file suffix without the dot.

    Importing the class imports nothing heavy: exporting may need torch, loading must not.
    """

    unread: ClassVar[str] = ""
    """Of a format without :meth:`load`, why that is so and what to do instead: the end of a sentence."""

    def check(  # noqa: B027 - a format that can write everything has nothing to add
        self,
        network: Network,
        *,
        pixels: Literal["NCHW", "NHWC"] | None = None,
        precision: Literal["fp32", "fp16", "int8"] = "fp32",
        target: Literal["any", "cpu"] = "any",
    ) -> None:
        """Raise :class:`~ganzoo.UserError` if the network cannot be exported so; by default every one can.

        It is asked about every network of a model before the first is written. A format that leaves ``target`` out,
        here and in :meth:`export`, is refused in the user's request for one.
        """

    @abstractmethod
    def export(
        self,
        network: Network,
        path: Path,
        metadata: Mapping[str, Any],
        *,
        pixels: Literal["NCHW", "NHWC"] | None = None,
        precision: Literal["fp32", "fp16", "int8"] = "fp32",
        target: Literal["any", "cpu"] = "any",
    ) -> Mapping[str, Any]:
        """Write the network and its metadata to ``path``, atomically, and return the metadata as written.

        With ``pixels`` the file gives uint8 images in that layout; ``precision`` is that of its arithmetic. With the
        target ``"cpu"``, which is given only where it is asked for, the file has the form that is fastest on CPUs. The
        file is compared with the network before it gets its name; above tolerance :class:`~ganzoo.GanzooError`
        is raised and no file is left.
        """

    def load(self, path: Path) -> Sampler:
        """Open the file; raises :class:`~ganzoo.UserError` if it is not one of ours or damaged.

        A format that is written and not read leaves this out, and says why in :attr:`unread`.
        """
        raise UserError(f"{path} is a file that ganzoo writes and does not read; {self.unread or 'export another'}")

    def weights(self, path: Path) -> Mapping[str, NDArray[Any]]:
        """Return the weights in a file by the names that they have in the network, as far as it has kept them.

        A training can start from them. Raises :class:`~ganzoo.UserError` for a file that has none.
        """
        raise UserError(f"{path} is of a format that no training starts from; name the run that it was exported from")

    @classmethod
    def is_read(cls) -> bool:
        """Return whether the format implements :meth:`load`."""
        return cls.load is not Format.load
