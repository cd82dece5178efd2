"""How fast ganzoo trains, beside the loop that a textbook would write, with the same networks and the same losses.

    python benchmarks/speed.py                      # all; adds to benchmarks/results/speed.json, and to docs/results.md
    python benchmarks/speed.py --quick              # three minutes, to see roughly; adds nothing
    python benchmarks/speed.py --only dcgan64 cyclegan --place "cpu 1" --quick
    python benchmarks/speed.py --check              # 50 steps of both; exit 1 if the losses differ

Textbook and ganzoo take turns; a ratio is the median of the rounds' ratios. Peak memory is each
side's, imports and data included (on CUDA: what torch allocated there). In the same run the machine's rates of matrix
products and of a copy are measured; ``share`` is the rate of a side's floating-point operations relative to the
product's in its precision. A ratio that fell by more than 5% since the last run on such a machine is named.

What the textbook does is in ``training_speed/textbook.py``: PIL images through ``ToTensor`` in a ``DataLoader``, and
the loops of tutorials. It keeps no average of the weights; ganzoo's side does, as always. How losses are compared is in
``training_speed/checking.py``.
"""

from __future__ import annotations

import argparse
import json
import sys
from datetime import UTC, datetime
from pathlib import Path

import torch
from training_speed import machine, report
from training_speed.cases import CASES, make_case
from training_speed.checking import TOLERANCE, check
from training_speed.measuring import measure
from training_speed.sides import NAMES, Arena

RESULTS = Path(__file__).parent / "results" / "speed.json"
DOCUMENT = Path(__file__).parents[1] / "docs" / "results.md"
CHECKED = {"conv": 32, "dcgan64": 8}  # a part of the batch: the textbook's networks are slow in float64


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=CASES, default=list(CASES), help="some of the cases")
    parser.add_argument("--place", nargs="+", choices=("cpu 1", "cpu all", "cuda"), default=[], help="some places")
    parser.add_argument("--side", nargs="+", choices=NAMES, default=list(NAMES), help="some of the sides")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--quick", action="store_true", help="few short rounds, no memory; the figures are not kept")
    parser.add_argument("--check", action="store_true", help="compare the losses instead of the time")
    parser.add_argument("--steps", type=int, default=50, help="steps to compare the losses over")
    options = parser.parse_args()
    if options.check:
        sys.exit(int(compare(options.only, options.steps)))
    sides = [side for side in NAMES if side in {"textbook", *options.side}]
    rounds, seconds = (3, 0.3) if options.quick else (options.rounds, 2.0)
    result: report.Result = {
        "machine": machine.describe(),
        "commit": machine.commit(),
        "date": f"{datetime.now(UTC):%Y-%m-%d}",
        "limits": {},
        "cases": {name: {} for name in options.only},
    }
    for place, (device, threads) in machine.places(options.place).items():
        torch.set_num_threads(threads)
        limits = result["limits"][place] = machine.limits(device)
        print(f"{place}: {json.dumps(limits)}", flush=True)
        for name in options.only:
            found = measure(Arena(name, device), sides, threads, limits, rounds, seconds)
            result["cases"][name][place] = found
            for side, figures in found["sides"].items():
                print(f"{place}, {name}, {side}: {json.dumps(figures)}", flush=True)
    before = report.load(RESULTS)
    for sentence in report.falls(before, result):
        print(f"fell: {sentence}")
    if not options.quick:
        report.add(RESULTS, result)
        report.write_table(DOCUMENT, [*before, result])


def compare(names: list[str], steps: int) -> bool:
    """Print how far the losses of textbook and ganzoo differ, and return whether they differ anywhere."""
    torch.set_num_threads(1)
    failed = False
    for name in names:
        case = make_case(name, CHECKED.get(name))
        for dtype in TOLERANCE:
            difference = check(case, steps, dtype)
            failed |= not difference.small
            print(f"{name}, batches of {case.config.train.batch_size}, {difference}", flush=True)
    return failed


if __name__ == "__main__":
    main()
