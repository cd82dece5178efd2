"""What the tests of the examples have in common."""

import io
import math
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image as Picture

from ganzoo import Image, Label, Latent, Signature
from ganzoo_runtime import Generator, pixels

ROOT = Path(__file__).parents[1]
EXAMPLES = ROOT / "examples"
DIGITS = ROOT / "zoo" / "ganzoo_zoo" / "cgan-mnist5k" / "generator.onnx"
COLORS = Signature(
    (Latent((2, 3), "uniform"), Latent((5,), name="noise"), Label(2, name="a"), Label(3, name="b")), Image(3, 6, 4)
)


def run(*command: object, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(part) for part in command],
        capture_output=True,
        text=True,
        timeout=120,
        env={**os.environ, **environment},
        check=False,
    )


def sheet(generator: Generator, n: int, **wishes: Any) -> np.ndarray:
    """What a sheet of samples has to look like, uint8 [H, W, C]."""
    images = pixels(generator.sample(n, **wishes), generator.signature["output"]["range"])
    columns = math.ceil(math.sqrt(n))
    blank = np.zeros_like(images[:1])
    rows = [
        np.concatenate([images[i] if i < n else blank[0] for i in range(start, start + columns)], axis=1)
        for start in range(0, n, columns)
    ]
    return np.concatenate(rows)


def same(file: Path | bytes, expected: np.ndarray) -> None:
    """Assert that a picture is as expected, but for rounding; what is transparent counts as black."""
    picture = Picture.open(io.BytesIO(file) if isinstance(file, bytes) else file)
    if picture.mode == "RGBA":
        picture = Picture.alpha_composite(Picture.new("RGBA", picture.size, (0, 0, 0, 255)), picture)
    drawn = np.asarray(picture.convert("L" if expected.shape[-1] == 1 else "RGB")).reshape(expected.shape).astype(int)
    difference = np.abs(drawn - expected)
    assert difference.max() <= 1
    assert (difference > 0).mean() < 0.001


def install_runtime(folder: Path) -> str:
    """Return a PYTHONPATH with the runtime as it is installed alone, and without what it must not need."""
    shutil.copytree(ROOT / "exporters" / "ganzoo_runtime", folder / "ganzoo_runtime")
    for name in ("torch", "onnx", "PIL", "ganzoo", "ganzoo_exporters"):
        (folder / f"{name}.py").write_text("raise ImportError('this application has none')\n")
    return str(folder)
