"""Draw a grid of samples with NumPy and onnxruntime alone, without torch and without the rest of ganzoo.

python sample.py generator.onnx grid.png --n 16 --seed 0 [--label 7]
"""

import argparse
import math
from pathlib import Path

import numpy as np

from ganzoo_runtime import Generator, encode_png, pixels, provenance


def main() -> None:
    parser = argparse.ArgumentParser(description="Draw a grid of samples from a model that ganzoo exported.")
    parser.add_argument("model", type=Path, help="an .onnx file")
    parser.add_argument("grid", type=Path, help="the PNG to write")
    parser.add_argument("--n", type=int, default=16)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--label", help="a class by name or number; all in turn if left out")
    parser.add_argument("--truncation", type=float, help="less is more typical, less varied")
    options = parser.parse_args()
    try:
        generator = Generator(options.model)
        samples = generator.sample(options.n, seed=options.seed, label=options.label, truncation=options.truncation)
    except ValueError as error:  # what is wrong with the file or with the wishes, in one sentence
        parser.error(str(error))
    output = generator.signature["output"]
    image = arrange(pixels(samples, output["range"], output.get("layout", "NCHW")))
    options.grid.write_bytes(encode_png(image, provenance(generator.metadata, options.seed)))
    print(f"{options.grid}: {options.n} samples, {generator.describe()}")


def arrange(images: np.ndarray) -> np.ndarray:
    """Put images [N, H, W, C] side by side into one, as square as can be."""
    n, height, width, channels = images.shape
    columns = math.ceil(math.sqrt(n))
    rows = math.ceil(n / columns)
    grid = np.zeros((rows * columns, height, width, channels), np.uint8)
    grid[:n] = images
    return grid.reshape(rows, columns, height, width, channels).swapaxes(1, 2).reshape(rows * height, -1, channels)


if __name__ == "__main__":
    main()
