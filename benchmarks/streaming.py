"""What Parquet takes that is read map-style, and where it lies: time of the first batch, and memory.

    python benchmarks/streaming.py [--at FOLDER]     # writes benchmarks/results/streaming.json

20,000 noisy images of 64 x 64 as .png in five files, with row groups of 100 images and of 4,000, made under the
temporary folder, or made or found in FOLDER and kept. Each way is a process of its own: the seconds of CPU time until
the first batch of 64 is there and those of an epoch after it, and by how many MB its memory grows until either.
"""

import argparse
import io
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from PIL import Image as Pillow

RESULTS = Path(__file__).parent / "results" / "streaming.json"
FILES, ROWS, SIDE, BATCH = 5, 4000, 64, 64
GROUPS = (100, 4000)


def draw(root: Path) -> None:
    """Write the files of each size of row groups."""
    import datasets
    from pyarrow import parquet

    random = np.random.default_rng(0)
    for number in range(FILES):
        images = []
        for _ in range(ROWS):
            buffer = io.BytesIO()
            Pillow.fromarray(random.integers(0, 256, (SIDE, SIDE, 3), np.uint8)).save(buffer, "png")
            images.append({"bytes": buffer.getvalue(), "path": None})
        features = datasets.Features({"image": datasets.Image()})
        table = datasets.Dataset.from_dict({"image": images}, features=features).data.table
        for rows in GROUPS:
            (root / str(rows)).mkdir(parents=True, exist_ok=True)
            parquet.write_table(table, root / str(rows) / f"{number}.parquet", row_group_size=rows)


def memory() -> int:
    """Return the largest memory that the process has had, in MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024


def read(path: str, streaming: bool) -> dict[str, float]:
    """Return the figures of this process."""
    import datasets

    from ganzoo import Stream
    from ganzoo_plugins.datasets.hugging_face import HuggingFace

    with tempfile.TemporaryDirectory() as cache:
        datasets.config.HF_DATASETS_CACHE = Path(cache)
        began, before = time.process_time(), memory()
        config = HuggingFace.Config(path=path, size=SIDE, memory=0, streaming=streaming)
        stream = Stream(HuggingFace(config), BATCH, seed=0)
        next(stream)
        first, then = time.process_time(), memory()
        for _ in range(FILES * ROWS // BATCH):
            next(stream)
        return {
            "first batch": round(first - began, 2),
            "epoch": round(time.process_time() - first, 2),
            "MB at the first batch": then - before,
            "MB in the epoch": memory() - before,
        }


def main() -> None:
    """Measure each way, and write the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--at", type=Path)
    parser.add_argument("--read", nargs=2, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.read:
        print(json.dumps(read(arguments.read[0], arguments.read[1] == "streaming")))
        return
    with tempfile.TemporaryDirectory() as made:
        root = arguments.at or Path(made)
        if not (root / str(GROUPS[-1])).is_dir():
            draw(root)
        results = {}
        for rows, way in [(GROUPS[0], "map-style"), *((rows, "streaming") for rows in GROUPS)]:
            command = [sys.executable, __file__, "--read", str(root / str(rows)), way]
            said = subprocess.run(command, check=True, capture_output=True, text=True).stdout
            results[f"{way}, row groups of {rows}"] = json.loads(said.splitlines()[-1])
    RESULTS.write_text(json.dumps(results, indent=2) + "\n")
    print(RESULTS.read_text())


if __name__ == "__main__":
    main()
