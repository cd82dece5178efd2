"""The GANs of today at an equal budget, on small color images: FID, precision, recall, memorization, and pictures.

    python benchmarks/frontier.py train [MODEL ...] --minutes 60 [--data shapes] [--size 32] [--seeds 0] [--device cpu]
    python benchmarks/frontier.py train --data emoji --emoji emoji32.npz ...
    python benchmarks/frontier.py table

A model trains for so many minutes and is evaluated as it is then. On the CPU the budget is CPU time, ``--minutes`` of
two cores, so that it is the same whatever else the machine does; on a GPU it is time. It includes nothing but the
training: no metrics, no grids. What has its row for so many minutes is not done again, and with more ``--minutes`` a
run that is still in ``--runs`` goes on from where it was. Learning rates are constant, everything else is the
model's default, but for ``stylegan2-ada``, which is stylegan2 with ``ada`` at target 0.6 in 100,000 images.

``emoji`` are 1,336 emoji in two styles, uint8 [N, 32, 32, 3] in an .npz under ``noto`` and ``twemoji`` (Noto:
Apache-2.0; Twemoji: CC BY 4.0), with their categories in ``label`` and ``label_names``. Figures are those of
``ganzoo evaluate``, in the features of a classifier that is trained on the data set, and are compared only within
it; beside them are those of as many real images.
"""

import argparse
import json
import platform
from pathlib import Path
from typing import Any

import numpy as np
import torch
from budget import budget

import ganzoo
from ganzoo import Dataset, DataSpec, Image, Label, TensorDataset, load_config, load_registry

RESULTS = Path("benchmarks/results/frontier")
ADA = ("model.augment.policy=ada", "model.augment.target=0.6", "model.augment.images=100000")
MODELS = {
    "dcgan": ("dcgan", ()),
    "r3gan": ("r3gan", ()),
    "progan": ("progan", ()),
    "stylegan2": ("stylegan2", ()),
    "stylegan2-ada": ("stylegan2", ADA),
    "sagan": ("sagan", ()),
    "biggan": ("biggan", ()),
}
ENDLESS = 100_000_000
SETTINGS = ("lr_schedule=constant", "lr_warmup=0", f"sample_every={ENDLESS}", f"checkpoint_every={ENDLESS}")
METRICS = ("fid", "prdc", "memorization")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(required=True)
    train = commands.add_parser("train")
    train.add_argument("models", nargs="*", metavar="MODEL", help=", ".join(MODELS))
    train.add_argument("--minutes", type=float, default=60.0)
    train.add_argument("--data", nargs="+", choices=("shapes", "emoji"), default=["shapes"])
    train.add_argument("--size", type=int, default=32, help="side of the shapes in pixels")
    train.add_argument("--emoji", type=Path, help="the .npz of emoji")
    train.add_argument("--seeds", type=int, nargs="+", default=[0])
    train.add_argument("--device", default="cpu")
    train.add_argument("--samples", type=int, default=2000, help="what is drawn for the figures")
    train.add_argument("--runs", type=Path, default=Path("runs"))
    train.add_argument("--out", type=Path, default=RESULTS)
    train.set_defaults(action=_train)
    table = commands.add_parser("table")
    table.add_argument("--out", type=Path, default=RESULTS)
    table.set_defaults(action=_table)
    options = parser.parse_args()
    if unknown := set(getattr(options, "models", ())) - MODELS.keys():
        parser.error(f"unknown models: {', '.join(sorted(unknown))}")
    options.out.mkdir(parents=True, exist_ok=True)
    options.action(options)


def _train(options: argparse.Namespace) -> None:
    for seed in options.seeds:
        for data in options.data:
            dataset = emoji(options.emoji) if data == "emoji" else shapes(options.size)
            given: dict[str, Any] = {"data": dataset} if data == "emoji" else {}
            named = [] if given else shape_sets(options.size)
            for name in options.models or MODELS:
                _one(name, dataset, given, named, seed, options)


def _one(
    name: str, dataset: Dataset, given: dict[str, Any], named: list[str], seed: int, options: argparse.Namespace
) -> None:
    model, sets = MODELS[name]
    folder = options.runs / f"{name}-{dataset.spec.name}-{seed}"
    key = f"{dataset.spec.name}-{name}-{seed}-{options.device}"
    path = options.out / f"{key}.json"
    spent: float = json.loads(path.read_text())["minutes"] if path.exists() else 0
    if spent >= options.minutes:
        return
    begun = spent > 0 and folder.is_dir()
    device = options.device
    with budget(options.minutes - spent * begun, cpu=device == "cpu"):
        if begun:
            ganzoo.train(**given, resume=ganzoo.Run.open("last", folder), device=device, quiet=True)
        else:
            ganzoo.train(
                model,
                **given,
                steps=ENDLESS,
                sets=[*named, *sets, *SETTINGS],
                without=dataset.metrics,
                seed=seed,
                device=device,
                out=folder,
                quiet=True,
            )
    run = ganzoo.Run.open("last", folder)
    extractors = ["metric.fid.extractor=classifier", "metric.prdc.extractor=classifier"]
    found = ganzoo.evaluate(run, metrics=METRICS, **given, sets=extractors, n=options.samples, quiet=True)
    settings, sample = run.document(), dataset.spec.sample
    step = ganzoo.load(run).metadata["training"]["step"]
    assert isinstance(sample, Image)
    row = {
        "model": name,
        "data": dataset.spec.name,
        "images": len(dataset),
        "size": [sample.height, sample.width],
        "seed": seed,
        "minutes": options.minutes,
        "device": torch.cuda.get_device_name() if options.device == "cuda" else f"CPU, {platform.machine()}, 2 cores",
        "precision": settings["precision"],
        "steps": step,
        "images_seen": step * settings["batch_size"] * settings["accumulate"],
        "figures": {key: round(value, 4) for key, value in found.figures.items()},
        "real": {key: round(value, 4) for key, value in found.reference.items()},
    }
    ganzoo.load(run).save_grid(options.out / f"{key}.png", 64)
    path.write_text(json.dumps(row, indent=2) + "\n")
    print(key, row["images_seen"], row["figures"], flush=True)


def shape_sets(size: int) -> list[str]:
    """Return the settings of 30,000 shapes of that side, with their kind and hue."""
    return ["data.name=shapes", f"data.image_size={size}", "data.condition=classes", "data.size=30000"]


def shapes(size: int) -> Dataset:
    """Return these shapes."""
    return load_config(load_registry(), "cgan", sets=shape_sets(size)).build_dataset()


def emoji(path: Path) -> Dataset:
    """Return the emoji of both styles, with their categories."""
    with np.load(path, allow_pickle=False) as file:
        images = np.concatenate([file["noto"], file["twemoji"]]).transpose(0, 3, 1, 2)
        labels, names = np.tile(file["label"], 2), tuple(map(str, file["label_names"]))
    fields = (Image(3, *images.shape[2:], range=(0, 255)), Label(len(names), names))
    tensors = {"x": torch.from_numpy(images.copy()), "y": torch.from_numpy(labels.astype(np.int64))}
    return TensorDataset(DataSpec("emoji", fields, len(images)), tensors)


def _table(options: argparse.Namespace) -> None:
    rows = [json.loads(path.read_text()) for path in sorted(options.out.glob("*.json"))]
    for row in rows:
        row["fid"], row["recall"], row["copies"] = (
            _pick(row["figures"], word) for word in ("fid", "recall", "memorization")
        )
    print("| data | model | seed | device | minutes | images seen | FID | FID of real | recall | memorization |")
    print("|---|---|---|---|---|---|---|---|---|---|")
    for row in sorted(rows, key=lambda row: (row["data"], row["device"], row["fid"])):
        real = _pick(row["real"], "fid")
        print(
            f"| {row['data']} {row['size'][0]}x{row['size'][1]} | {row['model']} | {row['seed']} | {row['device']} | "
            f"{row['minutes']:g} | {row['images_seen']:,} | {row['fid']:.1f} | {real:.1f} | {row['recall']:.2f} | "
            f"{row['copies']:.2f} |"
        )


def _pick(figures: dict[str, float], word: str) -> float:
    return next((value for key, value in figures.items() if key.startswith(word) or f"/{word}" in key), float("nan"))


if __name__ == "__main__":
    main()
