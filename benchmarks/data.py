"""How fast images are decoded, and how long a large folder takes to start.

    python benchmarks/data.py [--images 200000] [--at FOLDER]     # writes benchmarks/results/data.json

Rates are those of one core's CPU time, which other processes on the machine disturb less than the clock: images a
second of noisy images, the best of three rounds, for Pillow, torchvision's decoder, and Pillow with a resize to 64 x
64. Of a folder of 64 x 64 images, made under the temporary folder and deleted again, or made or found in FOLDER and
kept: the seconds of the first start and of the second, and the resident memory before and after 5,000 were read.
"""

import argparse
import io
import json
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image as Pillow
from torchvision.io import ImageReadMode, decode_image
from training_speed import machine

RESULTS = Path(__file__).parent / "results" / "data.json"
FORMATS: dict[str, dict[str, Any]] = {"png": {}, "bmp": {}, "jpeg": {"quality": 90}}
SIDES = {64: 400, 256: 40, 1024: 4}  # and how often


def rate(work: Callable[[], object], times: int) -> float:
    """Return how often a second of CPU time the work is done."""
    best = float("inf")
    for _ in range(3):
        started = time.process_time()
        for _ in range(times):
            work()
        best = min(best, time.process_time() - started)
    return times / best


def noisy(side: int) -> Pillow.Image:
    random = np.random.default_rng(0)
    coarse = Pillow.fromarray(random.integers(0, 256, (side // 8, side // 8, 3), np.uint8))
    smooth = np.asarray(coarse.resize((side, side), Pillow.Resampling.BICUBIC), np.float64)
    return Pillow.fromarray((smooth + random.normal(0, 6, smooth.shape)).clip(0, 255).astype(np.uint8))


def decoding() -> dict[str, Any]:
    found: dict[str, Any] = {}
    for side, times in SIDES.items():
        image = noisy(side)
        for name, options in FORMATS.items():
            file = io.BytesIO()
            image.save(file, name, **options)
            content = file.getvalue()

            def pillow(content: bytes = content) -> Pillow.Image:
                return Pillow.open(io.BytesIO(content)).convert("RGB")

            row: dict[str, Any] = {"bytes": len(content), "pillow": round(rate(lambda: np.asarray(pillow()), times))}
            if name != "bmp":
                data = torch.frombuffer(bytearray(content), dtype=torch.uint8)
                row["torchvision"] = round(rate(lambda data=data: decode_image(data, ImageReadMode.RGB), times))
                decoded = decode_image(data, ImageReadMode.RGB).permute(1, 2, 0).numpy()
                row["equal"] = bool(np.array_equal(decoded, np.asarray(pillow())))
            if side > 64:
                resize = rate(lambda: pillow().resize((64, 64), Pillow.Resampling.LANCZOS), times)
                row["pillow to 64"] = round(resize)
            found[f"{name} {side}"] = row
            print(name, side, row, flush=True)
    return found


def resident() -> int:
    """Return the MiB of memory of this process."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") // 2**20


def draw(root: Path, count: int) -> None:
    random = np.random.default_rng(0)
    for index in range(count):
        path = root / f"class{index % 10}" / f"{index:07d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        small = Pillow.fromarray(random.integers(0, 256, (6, 6, 3), np.uint8))
        small.resize((64, 64), Pillow.Resampling.BILINEAR).save(path, compress_level=1)


def folder(count: int, at: Path | None) -> dict[str, Any]:
    from ganzoo_plugins.datasets.folder import Folder

    found: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as place:
        os.environ["GANZOO_CACHE"] = os.path.join(place, "cache")
        root = at or Path(place, "images")
        if not root.is_dir():
            draw(root, count)
        for start in ("first", "second"):
            clock, cpu = time.perf_counter(), time.process_time()
            data = Folder(Folder.Config(path=root, memory=0))
            found[f"{start} start"] = {
                "seconds": round(time.perf_counter() - clock, 2),
                "cpu_seconds": round(time.process_time() - cpu, 2),
            }
        found |= {"images": len(data)}
        found["MiB before reading"] = resident()
        started, batches = time.process_time(), 50
        for batch in range(batches):
            indices = torch.randint(len(data), (100,), generator=torch.Generator().manual_seed(batch))
            data.batch(indices, torch.Generator())
        found["images read a second"] = round(100 * batches / (time.process_time() - started))
        found["MiB after reading"] = resident()
    print(found, flush=True)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=200_000)
    parser.add_argument("--at", type=Path)
    given = parser.parse_args()
    torch.set_num_threads(1)
    results = {"machine": machine(), "decoding": decoding(), "folder": folder(given.images, given.at)}
    RESULTS.write_text(json.dumps(results, indent=2) + "\n")


if __name__ == "__main__":
    main()
