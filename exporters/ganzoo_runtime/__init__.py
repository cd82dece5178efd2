"""Draw samples from a generator that ganzoo exported to ONNX. numpy and onnxruntime are all it takes.

    generator = Generator("digits.onnx")
    samples = generator.sample(64, seed=0)                                     # float32 [64, C, H, W]
    images = pixels(samples, generator.signature["output"]["range"])           # uint8 [64, H, W, C]

The file says itself what goes in and what comes out: its metadata entry ``ganzoo`` is a JSON document with a
``signature`` of ``inputs`` and ``output``. Each field is a dict with ``kind``, ``name``, ``dtype``, ``shape`` (without
the batch), and by kind ``distribution`` (latent), ``classes`` and ``names`` (label), ``names`` and ``examples``
(attributes), ``range`` (image, sequence), ``names`` and ``units`` (sequence), ``vocabulary`` and ``tokens`` (tokens) or
``columns`` (table); ``stored`` makes whole numbers and texts of generated tokens (``lines``, a line of text for each
sample), and named columns of generated rows of a table and of channels in their units. A kind that is not known here is
a plain array of its shape and dtype.

Names are imported on first use: what is NumPy alone (drawing from a seed, walks, pixels) needs no onnxruntime.
"""

import os
from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .errors import ModelError
    from .fields import lines, stored
    from .generator import Batch, Generator
    from .images import encode_png, pixels
    from .latent_arithmetic import edit, interpolate, truncate, truncated_normal
    from .marking import provenance
    from .sinks import write_csv, write_folder, write_jsonl, write_npy, write_parquet, write_tar, write_txt

# Since 1.29 onnxruntime tells Microsoft of the machine and of each model that is opened, by its name and its hash, and
# keeps an identifier in ~/.cache. It reads this once, when it is imported; whoever sets it to 0 beforehand is heard.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

_HOME = {
    "errors": ("ModelError",),
    "generator": ("Batch", "Generator"),
    "images": ("encode_png", "pixels"),
    "latent_arithmetic": ("edit", "interpolate", "truncate", "truncated_normal"),
    "marking": ("provenance",),
    "fields": ("lines", "stored"),
    "sinks": ("write_csv", "write_folder", "write_jsonl", "write_npy", "write_parquet", "write_tar", "write_txt"),
}
_MODULE_OF = {name: module for module, names in _HOME.items() for name in names}

__all__ = [
    "Batch",
    "Generator",
    "ModelError",
    "edit",
    "encode_png",
    "interpolate",
    "lines",
    "pixels",
    "provenance",
    "stored",
    "truncate",
    "truncated_normal",
    "write_csv",
    "write_folder",
    "write_jsonl",
    "write_npy",
    "write_parquet",
    "write_tar",
    "write_txt",
]


def __getattr__(name: str) -> Any:
    if name not in _MODULE_OF:
        raise AttributeError(f"module 'ganzoo_runtime' has no attribute {name!r}")
    if _MODULE_OF[name] == "generator" and find_spec("onnxruntime") is None:
        raise ImportError(
            "the runtime needs onnxruntime: pip install onnxruntime, or onnxruntime-gpu or onnxruntime-directml instead"
        )
    value = getattr(import_module(f".{_MODULE_OF[name]}", __name__), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
