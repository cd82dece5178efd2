"""CTGAN on the tables that scikit-learn ships: what models that learn from drawn rows predict of real, held-out ones.

    python benchmarks/tables.py [--data iris wine breast_cancer diabetes] [--seeds 0-2] [--steps N] [--runs FOLDER]
    python benchmarks/tables.py --table

Each run is one ``ganzoo train --plugin ctgan --preset small --data NAME`` on one thread; the seed also decides which
fifth of the rows is held out. All metrics of tables are computed of 2,500 drawn rows and of the held-out ones, and
models trained on the training rows are the reference of ml_efficacy. A run that has its row in results/tables.json is
not done again, and several of these commands may run at the same time. ``--table`` prints the table of docs/results.md.
"""

import argparse
import fcntl
import json
import tempfile
import time
from pathlib import Path
from statistics import mean

import ganzoo
from ganzoo.files import write_atomic

RESULTS = Path(__file__).parent / "results" / "tables.json"
DATA = ("iris", "wine", "breast_cancer", "diabetes")
NAMES = {"logistic/accuracy": "logistic regression", "boosting/accuracy": "boosting", "ridge/r2": "ridge, R2",
         "boosting/r2": "boosting, R2"}  # fmt: skip


def rows() -> list[dict]:
    return json.loads(RESULTS.read_text())["rows"] if RESULTS.exists() else []


def add(row: dict) -> None:
    with RESULTS.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        done = [*rows(), row]
        done.sort(key=lambda each: (DATA.index(each["data"]), each["seed"]))
        write_atomic(RESULTS, json.dumps({"command": "python benchmarks/tables.py", "rows": done}, indent=1) + "\n")


def run(data: str, seed: int, steps: int | None, folder: Path) -> dict:
    start = time.perf_counter()
    rare = ["log_every=500", "sample_every=1000000", "checkpoint_every=1000000", "threads=1"]
    metrics = ("column_shapes", "column_pairs", "ml_efficacy", "distance_to_closest_record")
    trained = ganzoo.train(
        "ctgan",
        preset="small",
        data=data,
        sets=[*rare, f"data.split_seed={seed}"],
        steps=steps,
        seed=seed,
        device="cpu",
        without=(*metrics, "tensorboard"),
        out=folder,
        quiet=True,
    )
    seconds = time.perf_counter() - start
    found = ganzoo.evaluate(trained, metrics=metrics, quiet=True)
    return {
        "data": data,
        "seed": seed,
        "steps": steps or trained.document()["steps"],
        "seconds": round(seconds),
        "run": trained.path.name,
        "drawn": {name: round(value, 4) for name, value in found.figures.items()},
        "real": {name: round(value, 4) for name, value in found.reference.items()},
    }


def table() -> str:
    lines = ["| data | model | real rows | drawn rows | by seed | within 5 points |", "|---|---|---|---|---|---|"]
    for data in DATA:
        found = [row for row in rows() if row["data"] == data]
        for figure, name in NAMES.items():
            key = f"ml_efficacy/{figure}"
            pairs = [(row["real"][key], row["drawn"][key]) for row in found if key in row["drawn"]]
            if pairs:
                real, drawn = (mean(each) for each in zip(*pairs, strict=True))
                seeds = ", ".join(f"{value:.3f}" for _, value in pairs)
                held = "yes" if drawn >= real - 0.05 else "no"
                lines.append(f"| {data} | {name} | {real:.3f} | {drawn:.3f} | {seeds} | {held} |")
    lines += ["", "| data | column_shapes | column_pairs | nearer to training rows | copies |", "|---|---|---|---|---|"]
    keys = ("column_shapes/mean", "column_pairs/mean", "distance_to_closest_record/share",
            "distance_to_closest_record/copies")  # fmt: skip
    for data in DATA:
        if found := [row for row in rows() if row["data"] == data]:
            cells = [
                f"{mean(row['drawn'][key] for row in found):.3f} ({mean(row['real'][key] for row in found):.3f})"
                for key in keys
            ]
            lines.append(f"| {data} | {' | '.join(cells)} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", nargs="+", choices=DATA, default=DATA)
    parser.add_argument("--seeds", default="0-2")
    parser.add_argument("--steps", type=int)
    parser.add_argument("--runs", type=Path)
    parser.add_argument("--table", action="store_true")
    options = parser.parse_args()
    if options.table:
        print(table())
        return
    first, _, last = options.seeds.partition("-")
    with tempfile.TemporaryDirectory() as temporary:
        for seed in range(int(first), int(last or first) + 1):
            for data in options.data:
                if not any((row["data"], row["seed"]) == (data, seed) for row in rows()):
                    add(run(data, seed, options.steps, options.runs or Path(temporary)))


if __name__ == "__main__":
    main()
