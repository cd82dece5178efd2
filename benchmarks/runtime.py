"""What the runtime costs on top of plain onnxruntime, and how much memory many samples take.

    python benchmarks/runtime.py MODEL.onnx|zoo:NAME [--threads 1] [--out FILE.json]

    one         milliseconds for ``sample(1)``
    many        samples a second of ``stream``, and of plain runs in batches of 1, 64 and 256
    memory      what the process has grown by at its peak while 10,000 samples went to a .npy file

Plain is what one would write by hand: the same latents from NumPy, and ``session.run`` at onnxruntime's defaults. It
and the runtime take turns, and the best of several rounds counts, so that whatever else runs on the
machine hits both alike.
"""

import argparse
import json
import resource
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort

import ganzoo
from ganzoo.files import write_atomic
from ganzoo.inference.zoo import model_file
from ganzoo_runtime import Generator, write_npy

ROUNDS = 7


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--samples", type=int, default=2000)
    parser.add_argument("--out", type=Path, help="a JSON file for the figures")
    options = parser.parse_args()
    assert ganzoo.load(options.model).metadata  # it is there, and it is one of ours
    settings = ort.SessionOptions()
    settings.intra_op_num_threads = options.threads
    with model_file(options.model, ganzoo.load_registry()) as path:
        assert path is not None, "a model file or zoo:NAME, not a run"
        generator = Generator(path, providers=["cpu"], threads=options.threads)
        plain = ort.InferenceSession(path, settings, providers=["CPUExecutionProvider"])
    generator.sample(8000)  # finds the fastest batch, if it is not known yet
    n = options.samples // 256 * 256
    one = best({"runtime": lambda: generator.sample(1, seed=1), "plain": by_hand(generator, plain, 1, 1)}, 50)
    ways = {f"plain, {size} at a time": by_hand(generator, plain, n // size * size, size) for size in (1, 64, 256)}
    many = best({"runtime": lambda: [None for _ in generator.stream(n)], **ways}, 1)
    document = {
        "model": options.model,
        "onnxruntime": ort.__version__,
        "provider": generator.provider,
        "threads": options.threads,
        "batch": generator._batching.best,
        "one_ms": {name: round(1e3 * seconds, 4) for name, seconds in one.items()},
        "many_per_second": {name: round(n / seconds, 1) for name, seconds in many.items()},
        "memory_mb": round(memory(generator), 1),
    }
    print(json.dumps(document, indent=1))
    if options.out is not None:
        write_atomic(options.out, json.dumps(document, indent=1) + "\n")


def by_hand(generator: Generator, session: ort.InferenceSession, n: int, batch: int) -> Callable[[], Any]:
    """Return a function that draws ``n`` samples with NumPy and onnxruntime alone."""
    fields = generator.signature["inputs"]

    def draw() -> None:
        random = np.random.Generator(np.random.Philox(1))
        for start in range(0, n, batch):
            feed: dict[str, Any] = {}
            for field in fields:
                if field["kind"] == "latent":
                    feed[field["name"]] = random.standard_normal((batch, *field["shape"]), dtype=np.float32)
                else:
                    feed[field["name"]] = np.arange(start, start + batch) % field["classes"]
            session.run(None, feed)

    return draw


def best(ways: dict[str, Callable[[], Any]], times: int) -> dict[str, float]:
    """Return the seconds that each of the ways takes, the best of rounds in which they take turns."""
    seconds = dict.fromkeys(ways, float("inf"))
    for _ in range(ROUNDS):
        for name, way in ways.items():
            start = time.perf_counter()
            for _ in range(times):
                way()
            seconds[name] = min(seconds[name], (time.perf_counter() - start) / times)
    return seconds


def memory(generator: Generator, n: int = 10_000) -> float:
    """Return by how many MB writing samples to a file raises the highest memory of the process."""
    unit = 1e6 if sys.platform == "darwin" else 1e3

    def peak() -> float:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit

    before = peak()
    with tempfile.TemporaryDirectory() as folder:
        write_npy(Path(folder) / "samples.npy", generator.stream(n), n, generator.signature)
    return peak() - before


if __name__ == "__main__":
    main()
