"""The hooks of the exporters."""

from ganzoo import Spec, hookimpl


@hookimpl
def ganzoo_specs() -> list[Spec]:
    """Offer the file formats, the command that writes them, and what streams of samples are written to."""
    sinks = {
        "folder": "a PNG file for each image",
        "csv": "a row for each sample: tables, tokens, points, with labels and attributes",
        "jsonl": "a JSON object a line for each sample: tables, tokens, points, with labels and attributes",
        "npy": "one array, opened as a memmap by numpy.load(path, mmap_mode='r')",
        "parquet": "a table of PNG images, or of other samples, with labels and attributes; needs pyarrow",
        "txt": "a line of text for each sample of tokens, of numbers where tokens have no texts",
        "tar": "WebDataset: images with labels and attributes, in shards of 10,000",
    }
    return [
        Spec(
            kind="format",
            key="onnx",
            summary="ONNX with its signature inside, compared with torch; runs with numpy and onnxruntime alone",
            target="ganzoo_exporters.format:Onnx",
        ),
        Spec(
            kind="format",
            key="pt2",
            summary="A program of torch.export with its signature inside, compared with torch; written, not read",
            target="ganzoo_exporters.format:Pt2",
        ),
        Spec("command", "export", "Export a trained generator, compared with torch", "ganzoo_exporters.command:export"),
        *(
            Spec(kind="sink", key=key, summary=summary, target=f"ganzoo_runtime.sinks:write_{key}")
            for key, summary in sinks.items()
        ),
    ]
