"""A model repository for the Triton Inference Server: the exported file and its configuration."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ganzoo import UserError
from ganzoo.files import atomic_path, read_bytes, write_atomic

if TYPE_CHECKING:
    from onnx import ValueInfoProto

__all__ = ["DELAY", "MAX_BATCH", "write_repository"]

MAX_BATCH = 64
"""The most samples that the server computes at once; requests for more are refused."""

DELAY = 1000
"""How long a request waits for others to share a batch with, in microseconds."""

_TYPES = {"FLOAT": "FP32", "FLOAT16": "FP16"}  # the others have the same names
_OURS = "# Written by ganzoo; the next export to this folder writes it anew.\n"


def write_repository(model: Path, folder: Path) -> Path:
    """Put a model that ganzoo exported to ONNX into the repository ``folder``, and return the model's own folder.

    This is ``NAME/config.pbtxt`` and ``NAME/1/model.onnx``, with a name made of the model's and its data set's; other
    models of the repository are left alone. Requests that come within :data:`DELAY` are computed together, up to
    :data:`MAX_BATCH` samples. The document about the model is a parameter ``ganzoo`` of the configuration, so that
    clients, which do not see the file, can ask the server for value ranges, class names and directions.

    Raises :class:`UserError` if the file is not one of ours, or if somebody else's model has the name.
    """
    import onnx

    from ganzoo_runtime import Generator, ModelError

    try:
        metadata = Generator(model, providers=["CPUExecutionProvider"]).metadata
    except ModelError as error:
        raise UserError(str(error)) from None
    target = folder / _name(metadata)
    config = target / "config.pbtxt"
    if config.exists() and not read_bytes(config).startswith(_OURS.encode()):
        raise UserError(f"{config} was not written by ganzoo: choose another repository, or remove it")
    # The configuration is written last: a server that watches the repository must not load a model without its files.
    graph = onnx.load(model, load_external_data=False).graph
    # above 2 GB weights lie in another file; opening the model has checked that it is beside it
    weights = {each.value for tensor in graph.initializer for each in tensor.external_data if each.key == "location"}
    for source, name in ((model, "model.onnx"), *((model.with_name(name), name) for name in sorted(weights))):
        with atomic_path(target / "1" / name) as temporary:
            shutil.copyfile(source, temporary)
    write_atomic(config, _config(target.name, list(graph.input), list(graph.output), metadata))
    return target


def _name(metadata: Mapping[str, Any]) -> str:
    parts = [metadata.get("model", {}).get("key"), metadata.get("data", {}).get("name"), metadata.get("network")]
    name = "-".join(part for part in parts if part and part != "generator")
    return re.sub(r"[^\w.-]+", "-", name, flags=re.ASCII).strip("-.") or "generator"


def _config(name: str, inputs: list[ValueInfoProto], outputs: list[ValueInfoProto], metadata: Mapping[str, Any]) -> str:
    return f"""{_OURS}name: {_text(name)}
backend: "onnxruntime"
max_batch_size: {MAX_BATCH}
input [{",".join(map(_tensor, inputs))}
]
output [{",".join(map(_tensor, outputs))}
]
dynamic_batching {{
  max_queue_delay_microseconds: {DELAY}
}}
parameters {{ # by default cuDNN tries out every algorithm again for each size of a batch; 1 is its heuristic
  key: "cudnn_conv_algo_search"
  value {{ string_value: "1" }}
}}
parameters {{
  key: "ganzoo"
  value {{ string_value: {_text(json.dumps(metadata))} }}
}}
"""


def _tensor(value: ValueInfoProto) -> str:
    from onnx import TensorProto

    kind = TensorProto.DataType.Name(value.type.tensor_type.elem_type)
    # the server adds the batch, and wants one axis at least beside it
    sizes = [axis.dim_value or -1 for axis in value.type.tensor_type.shape.dim][1:]
    shape = f"dims: [ {', '.join(map(str, sizes))} ]" if sizes else "dims: [ 1 ]\n    reshape { shape: [ ] }"
    return f"""
  {{
    name: {_text(value.name)}
    data_type: TYPE_{_TYPES.get(kind, kind)}
    {shape}
  }}"""


def _text(value: str) -> str:
    """Return a string as protobuf's text format writes it."""
    escapes = {byte: f"\\{byte:03o}" for byte in (*range(32), *range(127, 256))} | {34: '\\"', 92: "\\\\"}
    return f'"{"".join(escapes.get(byte, chr(byte)) for byte in value.encode())}"'
