"""Draw samples from a generator that ganzoo exported to ONNX. numpy and onnxruntime are all it takes.

    generator = Generator("digits.onnx")
    samples = generator.sample(64, seed=0)                                     # float32 [64, C, H, W]
    images = pixels(samples, generator.signature["output"]["range"])           # uint8 [64, H, W, C]

The file says itself what goes in and what comes out: its metadata entry ``ganzoo`` is a JSON document with a
``signature`` of ``inputs`` and ``output``. Each field is a dict with ``kind``, ``name``, ``dtype``, ``shape`` (without
the batch), and by kind ``distribution`` (latent), ``classes`` and ``names`` (label), ``names`` and ``examples``
(attributes) or ``range`` (image).
"""

from importlib.util import find_spec

if find_spec("onnxruntime") is None:
    raise ImportError(
        "the runtime needs onnxruntime: pip install onnxruntime, or onnxruntime-gpu or onnxruntime-directml instead"
    )

from .errors import ModelError
from .generator import Batch, Generator
from .latents import edit, interpolate, truncate
from .pictures import encode_png, pixels
from .sinks import write_folder, write_npy, write_parquet, write_tar

__all__ = [
    "Batch",
    "Generator",
    "ModelError",
    "edit",
    "encode_png",
    "interpolate",
    "pixels",
    "truncate",
    "write_folder",
    "write_npy",
    "write_parquet",
    "write_tar",
]
