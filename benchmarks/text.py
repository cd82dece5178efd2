"""GANs of text beside maximum likelihood at an equal budget, on an oracle and on a grammar.

    python benchmarks/text.py train [MODEL ...] --minutes 60 [--data oracle grammar] [--seeds 0 1 2]
    python benchmarks/text.py table
    python benchmarks/text.py temperatures

A GAN trains for so many minutes of two cores, counted in CPU time, so that it is the same whatever else the machine
does, or for the steps in ``STEPS``, and is evaluated as it is then; no metrics are computed in between. With more steps
``text_mle`` learns the data by heart, and is worse. ``oracle`` is SeqGAN's task: 10,000 sequences
of 20 tokens out of 5,000, drawn from an LSTM with random weights. ``grammar`` are sentences of a grammar, of which
``--grammar`` names one. All settings are the models' defaults but for those in ``SETS``.

A result is written as soon as it is there, one file for each model, data set and seed, and what has one is not trained
again unless ``--again``. ``text_mle`` is sampled at several temperatures. The table compares each GAN with it at the
temperature at which it is as good (as many sentences accepted, or the same NLL by the oracle), as Language GANs Falling
Short (arXiv:1811.02549) asks for. ``temperatures`` draws from the zoo's models of the grammar, for the figures that
need nothing but samples: BLEU and Self-BLEU, the Frechet distance, and what is copied.
"""

import argparse
import json
import platform
import time
from pathlib import Path
from typing import Any

import torch
from budget import budget
from torch import Tensor

import ganzoo
from ganzoo import Dataset, Metric, load_config, load_registry
from ganzoo.files import write_atomic

RESULTS = Path("benchmarks/results/text")
ENDLESS = 100_000_000
TEMPERATURES = (1.5, 1.25, 1.0, 0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3)
SETS: dict[tuple[str, str], tuple[str, ...]] = {
    # Ten steps by rewards of 4 roll-outs lower the NLL as the paper's 16 do (from 9.08 to 8.86 and 8.90), and a
    # step takes 4 seconds of CPU time, not 15. The average is over the last of the hundred steps by rewards alone.
    ("seqgan", "oracle"): (
        "model.mle_steps=18800",
        "model.warmup_steps=2000",
        "model.roll_outs=4",
        "model.discriminator_steps=5",
        "ema=0.95",
    ),
    ("seqgan", "grammar"): ("model.filters=0.25", "model.mle_steps=1000", "model.warmup_steps=500"),
    ("scratchgan", "oracle"): (),
    ("text_mle", "oracle"): ("model.hidden_dim=32",),  # as seqgan and the paper
}
ZOO = ("text_mle", "scratchgan")
OF_SAMPLES = {"grammar": 5_000, "bleu": 500, "frechet_text": 5_000, "copies": 5_000}
"""Metrics that ask samples alone, and how many of them."""
STEPS = {
    ("text_mle", "oracle"): 18_800,
    ("seqgan", "oracle"): 18_900,
    ("text_mle", "grammar"): 2_000,
    ("scratchgan", "grammar"): 6_000,
}
"""On the oracle 120 epochs of likelihood, as the paper; of scratchgan its own, over which learning rates fall."""
MODELS = ("text_mle", "seqgan", "scratchgan")
JUDGED = {"grammar": ("grammar", "accepted"), "oracle": ("nll_oracle", "nll")}
"""The metric of a data set, and its figure by which models are equally good."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(required=True)
    train = commands.add_parser("train")
    train.add_argument("models", nargs="*", metavar="MODEL", help=", ".join(MODELS))
    train.add_argument("--minutes", type=float, default=60.0)
    train.add_argument("--data", nargs="+", choices=tuple(JUDGED), default=list(JUDGED))
    train.add_argument("--grammar", default="english")
    train.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    train.add_argument("--threads", type=int, default=2)
    train.add_argument("--samples", type=int, default=5000, help="what is drawn for the figures")
    train.add_argument("--set", dest="sets", action="append", default=[], help="a setting for all of them")
    train.add_argument("--again", action="store_true", help="train what has a result already, too")
    train.add_argument("--runs", type=Path, default=Path("runs"))
    train.add_argument("--out", type=Path, default=RESULTS)
    train.set_defaults(action=_train)
    table = commands.add_parser("table")
    table.add_argument("--out", type=Path, default=RESULTS)
    table.set_defaults(action=_table)
    temperatures = commands.add_parser("temperatures")
    temperatures.add_argument("--at", type=float, nargs="+", default=[1.25, 1.0, 0.7, 0.4])
    temperatures.add_argument("--out", type=Path, default=RESULTS.parent)
    temperatures.set_defaults(action=_temperatures)
    options = parser.parse_args()
    if unknown := set(getattr(options, "models", ())) - {*MODELS}:
        parser.error(f"unknown models: {', '.join(sorted(unknown))}")
    options.out.mkdir(parents=True, exist_ok=True)
    options.action(options)


def _train(options: argparse.Namespace) -> None:
    torch.set_num_threads(options.threads)
    for seed in options.seeds:
        for data in options.data:
            called = f"{data}-{options.grammar}" if data == "grammar" else data
            dataset = load_config(load_registry(), "text_mle", sets=_asked(data, options.grammar)).build_dataset()
            for model in options.models or MODELS:
                path = options.out / f"{called}-{model}-{seed}.json"
                if options.again or not path.exists():
                    row = {"data": called, **_one(model, data, dataset, seed, options)}
                    write_atomic(path, json.dumps(row, indent=2) + "\n")
                    print(path.stem, row["steps"], row["figures"], flush=True)


def _asked(data: str, grammar: str) -> list[str]:
    return [f"data.name={data}", *([f"data.grammar={grammar}"] if data == "grammar" else [])]


def _one(model: str, data: str, dataset: Dataset, seed: int, options: argparse.Namespace) -> dict[str, Any]:
    """Train a model for its budget and return its row."""
    every = (f"{kind}_every={ENDLESS}" for kind in ("sample", "checkpoint"))
    sets = [*SETS.get((model, data), ()), *options.sets]
    folder = options.runs / f"text-{data}-{model}-{seed}"
    started = time.time()
    with budget(options.minutes):
        ganzoo.train(
            model,
            steps=STEPS.get((model, data), ENDLESS),
            sets=[*_asked(data, options.grammar), *sets, f"threads={options.threads}", *every],
            without=dataset.metrics,
            seed=seed,
            device="cpu",
            out=folder,
            quiet=True,
        )
    trained = ganzoo.load(ganzoo.Run.open("last", folder))
    row = {
        "model": model,
        "seed": seed,
        "minutes": options.minutes,
        "hours_passed": round((time.time() - started) / 3600, 2),
        "device": f"CPU, {platform.machine()}",
        "settings": sets,
        "steps": trained.metadata["training"]["step"],
        "figures": _figures(trained, data, dataset, options.samples),
        "real": _rounded(_metric(JUDGED[data][0], dataset, options.samples).reference()),
        "samples": _sentences(trained, 8),
    }
    if model == "text_mle":
        row["sweep"] = {
            str(heat): _figures(trained, data, dataset, options.samples, heat, likelihood=False)
            for heat in TEMPERATURES
        }
    return row


def _figures(
    trained: ganzoo.TrainedModel,
    data: str,
    dataset: Dataset,
    n: int,
    temperature: float = 1.0,
    *,
    likelihood: bool = True,
) -> dict[str, float]:
    """Return the figures of samples at a temperature, and the likelihood of test data."""
    tokens = _drawn(trained, n, temperature)
    figures = _metric(JUDGED[data][0], dataset, n)(tokens, {})
    if likelihood:
        found = _metric("nll_test", dataset, n).probe(trained.sampler, 0)
        figures |= {f"test_{key}": value for key, value in found.items()}
    return _rounded(figures)


def _drawn(trained: ganzoo.TrainedModel, n: int, temperature: float) -> Tensor:
    rows = trained.sampler.stream(n, seed=0, attributes={"temperature": temperature})
    return torch.cat([trained.signature.output.decode(torch.from_numpy(each)) for each, _ in rows])


def _temperatures(options: argparse.Namespace) -> None:
    dataset = load_config(load_registry(), "text_mle", sets=_asked("grammar", "english")).build_dataset()
    metrics = {key: _metric(key, dataset, n) for key, n in OF_SAMPLES.items()}
    found = {"real": {key: value for each in metrics.values() for key, value in _rounded(each.reference()).items()}}
    for model in ZOO:
        trained = ganzoo.load(f"zoo:{model}-grammar")
        for heat in options.at:
            tokens = _drawn(trained, max(OF_SAMPLES.values()), heat)
            figures: dict[str, float] = {}
            for key, metric in metrics.items():
                figures |= _rounded(metric(tokens[: OF_SAMPLES[key]], {}))
            found[f"{model} at {heat:g}"] = figures
    write_atomic(options.out / "text_temperatures.json", json.dumps(found, indent=1) + "\n")
    print(f"| | {' | '.join(found['real'])} |\n|{'---|' * (1 + len(found['real']))}")
    for name, row in found.items():
        print(f"| {name} | {' | '.join(f'{row[key]:.3f}' if key in row else '' for key in found['real'])} |")


def _metric(key: str, dataset: Dataset, n: int) -> Metric:
    cls: type[Metric] = load_registry().get("metric", key).spec.load()
    return cls(cls.Config(samples=n), dataset)


def _sentences(trained: ganzoo.TrainedModel, n: int) -> list[str]:
    found = trained.signature.output.stored(trained.sampler.sample(n, seed=0))
    return [str(each) for each in (found["text"] if found.dtype.names else found).tolist()]


def _rounded(figures: dict[str, float]) -> dict[str, float]:
    return {key: round(float(value), 4) for key, value in figures.items()}


def _table(options: argparse.Namespace) -> None:
    rows = [json.loads(path.read_text()) for path in sorted(options.out.glob("*.json"))]
    likely = {(row["data"], row["seed"]): row["sweep"] for row in rows if "sweep" in row}
    print("| data | model | seed | minutes | steps | judged | unique | NLL test | equal text_mle: T, judged, unique |")
    print("|---|---|---|---|---|---|---|---|---|")
    for row in sorted(rows, key=lambda row: (row["data"], row["model"], row["seed"])):
        by = JUDGED[row["data"].partition("-")[0]][1]
        found, real = row["figures"], row["real"]
        print(
            f"| {row['data']} | {row['model']} | {row['seed']} | {row['minutes']:g} | {row['steps']:,} | "
            f"{found[by]:.3f} ({real.get(by, float('nan')):.3f}) | {found['unique']:.3f} ({real['unique']:.3f}) | "
            f"{found.get('test_nats', float('nan')):.3f} | {_equal(row, likely.get((row['data'], row['seed'])), by)} |"
        )
    print("\nIn brackets: real sentences. Judged: accepted by the grammar, or NLL by the oracle, in nats a token.")


def _equal(row: dict[str, Any], sweep: dict[str, dict[str, float]] | None, by: str) -> str:
    """Return maximum likelihood's figures at the temperature at which it is nearest to a row by this figure."""
    if sweep is None or row["model"] == "text_mle":
        return ""
    heat, found = min(sweep.items(), key=lambda each: abs(each[1][by] - row["figures"][by]))
    return f"{heat}, {found[by]:.3f}, {found['unique']:.3f}"


if __name__ == "__main__":
    main()
