"""How fast exported generators are, beside torch and beside onnxruntime used as it comes.

    python benchmarks/deploy.py             # ten minutes, writes benchmarks/results/deploy.json
    python benchmarks/deploy.py --quick     # a minute, to see that it works; the figures mean little
    python benchmarks/deploy.py --table     # the figures of the last run as tables

For dcgan at 28x28 and 64x64 and wgan_gp_conv, on one thread and on two, images a second from drawing the latents to
float32 images in memory, for n = 1, 16, 256 and 10,000, of

    runtime       ``ganzoo_runtime.Generator.sample`` (10,000: ``stream``)
    int8          the same of the file exported with ``precision="int8"``
    plain         the runtime's file in an onnxruntime session without options but the number of threads, for the same
                  latents: a generator of random numbers is made from the seed in each call
    unrewritten   the same of a file whose graph is as torch exports it
    eager         the network in torch
    compiled      the network under ``torch.compile``, compiled for each n

All take turns within each round, so that whatever else the machine does hits all alike; a figure is the median over the
rounds, a ratio the median of the rounds' ratios. All but the runtime, which decides itself, draw 10,000 images 256 at a
time. ``share`` is the rate of multiplications and additions, as torch counts them, relative to that of a
matrix product of 2,048 x 2,048 in float32, which takes its turn too.

``start`` is the time of a process of its own from its start to the first image on disk: a script that imports the
runtime and one that imports torch, and ``ganzoo sample`` of a file and of a run folder. ``memory`` is by how much such
a process grows at its peak while 1,000 and 10,000 images go to a file.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import onnxruntime as ort
import torch
from plain import CHUNK, Way, by_hand, by_runtime, session, timed
from torch.utils.flop_counter import FlopCounterMode

from ganzoo import Image, load_config, load_registry
from ganzoo.data.dataset import DataSpec
from ganzoo_exporters import export as exporting
from ganzoo_runtime import Generator

RESULTS = Path(__file__).parent / "results" / "deploy.json"
CASES = {
    "dcgan 28x28": ("dcgan", 1, 28),
    "dcgan 64x64": ("dcgan", 3, 64),
    "wgan_gp_conv 28x28": ("wgan_gp_conv", 1, 28),
}
SIZES = (1, 16, 256, 10_000)
SIDE = 2048


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="few rounds, fewer images, no torch.compile")
    parser.add_argument("--table", action="store_true", help="print what is in the JSON file")
    parser.add_argument("--out", type=Path, default=RESULTS, help="the JSON file for the figures")
    options = parser.parse_args()
    if options.table:
        table(json.loads(options.out.read_text())["models"])
        return
    document: dict[str, Any] = {
        "machine": {"processor": processor(), "cores": os.cpu_count(), "python": platform.python_version()},
        "versions": {"torch": torch.__version__, "onnxruntime": ort.__version__},
        "quick": options.quick,
        "models": {},
    }
    with tempfile.TemporaryDirectory() as folder:
        for name, case in CASES.items():
            files = Files(Path(folder), *case)
            flops = count_flops(files.network)
            found = [row for threads in (1, 2) for row in speeds(files, threads, flops, options.quick)]
            document["models"][name] = {"megaflops": round(flops / 1e6, 1), "speed": found}
            show(name, found)
            if case[0] == "dcgan" and case[2] == 64:
                document["memory"] = memory(files, options.quick)
                print("memory", document["memory"], flush=True)
        document["start"] = start(files, Path(folder), 2 if options.quick else 7)
        print("start", document["start"], flush=True)
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps(document, indent=1) + "\n")
    print(options.out)


class Files:
    """A generator, untrained, and the files that it is exported to."""

    def __init__(self, folder: Path, model: str, channels: int, size: int) -> None:
        torch.manual_seed(0)
        data = DataSpec("made", (Image(channels, size, size, (0, 255)),), 1)
        network = load_config(load_registry(), model).build_trainer(data).networks["generator"].eval()
        self.network: Any = network.requires_grad_(False)
        self.latent: int = self.network.signature.inputs[0].shape[0]
        stem = folder / f"{model}-{size}"
        self.full, self.int8, self.as_exported = (stem.with_suffix(f".{kind}.onnx") for kind in ("full", "int8", "raw"))
        exporting.export(self.network, self.full, {}, target="cpu")  # what the runtime makes of any file on a CPU
        exporting.export(self.network, self.int8, {}, precision="int8")
        fast, exporting.FAST = exporting.FAST, ()
        exporting.export(self.network, self.as_exported, {})
        exporting.FAST = fast
        self.torch = stem.with_suffix(".pt")
        torch.save(self.network, self.torch)


def speeds(files: Files, threads: int, flops: float, quick: bool) -> Iterator[dict[str, Any]]:
    """Yield a row for each n: images a second by way, ratios to the others, the share of the matrix product's rate."""
    torch.set_num_threads(threads)
    runtime = {path: Generator(path, providers=["cpu"], threads=threads) for path in (files.full, files.int8)}
    plain = {path: session(path, threads) for path in (files.full, files.as_exported)}
    for generator in runtime.values():
        generator.sample(500 if quick else 16_000)  # finds the fastest batch, if it is not known yet
    left, right = (torch.randn(SIDE, SIDE) for _ in range(2))
    torch.compiler.reset()
    compiled = torch.compile(files.network, dynamic=False)
    for n in (1, 16, 256, 1_000) if quick else SIZES:
        ways: dict[str, Way] = {
            "runtime": by_runtime(runtime[files.full], n),
            "int8": by_runtime(runtime[files.int8], n),
            "plain": by_hand(plain[files.full], files.latent, n),
            "unrewritten": by_hand(plain[files.as_exported], files.latent, n),
            "eager": in_torch(files.network, files.latent, n),
        }
        if not quick:
            ways["compiled"] = in_torch(compiled, files.latent, n)
        ways["product"] = lambda: left @ right
        rounds = take_turns(ways, 2 if quick else 3 if n > CHUNK else 9, long=n > CHUNK)
        rates = {way: statistics.median(n / seconds for seconds in rounds[way]) for way in ways if way != "product"}
        product = statistics.median(2 * SIDE**3 / seconds for seconds in rounds["product"])
        yield {
            "threads": threads,
            "n": n,
            "images_per_second": {way: round(rate, 1) for way, rate in rates.items()},
            "runtime_to": {
                way: ratio(rounds[way], rounds["runtime"]) for way in rates if way not in ("runtime", "int8")
            },
            "share": round(rates["runtime"] * flops / product, 3),
            "product_gigaflops": round(product / 1e9, 1),
        }


def take_turns(ways: dict[str, Way], rounds: int, *, long: bool = False) -> dict[str, list[float]]:
    """Return the seconds of a call by way and round; each turn lasts at least a twentieth of a second.

    Before it is timed every way is called, to warm up, unless calls are ``long`` and have been warmed up by short ones.
    """
    repeats = dict.fromkeys(ways, 1)
    if not long:
        for name, way in ways.items():
            way()
            repeats[name] = max(1, round(0.05 / timed(way, 1)))
    found: dict[str, list[float]] = {name: [] for name in ways}
    order = random.Random(0)
    for _ in range(rounds):
        for name in order.sample(list(ways), len(ways)):  # whoever comes next to a large product pays for its memory
            time.sleep(0.05)  # until the threads of the way before no longer spin
            found[name].append(timed(ways[name], repeats[name]))
    return found


def ratio(slower: list[float], faster: list[float]) -> float:
    return round(statistics.median(a / b for a, b in zip(slower, faster, strict=True)), 2)


def in_torch(network: Any, latent: int, n: int) -> Way:
    @torch.inference_mode()
    def draw() -> None:
        for start in range(0, n, CHUNK):
            network(torch.randn(min(CHUNK, n - start), latent))

    return draw


def count_flops(network: Any) -> float:
    latent = network.signature.inputs[0].shape[0]
    with FlopCounterMode(display=False) as counter:
        network(torch.randn(1, latent))
    return float(counter.get_total_flops())


RUNTIME = """
import sys
from ganzoo_runtime import Generator, encode_png, pixels
generator = Generator(sys.argv[1], providers=["cpu"])
open(sys.argv[2], "wb").write(encode_png(pixels(generator.sample(1), generator.signature["output"]["range"])[0]))
"""
TORCH = """
import sys
import torch
from PIL import Image
network = torch.load(sys.argv[1], weights_only=False)
low, high = network.signature.output.range
with torch.inference_mode():
    image = network(torch.randn(1, *network.signature.inputs[0].shape))[0]
pixels = ((image - low) * (255 / (high - low)) + 0.5).clamp(0, 255).to(torch.uint8).permute(1, 2, 0).squeeze(2)
Image.fromarray(pixels.numpy()).save(sys.argv[2])
"""
MEMORY = """
import resource, sys
from pathlib import Path
from ganzoo_runtime import Generator, write_npy
generator = Generator(sys.argv[1], providers=["cpu"])
generator.sample(1)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
n = int(sys.argv[3])
write_npy(Path(sys.argv[2]), generator.stream(n), n, generator.signature)
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024)
"""


def start(files: Files, folder: Path, rounds: int) -> dict[str, Any]:
    """Return seconds from the start of a process to the first image on disk, by way, and their ratios."""
    command = [sys.executable, "-m", "ganzoo"]
    train = ["train", "-p", "wgan_gp_conv", "--data", "digits", "--steps", "1", "-q", "--out", "runs"]
    quiet: Any = {"cwd": folder, "check": True, "capture_output": True}
    subprocess.run([*command, *train], **quiet)
    run = next(folder.glob("runs/*"))
    subprocess.run([*command, "export", run, "--onnx", "--out", "run.onnx"], **quiet)
    ways = {
        "runtime": [sys.executable, "-c", RUNTIME, files.full, "a.png"],
        "torch": [sys.executable, "-c", TORCH, files.torch, "b.png"],
        "ganzoo sample FILE": [*command, "sample", "run.onnx", "-n", "1", "--out", "c.png"],
        "ganzoo sample RUN": [*command, "sample", run, "-n", "1", "--out", "d.png"],
    }

    def of(arguments: list[Any]) -> Way:
        return lambda: subprocess.run(arguments, **quiet)

    found = take_turns({name: of(arguments) for name, arguments in ways.items()}, rounds)
    return {
        "seconds": {name: round(statistics.median(each), 3) for name, each in found.items()},
        "runtime_to_torch": ratio(found["torch"], found["runtime"]),
        "file_to_run": ratio(found["ganzoo sample RUN"], found["ganzoo sample FILE"]),
    }


def memory(files: Files, quick: bool) -> dict[str, float]:
    """Return megabytes that a process grows by at its peak, by the number of images that go to a file."""
    found = {}
    for n in (100, 500) if quick else (1_000, 10_000):
        with tempfile.TemporaryDirectory() as folder:
            arguments = [sys.executable, "-c", MEMORY, files.full, str(Path(folder, "a.npy")), str(n)]
            done = subprocess.run(arguments, check=True, capture_output=True, text=True)
        found[str(n)] = round(float(done.stdout), 1)
    return found


def processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "")


def show(name: str, rows: list[dict[str, Any]]) -> None:
    print(f"\n{name}: images a second; times faster than each")
    for row in rows:
        rates = ", ".join(f"{way} {rate:,.0f}" for way, rate in row["images_per_second"].items())
        ratios = ", ".join(f"{way} {value:.2f}" for way, value in row["runtime_to"].items())
        print(
            f"  {row['threads']} threads, n = {row['n']:,}: {rates}; {ratios}; {row['share']:.0%} of the product's rate"
        )
    sys.stdout.flush()


def table(models: dict[str, Any]) -> None:
    print("| | threads | n | images/s | eager | compiled | plain | unrewritten | int8, images/s | share |")
    print("|---|---|---|---|---|---|---|---|---|---|")
    for name, found in models.items():
        for row in found["speed"]:
            rates, ratios = row["images_per_second"], row["runtime_to"]
            beside = " | ".join(f"{ratios[way]:.2f}" for way in ("eager", "compiled", "plain", "unrewritten"))
            print(
                f"| {name} | {row['threads']} | {row['n']:,} | {rates['runtime']:,.0f} | {beside} | "
                f"{rates['int8']:,.0f} | {row['share']:.0%} |"
            )


if __name__ == "__main__":
    main()
