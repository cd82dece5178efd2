"""What adaptive augmentation brings with few images, and what it costs.

    python benchmarks/ada.py train [--model stylegan2] [--data shapes] [--images 1000] [--steps 6000] [--seeds 1]
    python benchmarks/ada.py train --data emoji --emoji emoji32.npz ...       # see frontier.py
    python benchmarks/ada.py plot            # draws again what is in benchmarks/results/ada
    python benchmarks/ada.py cost            # one thread, CPU time
    python benchmarks/ada.py picture         # docs/pictures/ada.png

``train`` takes ``--images`` images of a data set, evenly, without labels, and trains a model on them with and without
``ada`` at target 0.6, for equal steps. As the strength has to follow within such a short training, its speed,
``--adapt``, is a fifth of the training's images from 0 to 1 unless given. At ``--points`` steps 2,000 samples of the
averaged generator are compared with the whole data set: FID in the features of the data set's own classifier, beside
that of as many real images; and the memorization of the images that were trained on.

``cost`` is what the augmentation of one image takes, without gradients (as in a discriminator step, twice an image) and
with (as in a generator step), beside a discriminator step of dcgan and of stylegan2 at their defaults.
"""

import argparse
import json
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

import torch
from frontier import emoji
from points import fid, stops

import ganzoo
from ganzoo import Augment, AugmentConfig, Dataset, DataSpec, Image, load_config, load_registry

RESULTS = Path("benchmarks/results/ada")
SIDES = {"without": (), "ada": ("model.augment.policy=ada", "model.augment.target=0.6")}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(required=True)
    train = commands.add_parser("train")
    train.add_argument("--model", default="stylegan2")
    train.add_argument("--data", default="shapes", help="the name of a data set, or emoji")
    train.add_argument("--emoji", type=Path, help="the .npz of emoji")
    train.add_argument("--images", type=int, default=1000)
    train.add_argument("--steps", type=int, default=6000)
    train.add_argument("--points", type=int, default=6, help="how often it is evaluated")
    train.add_argument("--seeds", type=int, nargs="+", default=[0])
    train.add_argument("--sides", nargs="+", choices=SIDES, default=list(SIDES))
    train.add_argument("--adapt", type=int, help="model.augment.images: from 0 to 1 in so many images")
    train.add_argument("--set", dest="sets", action="append", default=[], help="as for ganzoo train")
    train.add_argument("--runs", type=Path, help="keep the run folders here")
    train.add_argument("--out", type=Path, default=RESULTS)
    train.set_defaults(action=_train)
    plot = commands.add_parser("plot")
    plot.add_argument("--out", type=Path, default=RESULTS)
    plot.set_defaults(action=lambda options: _plot(options.out))
    cost = commands.add_parser("cost")
    cost.add_argument("--rounds", type=int, default=9)
    cost.add_argument("--out", type=Path, default=RESULTS)
    cost.set_defaults(action=_cost)
    picture = commands.add_parser("picture", help="draw eight real images as they are and with p = 0.2, 0.5 and 0.8")
    picture.add_argument("--out", type=Path, default=Path("docs/pictures"))
    picture.set_defaults(action=_picture)
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    options.action(options)


def _train(options: argparse.Namespace) -> None:
    dataset = emoji(options.emoji) if options.data == "emoji" else labeled(options.data)
    rows = torch.arange(options.images) * len(dataset) // options.images
    few = dataset.batch(rows, torch.Generator())["x"]
    every = max(options.steps // options.points, 1)
    with tempfile.TemporaryDirectory() as temporary:
        for seed in options.seeds:
            for side in options.sides:
                sets = ["lr_schedule=constant", f"checkpoint_every={every}", *SIDES[side], *options.sets]
                batch = load_config(load_registry(), options.model, sets=sets).train.batch_size
                if side == "ada":
                    sets.append(f"model.augment.images={options.adapt or max(options.steps * batch // 5, 1)}")
                points = []
                steps, out = range(every, options.steps + 1, every), options.runs or Path(temporary)
                settings = {"sets": sets, "seed": seed, "out": out, "without": ["fid"]}
                for step, run, minutes in stops(steps, options.model, few, **settings):
                    points.append(_evaluated(run, dataset, few) | {"step": step, "images": step * batch})
                    points[-1]["cpu_minutes"] = minutes
                    print(side, seed, points[-1], flush=True)
                row = {
                    **{key: getattr(options, key) for key in ("model", "data", "images", "steps")},
                    "side": side,
                    "seed": seed,
                    "sets": sets,
                    "cpu_minutes": points[-1]["cpu_minutes"],
                    "points": points,
                }
                name = f"{options.model}-{options.data}-{options.images}-{side}-{seed}.json"
                (options.out / name).write_text(json.dumps(row, indent=2) + "\n")
    _plot(options.out)


def labeled(name: str) -> Dataset:
    """Return a data set with the classes that its classifier learns."""
    sets = [f"data.name={name}", *["data.condition=class"] * (name == "shapes")]
    return load_config(load_registry(), "cgan", sets=sets).build_dataset()


def _evaluated(run: ganzoo.Run, data: Dataset, few: torch.Tensor) -> dict[str, float]:
    """Return the FID to the whole data set, that of real images, the copies of the few, and the probability."""
    found = fid(run, data)
    copied = ganzoo.evaluate(run, metrics=["memorization"], data=few, n=500, quiet=True)
    found |= {key.replace("/", "_"): round(value, 4) for key, value in copied.figures.items()}
    p = [row["discriminator/augment_p"] for row in run.metrics() if "discriminator/augment_p" in row]
    return {**found, "p": round(p[-1], 4)} if p else found


def _plot(folder: Path) -> None:
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    rows = [json.loads(path.read_text()) for path in sorted(folder.glob("*-*-*.json"))]
    for model, data, images in sorted({(row["model"], row["data"], row["images"]) for row in rows}):
        figure, (left, right) = plt.subplots(1, 2, figsize=(10, 4), layout="constrained")
        for row in rows:
            if (row["model"], row["data"], row["images"]) != (model, data, images):
                continue
            x = [point["images"] / 1000 for point in row["points"]]
            color = "C1" if row["side"] == "ada" else "C0"
            label = f"{'with ADA' if row['side'] == 'ada' else 'without'}, seed {row['seed']}"
            left.plot(x, [point["fid"] for point in row["points"]], color=color, marker="o", label=label)
            if row["side"] == "ada":
                right.plot(x, [point["p"] for point in row["points"]], color=color, marker="o", label=label)
            real = row["points"][-1]["fid_real"]
        left.axhline(real, color="gray", linestyle=":", label="real images")
        left.set(xlabel="thousand real images seen", ylabel="FID (classifier of the data set)", yscale="log")
        left.set_title(f"{model} on {images:,} images of {data}")
        right.set(xlabel="thousand real images seen", ylabel="probability p", ylim=(0, 1))
        right.set_title("strength of adaptive augmentation, target 0.6")
        for axes in (left, right):
            axes.grid(alpha=0.3)
            if axes.has_data():
                axes.legend()
        figure.savefig(folder / f"{model}-{data}-{images}.png", dpi=110)
        plt.close(figure)


def _cost(options: argparse.Namespace) -> None:
    torch.set_num_threads(1)
    found = []
    for shape in ((1, 28, 28), (3, 32, 32), (3, 64, 64)):
        works = _works(torch.rand(32, *shape) * 2 - 1)
        spent: dict[str, list[float]] = {name: [] for name in works}
        for turn in range(options.rounds + 1):
            for name, work in works.items():
                started = time.process_time()
                work()
                if turn:
                    spent[name].append((time.process_time() - started) / 32 * 1e6)
        row = {"images": shape} | {name: round(median(each)) for name, each in spent.items()}
        print(row, flush=True)
        found.append(row)
    document = {"unit": "microseconds of CPU time an image, one thread, median", "batch": 32, "rows": found}
    (options.out / "cost.json").write_text(json.dumps(document, indent=2) + "\n")


def _picture(options: argparse.Namespace) -> None:
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    sets = ["data.name=shapes", "data.image_size=64"]
    images = load_config(load_registry(), "dcgan", sets=sets).build_dataset().batch(torch.arange(8), torch.Generator())
    probabilities = (0.0, 0.2, 0.5, 0.8)
    figure, axes = plt.subplots(len(probabilities), 8, figsize=(8, 4.3), layout="constrained")
    torch.manual_seed(1)
    for row, p in zip(axes, probabilities, strict=True):
        changed = Augment(AugmentConfig(policy="ada", probability=p), (0.0, 1.0))(images["x"] / 255)
        row[0].set_ylabel(f"p = {p:g}")
        for place, image in zip(row, changed, strict=True):
            place.imshow(image.permute(1, 2, 0).clamp(0, 1))
            place.set(xticks=[], yticks=[])
    figure.suptitle("Real images as the discriminator sees them under ada")
    figure.savefig(options.out / "ada.png", dpi=80)


def _works(real: torch.Tensor) -> dict[str, Callable[[], object]]:
    """Return what is measured, by name."""
    augment = Augment(AugmentConfig(policy="ada", probability=0.6), (-1.0, 1.0))
    other = Augment(AugmentConfig(policy=("color", "translation", "cutout"), probability=0.6), (-1.0, 1.0))
    learned = real.clone().requires_grad_()
    models = ["dcgan"] + ["stylegan2"] * (real.shape[2] % 16 == 0)
    return {
        "ada": lambda: augment(real),
        "ada with gradient": lambda: augment(learned).sum().backward(),
        "color, translation, cutout": lambda: other(real),
        **{f"discriminator step of {model}": _step(model, real) for model in models},
    }


def _step(model: str, real: torch.Tensor) -> Callable[[], None]:
    spec = DataSpec("made", (Image(*real.shape[1:], range=(0, 255)),), 64)
    trainer = load_config(load_registry(), model).build_trainer(spec)
    optimizer = trainer.optimizers["discriminator"]

    def step() -> None:
        optimizer.zero_grad()
        trainer.discriminator_loss({"x": real})["loss"].backward()
        optimizer.step()

    return step


if __name__ == "__main__":
    main()
