"""The export formats of ganzoo: ONNX, and programs of ``torch.export``."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ganzoo import Format, UserError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ganzoo import Network
    from ganzoo_exporters.export import Layout, Target
    from ganzoo_exporters.precision import Precision
    from ganzoo_runtime import Generator

__all__ = ["Onnx", "Pt2"]


class Onnx(Format):
    """One ``.onnx`` file that holds the weights, the signature and the metadata; above 2 GB the weights lie beside it.

    Exporting imports torch and onnx, loading imports numpy and onnxruntime; importing this module imports neither.
    """

    def check(
        self,
        network: Network,
        *,
        pixels: Layout | None = None,
        precision: Precision = "fp32",
        target: Target = "any",
    ) -> None:
        """Raise :class:`UserError` for pixels of what is no image, and int8 of what is not drawn from latents."""
        from ganzoo_exporters.export import check

        check(network.signature, pixels, precision)

    def export(
        self,
        network: Network,
        path: Path,
        metadata: Mapping[str, Any],
        *,
        pixels: Layout | None = None,
        precision: Precision = "fp32",
        target: Target = "any",
    ) -> dict[str, Any]:
        """Write the network to ``path``; see :func:`ganzoo_exporters.export.export`."""
        from ganzoo_exporters.export import export

        return export(network, path, metadata, pixels=pixels, precision=precision, target=target)

    def load(self, path: Path) -> Generator:
        """Open the file, on the GPU if there is one; raises :class:`UserError` if it is not one of ours or damaged."""
        from ganzoo_runtime import Generator, ModelError

        try:
            return Generator(path)
        except ModelError as error:
            raise UserError(str(error)) from None

    def weights(self, path: Path) -> dict[str, NDArray[Any]]:
        """Return the initializers of the graph; what an export has folded or rewritten has other names or shapes."""
        import onnx
        from onnx import numpy_helper

        self.load(path)  # checks the file, its weights beside it as well
        model = onnx.load(path)
        # Without a dot they are constants of the graph, and no weights of a layer.
        named = [each for each in model.graph.initializer if "." in each.name]
        return {each.name: numpy_helper.to_array(each, str(path.parent)) for each in named}


class Pt2(Format):
    """One ``.pt2`` file for ``torch.export.load``, with the metadata as an extra file: to compile, or for C++.

    It is not read by ganzoo: torch unpickles what it finds in such a file and evaluates expressions in it.
    """

    unread = "reading a .pt2 can run code that is in it: export an .onnx, or, if you trust it, use torch.export.load"

    def check(
        self,
        network: Network,
        *,
        pixels: Layout | None = None,
        precision: Precision = "fp32",
        target: Target = "any",
    ) -> None:
        """Raise :class:`UserError` for pixels, for anything but float32, and for a form for CPUs alone."""
        if pixels or precision != "fp32" or target != "any":
            raise UserError("a .pt2 computes and returns float32, for any device; take an .onnx for anything else")

    def export(
        self,
        network: Network,
        path: Path,
        metadata: Mapping[str, Any],
        *,
        pixels: Layout | None = None,
        precision: Precision = "fp32",
        target: Target = "any",
    ) -> dict[str, Any]:
        """Write the network to ``path``; see :func:`ganzoo_exporters.pt2.export`."""
        from ganzoo_exporters.pt2 import export

        self.check(network, pixels=pixels, precision=precision, target=target)
        return export(network, path, metadata)
