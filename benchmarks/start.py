"""How long commands take to start, as ratios: to Python itself, and to ``import torch``.

    python benchmarks/start.py [--rounds 15]         # writes benchmarks/results/start.json

All take turns, each in a process of its own; a ratio is the median of the rounds' ratios, by the clock and by CPU time,
which other processes on the machine disturb less.
"""

import argparse
import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from training_speed import machine

RESULTS = Path(__file__).parent / "results" / "start.json"
WAYS = {
    "python -c pass": ["-c", "pass"],
    "import torch": ["-c", "import torch"],
    "ganzoo --help": ["-m", "ganzoo", "--help"],
    "ganzoo list": ["-m", "ganzoo", "list"],
    "ganzoo train --plugin gan_fc --steps 1": ["-m", "ganzoo", "train", "--plugin", "gan_fc", "--steps", "1"],
}
COMPARED = {
    "ganzoo --help": "python -c pass",
    "ganzoo list": "python -c pass",
    "ganzoo train --plugin gan_fc --steps 1": "import torch",
}


def taken(arguments: list[str], folder: str) -> tuple[float, float]:
    """Return the seconds that a process takes, by the clock and of CPU time."""
    before, started = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    subprocess.run([sys.executable, *arguments], cwd=folder, check=True, capture_output=True)
    clock, after = time.perf_counter() - started, resource.getrusage(resource.RUSAGE_CHILDREN)
    return clock, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=15)
    rounds = parser.parse_args().rounds
    times: dict[str, list[tuple[float, float]]] = {way: [] for way in WAYS}
    with tempfile.TemporaryDirectory() as folder:
        for number in range(-1, rounds):  # the first round reads the files
            for way, arguments in WAYS.items():
                found = taken(arguments, folder)
                if number >= 0:
                    times[way].append(found)
    document: dict[str, Any] = {"machine": machine.describe(), "commit": machine.commit(), "rounds": rounds}
    document["seconds"] = {way: round(statistics.median(clock for clock, _ in each), 3) for way, each in times.items()}
    document["ratios"] = {
        f"{way} / {base}": {
            kind: round(statistics.median(a[k] / b[k] for a, b in zip(times[way], times[base], strict=True)), 2)
            for k, kind in enumerate(("clock", "cpu"))
        }
        for way, base in COMPARED.items()
    }
    print(json.dumps(document, indent=1))
    RESULTS.write_text(json.dumps(document, indent=1) + "\n")


if __name__ == "__main__":
    main()
