"""stylegan2 at 256x256 with random weights, on one thread: the exported files beside torch.

    python benchmarks/large.py [--rounds 7] [--sizes 1 4]

Files in float32, float16 and int8, and the network in eager torch, take turns within each round. A figure is the median
over the rounds of seconds of CPU time an image, which other processes disturb less than the clock; a ratio is the
median of the rounds' ratios. ``error`` is the mean absolute difference to torch's images, whose values have the
standard deviation ``spread``, and ``largest`` the largest. The last layers of random weights are scaled by ``LAST``,
so that the spread is that of real images: it would be 1.6 otherwise, half of all values clamped to the range, and the
bound of float16, which is relative to the range, three times as strict. Written is benchmarks/results/large.json.
"""

import argparse
import json
import os
import platform
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

os.environ["OMP_NUM_THREADS"] = "1"

import numpy as np
import torch

from ganzoo import GanzooError, Image, load_config, load_registry
from ganzoo.data.dataset import DataSpec
from ganzoo.inference.sampling import TorchSampler
from ganzoo_exporters.export import export
from ganzoo_plugins.networks.stylegan2 import StyleGAN2Generator
from ganzoo_runtime import Generator

LAST = 0.3
RESULTS = Path(__file__).parent / "results" / "large.json"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--sizes", type=int, nargs="+", default=[1, 4])
    options = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    data = DataSpec("made", (Image(3, 256, 256, range=(0, 255)),), 1)
    config = load_config(load_registry(), "stylegan2", preset="paper256")
    network = config.build_trainer(data).networks["generator"].eval().requires_grad_(False)
    assert isinstance(network, StyleGAN2Generator)
    for block in network.synthesis.blocks:
        block.to_image.convolution.weight.mul_(LAST)
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        sampler = TorchSampler(network, {"signature": network.signature.to_json()})
        ways: dict[str, Callable[[int], np.ndarray]] = {"torch": lambda n: sampler.sample(n, seed=1)}
        about = {}
        for precision in ("fp32", "fp16", "int8"):
            file = Path(folder, f"{precision}.onnx")
            try:
                export(network, file, {}, precision=precision)
            except GanzooError as error:
                about[precision] = str(error)
                print(precision, error, flush=True)
                continue
            generator = Generator(file, providers=["cpu"], threads=1)
            ways[precision] = lambda n, generator=generator: generator.sample(n, seed=1)
            about[precision] = f"{file.stat().st_size / 1e6:.1f} MB"
        for n in options.sizes:
            images = {name: way(n) for name, way in ways.items()}  # and each is warm
            seconds: dict[str, list[float]] = {name: [] for name in ways}
            for _ in range(options.rounds):
                for name, way in ways.items():
                    start = time.process_time()
                    way(n)
                    seconds[name].append((time.process_time() - start) / n)
            for name, took in seconds.items():
                ratios = [one / other for one, other in zip(seconds["torch"], took, strict=True)]
                row = {"way": name, "n": n, "seconds": median(took), "times_torch": median(ratios)}
                error = np.abs(images[name] - images["torch"])
                row |= {"error": float(error.mean()), "largest": float(error.max())}
                rows.append({key: round(value, 7) if isinstance(value, float) else value for key, value in row.items()})
                print(rows[-1], flush=True)
        spread = float(images["torch"].std())
    machine = {"machine": platform.processor() or platform.machine(), "torch": torch.__version__}
    RESULTS.write_text(
        json.dumps({**machine, "spread": round(spread, 4), "files": about, "rows": rows}, indent=1) + "\n"
    )


if __name__ == "__main__":
    main()
