"""ONNX as an export format of ganzoo."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ganzoo import Format, UserError

if TYPE_CHECKING:
    from ganzoo import Network
    from ganzoo_exporters.export import Layout, Target
    from ganzoo_exporters.precision import Precision
    from ganzoo_runtime import Generator

__all__ = ["Onnx"]


class Onnx(Format):
    """One ``.onnx`` file that holds the weights, the signature and the metadata; above 2 GB the weights lie beside it.

    Exporting imports torch and onnx, loading imports numpy and onnxruntime; importing this module imports neither.
    """

    def check(self, network: Network, *, pixels: Layout | None = None, precision: Precision = "fp32") -> None:
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
