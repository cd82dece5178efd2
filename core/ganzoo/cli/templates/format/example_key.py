"""A file format: the weights alone, as safetensors, with the metadata in its header."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ganzoo import Format, Network, UserError, files


class ExampleKey(Format):
    """For programs that have the layers themselves: ``safetensors`` reads it in Python, Rust and JavaScript."""

    unread = "it holds weights and no layers: export an .onnx to sample from"

    def check(self, network: Network, *, pixels: Any = None, precision: str = "fp32", target: str = "any") -> None:
        """Refuse what weights alone cannot do; it is asked before anything is written."""
        if pixels or (precision, target) != ("fp32", "any"):
            raise UserError("a .example_key holds weights in float32: leave --pixels, --precision and --target out")

    def export(self, network: Network, path: Path, metadata: Mapping[str, Any], **options: Any) -> Mapping[str, Any]:
        """Write the network to ``path``, which is there when it is complete, and return its metadata."""
        # What is heavy is imported here: the module is imported to see which formats there are.
        from safetensors.torch import save_file

        document = {**metadata, "signature": network.signature.to_json()}
        weights = {name: part.cpu().contiguous() for name, part in network.state_dict().items()}
        with files.atomic_path(path) as temporary:
            save_file(weights, temporary, {"ganzoo": json.dumps(document)})
        return document
