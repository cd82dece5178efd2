"""Coarser arithmetic beside float32: the quality after equal steps, and on the CPU the time of a step.

    python benchmarks/precision.py [--seeds 0 1 2]     # quality; each training is kept as soon as it has ended
    python benchmarks/precision.py --speed             # times, both precisions in turn in one process
    python benchmarks/precision.py --table             # print both
    python benchmarks/precision.py --device cuda --out benchmarks/results/precision-cuda.json --models dcgan

Quality: every model at its defaults, but for the number of steps, on the digits of ``mnist5k``, on one CPU thread.
Of 5,000 samples of the averaged generator, drawn in float32: the project's own FID, and the independent classifier
(benchmarks/classifier.py, on which nothing was trained): the share to whose top class it gives more than 0.9, and the
Fréchet distance in its features to the training digits. A precision holds the quality of a model if no mean differs by
more than the standard deviation between seeds, or is better.

Speed: CPU time of a step, the median of the ratios over the rounds. Trainings that are in benchmarks/results/
precision.json already are not repeated; each row names its processor. Another processor's times belong into a file of
their own (``--out``).
"""

import argparse
import json
import statistics
import time
from itertools import product
from pathlib import Path
from typing import Any

import torch
from canon import _frechet, _moments
from classifier import WEIGHTS, evaluate, load
from training_speed import machine

from ganzoo import Loop, load_config, load_registry
from ganzoo.inference.sampling import draw_inputs
from ganzoo.runs import checkpoint

RESULTS = Path(__file__).parent / "results" / "precision.json"
STEPS = {"dcgan": 2_000, "wgan_gp_conv": 1_000, "acgan": 2_000, "r3gan": 1_000}
TIMED = {**dict.fromkeys(STEPS, 4), "gan_fc": 40}
"""Models, and the steps of a turn."""
PRECISIONS = {"cpu": ("fp32", "bf16"), "cuda": ("fp32", "tf32", "bf16")}
SAMPLES = 5_000
FIGURES = {"fid": (1, "FID"), "confident": (-1, "confident"), "frechet": (1, "Fréchet, classifier")}
"""What is compared: 1 where less is better, and its name in the table."""


def make(model: str, precision: str, seed: int, steps: int | None = None, device: str = "cpu") -> tuple[Any, Any, Loop]:
    """Return config, data set and training, as ``ganzoo train`` makes them."""
    flags: dict[str, Any] = {"seed": seed, "precision": precision, "device": device}
    flags |= {"data": {"name": "mnist5k"}, "metric": {"fid": {}}}
    config = load_config(load_registry(), model, flags=flags | ({"steps": steps} if steps else {}))
    dataset = config.build_dataset()
    checkpoint.seed_random(seed)
    trainer = config.build_trainer(dataset.spec)
    trainer.to(torch.device(device))
    return config, dataset, Loop(trainer, dataset, config.train)


def train(model: str, precision: str, seed: int, device: str) -> dict[str, Any]:
    """Train a model and return the figures of its samples."""
    config, dataset, loop = make(model, precision, seed, STEPS[model], device)
    loop.start_stream()
    began, since = time.process_time(), time.perf_counter()
    for _ in range(STEPS[model]):
        loop.advance()
        if loop.step % 100 == 0:
            loop.take_logs()
    spent, took = time.process_time() - began, time.perf_counter() - since
    network = next(iter(loop.exports().values())).eval().cpu()
    inputs = draw_inputs(network.signature, SAMPLES, 1)
    with torch.no_grad():
        drawn = torch.cat([network(*parts) for parts in zip(*(each.split(500) for each in inputs), strict=True)])
    low, high = network.signature.output.range
    drawn = ((drawn - low) / (high - low)).clamp(0, 1)
    classifier = load(WEIGHTS)
    metric = config.build_metrics(dataset)["fid"]
    metric.prepare(quiet=True)
    real, fake = (
        torch.cat([classifier.features(part) for part in images.split(500)]).detach().double()
        for images in (dataset.tensors["x"] / 255, drawn)
    )
    return {
        "model": model,
        "precision": precision,
        "seed": seed,
        "steps": STEPS[model],
        "cpu_seconds": round(spent, 1),
        "seconds": round(took, 1),
        "fid": round(next(iter(metric(drawn * 255, {}).values())), 3),
        "confident": round(evaluate(drawn, classifier)["confident"], 4),
        "frechet": round(_frechet(_moments(real), _moments(fake)), 3),
    }


def compare_speed(model: str, rounds: int) -> dict[str, Any]:
    """Return the milliseconds of a step in either precision, and the ratio."""
    loops = {precision: make(model, precision, 0)[2] for precision in PRECISIONS["cpu"]}
    times: dict[str, list[float]] = {precision: [] for precision in loops}
    for number in range(-1, rounds):  # the first round warms up
        for precision in sorted(loops, reverse=number % 2 == 0):
            began = time.process_time()
            for _ in range(TIMED[model]):
                loops[precision].advance()
            loops[precision].take_logs()
            if number >= 0:
                times[precision].append(1000 * (time.process_time() - began) / TIMED[model])
    ratios = [full / mixed for full, mixed in zip(times["fp32"], times["bf16"], strict=True)]
    return {
        **{f"{precision}_ms": round(statistics.median(values), 1) for precision, values in times.items()},
        "ratio": round(statistics.median(ratios), 2),
        "quartiles": [round(each, 2) for each in statistics.quantiles(ratios)[::2]],
        "rounds": rounds,
    }


def verdict(report: dict[str, Any], model: str, figure: str) -> tuple[list[str], bool]:
    """Return mean and deviation in each precision, and whether all are as good as float32."""
    of: dict[str, list[float]] = {}
    for row in report["quality"]:
        if row["model"] == model:
            of.setdefault(row["precision"], []).append(row[figure])
    mean = {precision: statistics.mean(values) for precision, values in of.items()}
    spread = max(statistics.stdev(values) for values in of.values())
    scale, form = (100, "{:.1f} ± {:.1f}%") if figure == "confident" else (1, "{:.2f} ± {:.2f}")
    said = [form.format(scale * mean[each], scale * statistics.stdev(values)) for each, values in of.items()]
    return said, all(FIGURES[figure][0] * (each - mean["fp32"]) <= spread for each in mean.values())


def table(report: dict[str, Any]) -> None:
    """Print the tables in Markdown."""
    columns = list(dict.fromkeys(row["precision"] for row in report["quality"]))
    print(*dict.fromkeys(row["environment"] for row in report["quality"]), sep="\n")
    print(f"\n| model | steps | figure | {' | '.join(columns)} | within the spread |")
    print("|" + "---|" * (4 + len(columns)))
    for model, figure in product(dict.fromkeys(row["model"] for row in report["quality"]), FIGURES):
        said, same = verdict(report, model, figure)
        cells = f"`{model}`", f"{STEPS[model]:,}", FIGURES[figure][1], *said, "yes" if same else "no"
        print(f"| {' | '.join(cells)} |")
    if "speed" in report:
        print("\n| model | fp32, ms a step | bf16 | ratio | quartiles |\n|---|---|---|---|---|")
    for model, row in report.get("speed", {}).items():
        quartiles = " to ".join(f"{each:.2f}" for each in row["quartiles"])
        print(f"| `{model}` | {row['fp32_ms']} | {row['bf16_ms']} | {row['ratio']:.2f} | {quartiles} |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--models", nargs="+", choices=STEPS, default=list(STEPS))
    parser.add_argument("--device", choices=PRECISIONS, default="cpu")
    parser.add_argument("--speed", action="store_true", help="time steps instead")
    parser.add_argument("--rounds", type=int, default=12)
    parser.add_argument("--table", action="store_true", help="print what was measured")
    parser.add_argument("--out", type=Path, default=RESULTS)
    options = parser.parse_args()
    torch.set_num_threads(1)
    environment = ", ".join(machine.describe().values())

    def known() -> dict[str, Any]:
        return json.loads(options.out.read_text()) if options.out.exists() else {"quality": []}

    def keep(report: dict[str, Any]) -> None:
        options.out.write_text(json.dumps(report, indent=1) + "\n")

    if options.table:
        return table(known())
    if options.speed:
        for model in TIMED:
            figures = compare_speed(model, options.rounds)
            report = known()  # read again: another process may have written meanwhile
            keep({**report, "speed": {**report.get("speed", {}), model: {**figures, "environment": environment}}})
            print(model, figures, flush=True)
        return None
    for seed, model, precision in product(options.seeds, options.models, PRECISIONS[options.device]):
        if any((row["model"], row["precision"], row["seed"]) == (model, precision, seed) for row in known()["quality"]):
            continue
        row = {**train(model, precision, seed, options.device), "environment": environment}
        report = known()
        keep({**report, "quality": [*report["quality"], row]})
        print(row, flush=True)
    return None


if __name__ == "__main__":
    main()
