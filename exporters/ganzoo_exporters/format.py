"""ONNX as a file format of ganzoo's."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ganzoo import Format, UserError

if TYPE_CHECKING:
    from ganzoo import Network
    from ganzoo_exporters.export import Layout
    from ganzoo_exporters.precision import Precision
    from ganzoo_runtime import Generator

__all__ = ["Onnx"]


class Onnx(Format):
    """One ``.onnx`` file that holds the weights, the signature and the metadata; above 2 GB the weights lie beside it.

    Exporting imports torch and onnx, loading imports numpy and onnxruntime; importing this module imports neither.
    """

    def export(
        self,
        network: Network,
        path: Path,
        metadata: Mapping[str, Any],
        *,
        pixels: Layout | None = None,
        precision: Precision = "fp32",
    ) -> dict[str, Any]:
        """Write the network to ``path``; see :func:`ganzoo_exporters.export.export`."""
        from ganzoo_exporters.export import export

        return export(network, path, metadata, pixels=pixels, precision=precision)

    def load(self, path: Path) -> Generator:
        """Open the file, on the GPU if there is one; raises :class:`UserError` if it is not one of ours or damaged."""
        from ganzoo_runtime import Generator, ModelError

        try:
            return Generator(path)
        except ModelError as error:
            raise UserError(str(error)) from None

    def write_page(self, model: Path, folder: Path, *, ort: Path | None = None) -> None:
        """Write a page with the model; see :func:`ganzoo_exporters.web.write_page`."""
        from ganzoo_exporters.web import write_page

        write_page(model, folder, ort=ort)

    def write_repository(self, model: Path, folder: Path) -> Path:
        """Put the model into a repository for Triton; see :func:`ganzoo_exporters.triton.write_repository`."""
        from ganzoo_exporters.triton import write_repository

        return write_repository(model, folder)
