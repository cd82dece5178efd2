"""How long commands take to start, as ratios: to Python itself, and to ``import torch``.

    python benchmarks/start.py [--rounds 15]         # writes benchmarks/results/start.json

All take turns, each in a process of its own; a ratio is the median of the rounds' ratios, by the clock and by CPU time,
which other processes on the machine disturb less. With 50 plugins: as many packages that ``ganzoo new plugin`` writes,
of all kinds in turn, are installed.
"""

import argparse
import compileall
import json
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from training_speed import machine

from ganzoo.cli.new import render
from ganzoo.plugin.spec import KINDS

PLUGINS = 50
RESULTS = Path(__file__).parent / "results" / "start.json"
WAYS = {
    "python -c pass": ["-c", "pass"],
    "import torch": ["-c", "import torch"],
    "ganzoo --help": ["-m", "ganzoo", "--help"],
    "ganzoo list": ["-m", "ganzoo", "list"],
    f"ganzoo --help, {PLUGINS} plugins": ["-m", "ganzoo", "--help"],
    f"ganzoo list, {PLUGINS} plugins": ["-m", "ganzoo", "list"],
    "ganzoo train --plugin gan_fc --steps 1": ["-m", "ganzoo", "train", "--plugin", "gan_fc", "--steps", "1"],
}
COMPARED = {
    "ganzoo --help": "python -c pass",
    "ganzoo list": "python -c pass",
    f"ganzoo --help, {PLUGINS} plugins": "ganzoo --help",
    f"ganzoo list, {PLUGINS} plugins": "ganzoo list",
    "ganzoo train --plugin gan_fc --steps 1": "import torch",
}


def install(site: Path) -> None:
    """Put plugins into a folder like site-packages, as pip leaves them."""
    for number in range(PLUGINS):
        name, package = f"ganzoo-other{number}", f"ganzoo_other{number}"
        render(name, KINDS[number % len(KINDS)], site / name)
        shutil.move(site / name / "src" / package, site)
        shutil.rmtree(site / name)
        metadata = site / f"{package}-0.1.0.dist-info"
        metadata.mkdir()
        (metadata / "METADATA").write_text(f"Metadata-Version: 2.4\nName: {name}\nVersion: 0.1.0\n")
        (metadata / "entry_points.txt").write_text(f"[ganzoo.plugins]\nother = {package}.plugin\n")
    compileall.compile_dir(site, quiet=1)


def taken(arguments: list[str], folder: str, site: str) -> tuple[float, float]:
    """Return the seconds that a process takes, by the clock and of CPU time, with what is installed in the site."""
    environment = {
        **os.environ,
        "GANZOO_CACHE": os.path.join(site or folder, "cache"),
        "PYTHONPATH": os.pathsep.join(filter(None, [*sys.path[1:], site])),
    }
    before, started = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    subprocess.run([sys.executable, *arguments], cwd=folder, env=environment, check=True, capture_output=True)
    clock, after = time.perf_counter() - started, resource.getrusage(resource.RUSAGE_CHILDREN)
    return clock, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=15)
    rounds = parser.parse_args().rounds
    times: dict[str, list[tuple[float, float]]] = {way: [] for way in WAYS}
    with tempfile.TemporaryDirectory() as folder, tempfile.TemporaryDirectory() as site:
        install(Path(site))
        for number in range(-1, rounds):  # the first round reads the files
            for way, arguments in WAYS.items():
                found = taken(arguments, folder, site if "plugins" in way else "")
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
