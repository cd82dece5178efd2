"""Translation learnt without pairs, and with them, held against the truth.

    python benchmarks/translation.py train MODEL ... [--data shapes_styles|mnist_styles] [--set ...] [--seed 0]
    python benchmarks/translation.py train MODEL ... --emoji emoji32.npz     emoji in two drawing styles
    python benchmarks/translation.py table

``train`` is ``ganzoo train --plugin MODEL`` on one thread. What counts are pairs that are never trained on: 500 of the
data set's own, or 300 of the 1,336 emoji. L1 is the mean difference from the true counterpart, as a share of the range
of pixels; the gain is how many times nearer the translation is than the image that went in; "matched" is the share of
translations whose nearest neighbor, by L1, among all the true counterparts is their own. Both directions are evaluated.
"""

import argparse
import json
import shutil
import tempfile
import time
from pathlib import Path

import numpy as np
from PIL import Image

from ganzoo import Run, fit, load_config, load_registry

RESULTS = Path("benchmarks/results/translation")
HELD_OUT = 300  # emoji


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(required=True)
    train = commands.add_parser("train")
    train.add_argument("models", nargs="+")
    train.add_argument("--data", default="shapes_styles")
    train.add_argument("--emoji", type=Path)
    train.add_argument("--seed", type=int, default=0)
    train.add_argument("--set", dest="sets", action="append", default=[], help="as for ganzoo train")
    train.add_argument("--runs", type=Path, default=Path("runs"))
    train.set_defaults(action=_train)
    table = commands.add_parser("table")
    table.set_defaults(action=lambda options: print("\n".join(_table())))
    options = parser.parse_args()
    options.action(options)


def _train(options: argparse.Namespace) -> None:
    with tempfile.TemporaryDirectory() as folder:
        data = {"name": options.data}
        if options.emoji is not None:
            data = {"name": "unpaired", **write_emoji(options.emoji, Path(folder))}
        for model in options.models:
            _one(model, data, "emoji" if options.emoji else options.data, options)


def _one(model: str, data: dict, name: str, options: argparse.Namespace) -> None:
    registry = load_registry()
    flags = {"data": data, "seed": options.seed, "threads": 1, "device": "cpu"}
    config = load_config(registry, model, sets=options.sets, flags=flags)
    dataset = config.build_dataset()
    run = Run.create(options.runs, config, dataset.spec)
    cpu, wall = time.process_time(), time.perf_counter()
    fit(config, run, registry, dataset, quiet=True)
    figures = {key: value for key, value in run.metrics()[-1].items() if key.startswith("translation/")}
    row = {
        "model": model,
        "data": name,
        "paired": dataset.spec.paired,
        "seed": options.seed,
        "steps": config.train.steps,
        "cpu_minutes": round((time.process_time() - cpu) / 60, 1),
        "minutes": round((time.perf_counter() - wall) / 60, 1),
        "settings": options.sets,
        **{key.removeprefix("translation/"): round(value, 5) for key, value in figures.items()},
    }
    RESULTS.mkdir(parents=True, exist_ok=True)
    path = RESULTS / f"{model}-{name}-{options.seed}.json"
    path.write_text(json.dumps(row, indent=2) + "\n")
    for grid in sorted(run.samples.glob(f"{config.train.steps:06d}*.png")):
        shutil.copy(grid, path.with_name(path.stem + grid.stem.removeprefix(f"{config.train.steps:06d}") + ".png"))
    print(run.path, row, flush=True)


def write_emoji(file: Path, folder: Path) -> dict[str, str]:
    """Write the emoji of an .npz as images, the last 300 apart, and return the settings of the data set."""
    arrays = np.load(file, allow_pickle=False)
    order = np.random.default_rng(0).permutation(len(arrays["noto"]))
    parts = {"": order[:-HELD_OUT], "test_": order[-HELD_OUT:]}
    settings = {}
    for domain, style in (("a", "noto"), ("b", "twemoji")):
        for prefix, rows in parts.items():
            home = folder / f"{prefix}{domain}"
            home.mkdir()
            for row in rows:
                Image.fromarray(arrays[style][row]).save(home / f"{row:04d}.png")
            settings[f"{prefix}{domain}"] = str(home)
    return settings


def _table() -> list[str]:
    lines = ["| model | data | steps | CPU minutes | way | L1 of input | L1 | gain | matched |", "|" + "---|" * 9]
    for path in sorted(RESULTS.glob("*.json")):
        row = json.loads(path.read_text())
        for way, prefix in (("a to b", ""), ("b to a", "b_to_a/")):
            if f"{prefix}l1" not in row:
                continue
            before, gain = (row.get(f"{prefix}{key}") for key in ("input_l1", "gain"))
            figures = (
                f"{'' if before is None else f'{before:.4f}'} | {row[f'{prefix}l1']:.4f} | "
                f"{'' if gain is None else f'{gain:.1f}'} | {row[f'{prefix}matched']:.1%}"
            )
            data = f"{row['data']}{', in pairs' if row['paired'] else ''}"
            about = f"`{row['model']}` | {data} | {row['steps']} | {row['cpu_minutes']}"
            lines.append(f"| {about} | {way} | {figures} |")
    return lines


if __name__ == "__main__":
    main()
