"""The hooks of the ONNX exporter."""

from ganzoo import Spec, hookimpl


@hookimpl
def ganzoo_specs() -> list[Spec]:
    """Offer ONNX as a file format."""
    return [
        Spec(
            kind="format",
            key="onnx",
            summary="ONNX with its signature inside, compared with torch; runs with numpy and onnxruntime alone",
            target="ganzoo_exporters.format:Onnx",
        )
    ]
