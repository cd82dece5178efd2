"""PacGAN's protocol on mixtures of Gaussians (arXiv:1712.04086, section 4.1): modes found, share of good samples, KL.

    python benchmarks/mixtures.py [--layout ring grid] [--recipe plain mixture] [--seeds 0-9] [--runs FOLDER]
    python benchmarks/mixtures.py --plot benchmarks/results/mixtures.png --runs FOLDER

The ring has 8 modes at radius 1 with sigma 0.01, the grid 25 modes 2 apart with sigma 0.05. Of 2,500 samples, one is of
high quality within 3 sigma of the nearest center, and a mode is covered by one such sample; KL is that of the good
samples' distribution over the modes from the uniform one. "Spread" is the standard deviation of the good samples around
their centers in sigmas: a generator of points in place of Gaussians would have 100% of high quality and no spread.

Each run is one ``ganzoo train --plugin gan_fc --data gaussians`` on one thread: at the defaults for the recipe "plain",
with ``--preset mixture`` (grid) or ``--preset mixture_unit`` (ring) for the recipe "mixture". A run that has its row in
the results is not done again, and several of these commands may run at the same time.
"""

import argparse
import fcntl
import json
import tempfile
import time
from pathlib import Path
from statistics import mean

import matplotlib
import torch
from torch import Tensor

import ganzoo
from ganzoo import Run, fit, load_config, load_registry

RESULTS = Path(__file__).parent / "results" / "mixtures.json"
LAYOUTS = {
    "ring": {"layout": "ring", "modes": 8, "radius": 1.0, "sigma": 0.01},
    "grid": {"layout": "grid", "modes": 5, "spacing": 2.0, "sigma": 0.05},
}
PRESETS = {
    "plain": {"ring": None, "grid": None},
    "mixture": {"ring": "mixture_unit", "grid": "mixture"},
}
FIGURES = ("covered", "high_quality", "kl", "spread")
SAMPLES = 2500


def resolve(registry, layout, recipe, seed):
    flags = {"data": {"name": "gaussians", **LAYOUTS[layout]}, "seed": seed, "threads": 1, "device": "cpu"}
    return load_config(registry, "gan_fc", preset=PRESETS[recipe][layout], flags=flags)


def spread(samples: Tensor, dataset) -> float:
    """Return the standard deviation of the good samples [N, 2] around their centers, in sigmas."""
    distance = torch.cdist(samples, dataset.centers).min(dim=1).values / dataset.sigma
    good = distance[distance <= 3]
    return (good.square().mean() / 2).sqrt().item() if len(good) else 0.0


def evaluate(samples: Tensor, config, dataset) -> dict:
    figures = config.build_metrics(dataset)["modes"](samples, {})
    return {**figures, "spread": spread(samples, dataset)}


def train(registry, layout, recipe, seed, runs: Path) -> dict:
    config = resolve(registry, layout, recipe, seed)
    config = load_config(
        registry,
        flags={
            **config.to_dict(),
            "log_every": config.train.steps,
            "sample_every": config.train.steps,
            "checkpoint_every": config.train.steps,
        },
    )
    dataset = config.build_dataset()
    run = Run.create(runs / f"{layout}-{recipe}-{seed}", config, dataset.spec)
    started = time.perf_counter()
    fit(config, run, registry, dataset, quiet=True)
    seconds = time.perf_counter() - started
    samples = torch.from_numpy(ganzoo.load(run.path).sample(SAMPLES, seed=seed))
    figures = {key: round(value, 5) for key, value in evaluate(samples, config, dataset).items()}
    row = {"layout": layout, "recipe": recipe, "seed": seed, "steps": config.train.steps, "seconds": round(seconds)}
    return {**row, **figures}


def perfect(registry, layout, seeds) -> dict:
    """Return the means of what samples of the mixture itself get."""
    rows = []
    for seed in seeds:
        config = resolve(registry, layout, "plain", seed)
        flags = {**config.to_dict(), "data": {**LAYOUTS[layout], "name": "gaussians", "size": SAMPLES}}
        flags["data"]["sample_seed"] = seed + 1_000_000
        config = load_config(registry, flags=flags)
        dataset = config.build_dataset()
        rows.append(evaluate(dataset.tensors["x"], config, dataset))
    return {key: mean(row[key] for row in rows) for key in (*FIGURES, "of")}


def read(path: Path) -> list[dict]:
    return json.loads(path.read_text()) if path.is_file() and path.stat().st_size else []


def write(path: Path, row: dict) -> None:
    """Add a row under a lock, so that several processes may write to one file; one row a line."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a+") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        file.seek(0)
        text = file.read()
        rows = [*(json.loads(text) if text else []), row]
        rows.sort(key=lambda row: (row["layout"], row["recipe"], row["seed"]))
        file.truncate(0)
        file.write("[\n" + ",\n".join(json.dumps(row) for row in rows) + "\n]\n")


def show(registry, rows) -> None:
    print(
        f"{'layout':7}{'recipe':9}{'seeds':>5}  {'modes':>12}{'high quality':>14}{'KL':>9}{'spread':>8}{'seconds':>9}"
    )

    def line(layout, recipe, count, figures, seconds):
        modes = f"{figures['covered']:.1f} of {figures['of']:.0f}"
        print(
            f"{layout:7}{recipe:9}{count:5}  {modes:>12}{figures['high_quality']:14.1%}{figures['kl']:9.4f}"
            f"{figures['spread']:8.2f}{seconds:>9}"
        )

    for layout in LAYOUTS:
        for recipe in PRESETS:
            chosen = [row for row in rows if (row["layout"], row["recipe"]) == (layout, recipe)]
            if chosen:
                figures = {key: mean(row[key] for row in chosen) for key in (*FIGURES, "of")}
                line(layout, recipe, len(chosen), figures, f"{mean(row['seconds'] for row in chosen):.0f}")
        line(layout, "perfect", 10, perfect(registry, layout, range(10)), "")


def plot(registry, path: Path, runs: Path, seed: int) -> None:
    """Draw the data and what each recipe's run of the seed draws, a row of panels for each layout."""
    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(len(LAYOUTS), 1 + len(PRESETS), figsize=(9, 6), squeeze=False)
    for row, layout in zip(axes, LAYOUTS, strict=True):
        dataset = resolve(registry, layout, "plain", seed).build_dataset()
        panels = {"data": dataset.tensors["x"][:SAMPLES]}
        for recipe in PRESETS:
            found = sorted((runs / f"{layout}-{recipe}-{seed}").glob("[0-9]*-*"))
            if found:
                panels[recipe] = ganzoo.load(found[-1]).sample(SAMPLES, seed=seed)
        reach = 1.2 * dataset.centers.abs().max().item()
        for axis, title in zip(row, ["data", *PRESETS], strict=True):
            axis.set(title=f"{layout}: {title}", xlim=(-reach, reach), ylim=(-reach, reach), aspect="equal")
            axis.set(xticks=[], yticks=[])
            if title in panels:
                axis.scatter(panels[title][:, 0], panels[title][:, 1], s=1, alpha=0.4, linewidths=0)
    figure.tight_layout()
    figure.savefig(path, dpi=110)


def seed_range(text: str) -> range:
    first, _, last = text.partition("-")
    return range(int(first), int(last or first) + 1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--layout", nargs="+", choices=LAYOUTS, default=list(LAYOUTS))
    parser.add_argument("--recipe", nargs="+", choices=PRESETS, default=list(PRESETS))
    parser.add_argument("--seeds", type=seed_range, default=range(10), help="as 3, or 0-9")
    parser.add_argument("--out", type=Path, default=RESULTS)
    parser.add_argument("--runs", type=Path, help="keep the run folders here; --plot draws from them")
    parser.add_argument("--plot", type=Path, help="draw samples of the first seed's runs beside data, train nothing")
    options = parser.parse_args()
    registry = load_registry()
    if options.plot:
        if options.runs is None:
            parser.error("--plot draws from kept runs; name their folder with --runs")
        plot(registry, options.plot, options.runs, options.seeds[0])
        return
    with tempfile.TemporaryDirectory() as temporary:
        for seed in options.seeds:
            for layout in options.layout:
                for recipe in options.recipe:
                    wanted = (layout, recipe, seed)
                    if wanted in [(row["layout"], row["recipe"], row["seed"]) for row in read(options.out)]:
                        continue
                    row = train(registry, *wanted, options.runs or Path(temporary))
                    write(options.out, row)
                    print(
                        f"{layout} {recipe} seed {seed}: {row['covered']:.0f} of {row['of']:.0f} modes, "
                        f"{row['high_quality']:.1%} of high quality, KL {row['kl']:.4f}, spread {row['spread']:.2f}, "
                        f"{row['seconds']} s",
                        flush=True,
                    )
    show(registry, read(options.out))


if __name__ == "__main__":
    main()
