"""Models of captions and of series with their defaults, evaluated by the metrics of their data.

    python benchmarks/captions_and_series.py [text2image wgan_gp_seq rcgan] [--seeds 0 1 2] [--runs FOLDER]
    python benchmarks/captions_and_series.py --run RUN
    python benchmarks/captions_and_series.py --table

Each training runs on one thread without metrics in between. Its figures are written to results/captions_and_series, and
what has a file there is not trained again. ``--run`` evaluates a run that is trained already. ``--table`` prints the
tables of docs/results.md.
"""

import argparse
import json
from collections import defaultdict
from pathlib import Path
from statistics import mean

import ganzoo
from ganzoo.files import write_atomic

RESULTS = Path(__file__).parent / "results" / "captions_and_series"
METRICS = {
    "text2image": ("caption_accuracy",),
    "wgan_gp_seq": ("marginal", "autocorrelation", "tstr"),
    "rcgan": ("marginal", "autocorrelation", "tstr"),
}
SETS = {"rcgan": ("data.classes=3",)}
SHOWN = {
    "caption_accuracy/seen/all": "seen",
    "caption_accuracy/held_out/all": "held out",
    "caption_accuracy/left_out/values": "values of what is left out",
    "marginal/mean": "marginal",
    "autocorrelation/mean": "autocorrelation",
    "tstr/error": "TSTR error",
    "tstr/accuracy": "TSTR accuracy",
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="*", metavar="MODEL", help=", ".join(METRICS))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--runs", type=Path, default=Path("runs"))
    parser.add_argument("--run", type=Path, help="a trained run, in place of training")
    parser.add_argument("--table", action="store_true")
    options = parser.parse_args()
    if unknown := {*options.models} - {*METRICS}:
        parser.error(f"unknown models: {', '.join(sorted(unknown))}")
    RESULTS.mkdir(parents=True, exist_ok=True)
    if options.table:
        table()
    elif options.run:
        evaluate(ganzoo.Run.open(options.run))
    else:
        for model in options.models or METRICS:
            for seed in options.seeds:
                if not (RESULTS / f"{model}-{seed}.json").exists():
                    evaluate(train(model, seed, options.runs))


def train(model: str, seed: int, runs: Path) -> ganzoo.Run:
    sets = ("threads=1", "sample_every=2000", "checkpoint_every=2000", *SETS.get(model, ()))
    return ganzoo.train(model, sets=sets, seed=seed, without=(*METRICS[model], "tensorboard"), device="cpu", out=runs)


def evaluate(run: ganzoo.Run) -> None:
    config = run.config(ganzoo.load_registry())
    found = ganzoo.evaluate(run, metrics=METRICS[config.model.key], quiet=True)
    seconds, before = 0.0, 0  # of the steps alone, not of metrics and grids
    for row in run.metrics():
        if "samples_per_second" in row:
            seconds += (row["step"] - before) * config.train.batch_size / row["samples_per_second"]
            before = row["step"]
    result = {
        "model": config.model.key,
        "data": config.data.key,
        "seed": config.train.seed,
        "steps": config.train.steps,
        "minutes": round(seconds / 60, 1),
        "drawn": {key: round(value, 4) for key, value in found.figures.items()},
        "real": {key: round(value, 4) for key, value in found.reference.items()},
    }
    write_atomic(RESULTS / f"{config.model.key}-{config.train.seed}.json", json.dumps(result, indent=1) + "\n")
    print(json.dumps(result))


def table() -> None:
    rows = defaultdict(list)
    for file in sorted(RESULTS.glob("*.json")):
        row = json.loads(file.read_text())
        rows[row["model"]].append(row)
    for model, runs in rows.items():
        names = [name for name in SHOWN if name in runs[0]["drawn"]]
        print(
            f"| model | seeds | minutes | {' | '.join(SHOWN[name] for name in names)} |\n|{'---|' * (3 + len(names))}"
        )
        cells = []
        for name in names:
            drawn = ", ".join(f"{run['drawn'][name]:.3f}" for run in runs)
            cells.append(f"{drawn} ({mean(run['real'][name] for run in runs):.3f})")
        minutes = mean(run["minutes"] for run in runs)
        print(f"| `{model}` | {len(runs)} | {minutes:.0f} | {' | '.join(cells)} |\n")


if __name__ == "__main__":
    main()
