"""What the runtime costs or saves beside an onnxruntime session called by hand, in a process without torch.

    python benchmarks/plain.py FILE.onnx ... [--out FILE.json]

benchmarks/deploy.py has torch in the process and in turn with the others, whose threads and memory disturb all of them
by some percent. Here there are two runtimes and two sessions of each generator, called in random order, each turn a
twentieth of a second, and the ratio of the one session to the other says how much of a difference is chance. Both draw
latents by the same generator of random numbers; the sessions have no option but the number of threads, and are given at
most 256 samples at once. Ratios are medians over the rounds: above 1 the runtime is the faster one.
"""

import argparse
import json
import random
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnxruntime as ort

from ganzoo_runtime import Generator

RESULTS = Path("benchmarks/results/plain.json")
SIZES = (1, 16, 256, 2_000)
CHUNK = 256
TURN = 0.05  # seconds
Way = Callable[[], object]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="+", type=Path)
    parser.add_argument("--out", type=Path, default=RESULTS, help="the JSON file for the figures")
    options = parser.parse_args()
    if "torch" in sys.modules:
        sys.exit("something has imported torch into this process, which is to have none")
    document = {"onnxruntime": ort.__version__, "rows": []}
    print("| | threads | n | runtime, images/s | runtime to plain | plain to plain |\n|---|---|---|---|---|---|")
    for path in options.files:
        for threads in (1, 2):
            for row in compare(path, threads):
                document["rows"].append(row)
                print(
                    "| {model} | {threads} | {n:,} | {rate:,.0f} | {ratio:.2f} | {chance:.2f} |".format(**row),
                    flush=True,
                )
    options.out.write_text(json.dumps(document, indent=1) + "\n")


def compare(path: Path, threads: int):
    """Yield a row for each n."""
    plain = [session(path, threads) for _ in range(2)]
    runtime = [Generator(path, providers=["cpu"], threads=threads) for _ in range(2)]
    for generator in runtime:
        generator.sample(16_000)  # finds the fastest batch, if it is not known yet
    (height, width), (latent,) = runtime[0].signature["output"]["shape"][1:], plain[0].get_inputs()[0].shape[1:]
    for n in SIZES:
        ways = [*(by_hand(each, latent, n) for each in plain), *(by_runtime(each, n) for each in runtime)]
        times = take_turns(ways, 4 if n > CHUNK else 25)
        both = [[one + other for one, other in zip(*times[at : at + 2], strict=True)] for at in (0, 2)]
        yield {
            "model": f"{path.parent.name if path.stem == 'generator' else path.stem} {height}x{width}",
            "threads": threads,
            "n": n,
            "rate": round(n / statistics.median(both[1]) * 2, 1),
            "ratio": round(ratio(*both), 3),
            "chance": round(ratio(*times[:2]), 3),
        }


def session(path: Path, threads: int) -> ort.InferenceSession:
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    return ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])


def by_hand(runner: ort.InferenceSession, latent: int, n: int) -> Way:
    def draw() -> None:
        rng = np.random.Generator(np.random.Philox(0))
        for start in range(0, n, CHUNK):
            runner.run(None, {"z": rng.standard_normal((min(CHUNK, n - start), latent), dtype=np.float32)})

    return draw


def by_runtime(generator: Generator, n: int) -> Way:
    if n <= CHUNK:
        return lambda: generator.sample(n)
    return lambda: sum(len(piece[0]) for piece in generator.stream(n))


def take_turns(ways: list[Way], rounds: int) -> list[list[float]]:
    """Return the seconds of a call by way and round."""
    repeats = [max(1, round(TURN / min(timed(way, 1) for _ in range(2)))) for way in ways]
    found: list[list[float]] = [[] for _ in ways]
    order = random.Random(0)
    for _ in range(rounds):
        for at in order.sample(range(len(ways)), len(ways)):
            time.sleep(0.05)  # until the threads of the way before no longer spin
            found[at].append(timed(ways[at], repeats[at]))
    return found


def timed(way: Way, repeats: int) -> float:
    before = time.perf_counter()
    for _ in range(repeats):
        way()
    return (time.perf_counter() - before) / repeats


def ratio(slower: list[float], faster: list[float]) -> float:
    return statistics.median(a / b for a, b in zip(slower, faster, strict=True))


if __name__ == "__main__":
    main()
