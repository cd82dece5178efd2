"""A file format: the weights alone, as .safetensors, with the metadata in its header."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ganzoo import Format, Network, UserError, files


class Weights(Format):
    """For programs that have the layers themselves."""

    unread = "it holds weights and no layers: export an .onnx to sample from"

    def check(self, network: Network, *, pixels: Any = None, precision: str = "fp32") -> None:
        """Refuse what weights alone cannot do."""
        if pixels or precision != "fp32":
            raise UserError("a .safetensors holds weights in float32: leave --pixels and --precision out")

    def export(self, network: Network, path: Path, metadata: Mapping[str, Any], **options: Any) -> Mapping[str, Any]:
        """Write the file, which has its name when it is complete, and return its metadata."""
        from safetensors.torch import save_file

        document = {**metadata, "signature": network.signature.to_json()}
        weights = {name: part.cpu().contiguous() for name, part in network.state_dict().items()}
        with files.atomic_path(path) as temporary:
            save_file(weights, temporary, {"ganzoo": json.dumps(document)})
        return document
