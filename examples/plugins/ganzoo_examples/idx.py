"""A sink: samples as one .idx file, the format of MNIST, which many programs read."""

import struct
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from ganzoo import files


def idx(path: Path, pieces: Iterable[tuple[Any, Mapping[str, Any]]], n: int, signature: Mapping[str, Any]) -> Path:
    """Write ``n`` samples [N, ...] as big-endian float32, whatever they are, and return the path.

    The file begins with 0, 0, 13 for float32 and the number of dimensions, a byte each, and the dimensions as uint32.
    """
    # The file gets its name when it is complete; after a failure there is none.
    with files.atomic_path(path) as temporary, temporary.open("wb") as file:
        for number, (samples, _) in enumerate(pieces):
            if signature["output"]["kind"] in ("table", "tokens"):
                raise ValueError("an .idx holds one array of numbers, and these samples have columns; write an .npz")
            if number == 0:
                file.write(struct.pack(f">HBB{samples.ndim}I", 0, 13, samples.ndim, n, *samples.shape[1:]))
            file.write(samples.astype(">f4").tobytes())
    return path
