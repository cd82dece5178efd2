"""What a model of other images is worth to start from: fine-tuning beside a training from scratch, at equal steps.

    python benchmarks/finetuning.py train [--data emoji --emoji emoji32.npz | --data outlines] [--size 32]
        [--steps 4000] [--source RUN | --source-steps 6000] [--frozen 2 ...] [--seeds 0]
    python benchmarks/finetuning.py plot        # draws and compares again what is in benchmarks/results/finetuning

The source is a run of the same model on ``shapes``, which is trained first unless it is given. The target is another
data set of the same size: ``emoji`` (see frontier.py), or ``outlines``, other shapes of which only the edge is drawn.
A model is trained on it from scratch, from the source's weights (``--from``), and from these with so many layers of the
discriminator ``--frozen``. Learning rates are constant; a step costs all of them the same CPU time, but for frozen
layers, and it is measured. At ``SHARES`` of the steps the FID to the target is taken.

The claim is that fine-tuning has the FID that scratch has at the end after a quarter of its CPU time.
"""

import argparse
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib
import torch
from frontier import emoji, shape_sets, shapes
from points import fid, stops

import ganzoo
from ganzoo import Dataset, DataSpec, TensorDataset, load_config, load_registry
from ganzoo_plugins.datasets.shapes import Shapes, draw

RESULTS = Path("benchmarks/results/finetuning")
SHARES = (1 / 32, 1 / 16, 1 / 8, 1 / 4, 1 / 2, 3 / 4, 1)
SCRATCH = "from scratch"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(required=True)
    train = commands.add_parser("train")
    train.add_argument("--model", default="stylegan2")
    train.add_argument("--data", choices=("emoji", "outlines"), default="outlines")
    train.add_argument("--emoji", type=Path, help="the .npz of emoji")
    train.add_argument("--size", type=int, default=32, help="side of the shapes in pixels")
    train.add_argument("--steps", type=int, default=4000)
    train.add_argument("--source", type=Path, help="a run on shapes")
    train.add_argument("--source-steps", type=int, default=6000)
    train.add_argument("--frozen", type=int, nargs="*", default=[])
    train.add_argument("--seeds", type=int, nargs="+", default=[0])
    train.add_argument("--set", dest="sets", action="append", default=[], help="as for ganzoo train")
    train.add_argument("--runs", type=Path, default=Path("runs"))
    train.add_argument("--out", type=Path, default=RESULTS)
    train.set_defaults(action=_train)
    plot = commands.add_parser("plot")
    plot.add_argument("--out", type=Path, default=RESULTS)
    plot.set_defaults(action=lambda options: _show(options.out))
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    options.action(options)


def _train(options: argparse.Namespace) -> None:
    target = emoji(options.emoji) if options.data == "emoji" else outlines(options.size)
    common = {"out": options.runs, "without": ["fid"]}
    sets = ["lr_schedule=constant", *options.sets]
    source = ganzoo.Run.open(options.source) if options.source else None
    if source is None:
        settings = {"steps": options.source_steps, "sets": [*sets, *_silent(options.source_steps)]}
        source = ganzoo.train(options.model, data=shapes(options.size), quiet=True, **common, **settings)
    learned = ganzoo.load(source).metadata["training"]["step"]
    sides: dict[str, dict[str, Any]] = {SCRATCH: {}, "fine-tuned": {"from_": source}}
    for layers in options.frozen:
        freeze = [f"freeze_discriminator={layers}"]
        sides[f"fine-tuned, {layers} layers frozen"] = {"from_": source, "sets": freeze}
    steps = sorted({max(round(options.steps * share), 1) for share in SHARES})
    for seed in options.seeds:
        for side, more in sides.items():
            settings = {**more, "sets": [*sets, *_silent(options.steps), *more.get("sets", ())], "seed": seed}
            points = []
            for step, run, minutes in stops(steps, options.model, target, **common, **settings):
                points.append({"step": step, "cpu_minutes": minutes, **fid(run, target)})
                print(side, seed, points[-1], flush=True)
            image = target.spec.sample.shape
            row = {"model": options.model, "data": target.spec.name, "image": image, "images": len(target)}
            row |= {"side": side, "seed": seed, "source_steps": learned, "sets": settings["sets"], "points": points}
            name = f"{options.model}-{target.spec.name}-{image[-1]}-{side.replace(', ', '-').replace(' ', '_')}-{seed}"
            (options.out / f"{name}.json").write_text(json.dumps(row, indent=2) + "\n")
    _show(options.out)


def _silent(steps: int) -> list[str]:
    """Return settings of a training of so many steps that draws and keeps nothing on its way."""
    return [f"sample_every={steps}", f"checkpoint_every={steps}"]


def outlines(size: int) -> Dataset:
    """Return 30,000 outlined shapes, none of which is in ``shapes``, with their kind and hue."""
    sets = [*shape_sets(size), "data.sample_seed=1"]
    drawn = load_config(load_registry(), "cgan", sets=sets).build_dataset()
    assert isinstance(drawn, Shapes)
    parts = torch.arange(len(drawn)).split(1000)
    images = [draw({key: each[part] for key, each in drawn.factors.items()}, size, line=size / 16) for part in parts]
    labels = {field.name: drawn.factors[field.name] for field in drawn.spec.fields[1:]}
    return TensorDataset(DataSpec("outlines", drawn.spec.fields, len(drawn)), {"x": torch.cat(images), **labels})


def reached(scratch: Mapping[str, Any], other: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return the other's first point whose FID is at most the one that scratch ends with, and its share of the time."""
    end = scratch["points"][-1]
    for point in other["points"]:
        if point["fid"] <= end["fid"]:
            return {**point, "share": point["cpu_minutes"] / end["cpu_minutes"]}
    return None


def _show(folder: Path) -> None:
    """Draw the curves of each data set, and say when each fine-tuning is where scratch ends."""
    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    rows = [json.loads(path.read_text()) for path in sorted(folder.glob("*.json"))]
    for model, data, size in sorted({(row["model"], row["data"], row["image"][-1]) for row in rows}):
        these = [row for row in rows if (row["model"], row["data"], row["image"][-1]) == (model, data, size)]
        scratch = {row["seed"]: row for row in these if row["side"] == SCRATCH}
        figure, axes = plt.subplots(figsize=(6, 4), layout="constrained")
        sides = sorted({row["side"] for row in these}, key=lambda side: (side != SCRATCH, side))
        for row in these:
            _curve(axes, row, f"C{sides.index(row['side'])}")
            if row["side"] != SCRATCH and row["seed"] in scratch:
                end, there = scratch[row["seed"]]["points"][-1], reached(scratch[row["seed"]], row)
                said = f"after {there['step']} steps, {there['share']:.0%} of its time" if there else "not reached"
                print(f"{data} {size}x{size}, {row['side']}, seed {row['seed']}: scratch's {end['fid']} {said}")
        axes.axhline(these[0]["points"][-1]["fid_real"], color="gray", linestyle=":", label="real images")
        axes.set(xlabel="minutes of CPU time", ylabel="FID (classifier of the data set)", xscale="log", yscale="log")
        # The ticks of a logarithmic axis of one decade overlap.
        axes.set_xticks([point["cpu_minutes"] for point in these[0]["points"]], minor=False)
        axes.xaxis.set_major_formatter("{x:.2g}")
        axes.minorticks_off()
        axes.set_title(f"{model} on {data} of {size}x{size}, from shapes and from scratch")
        axes.grid(alpha=0.3)
        axes.legend()
        figure.savefig(folder / f"{model}-{data}-{size}.png", dpi=110)
        plt.close(figure)


def _curve(axes: Any, row: Mapping[str, Any], color: str) -> None:
    points: Sequence[Mapping[str, Any]] = row["points"]
    minutes, found = ([point[key] for point in points] for key in ("cpu_minutes", "fid"))
    axes.plot(minutes, found, color=color, marker="o", label=f"{row['side']}, seed {row['seed']}")


if __name__ == "__main__":
    main()
