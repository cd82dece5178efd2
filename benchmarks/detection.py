"""Telling generated from real: detectors trained on one generator of the zoo, or on all but one, tested on each.

    python benchmarks/detection.py [--images 1000] [--steps 200] [--minutes 14] [--out benchmarks/results/detection]

Of each data set and each kind of detector (``ganzoo detect train --method``) a detector is trained on each generator
alone and on all others, with the threshold for 5% of real images; it is tested on held-out images of every generator as
they are, and, where it was trained on the others, also after JPEG of quality 75 and after bicubic resizing to three
quarters. Real images are those of the data set, which the generators have seen. Written are FILE.json and FILE.png.
"""

import argparse
import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ganzoo import load_registry
from ganzoo.fields.drawing import figure
from ganzoo.images.plots import save_figure
from ganzoo_plugins.detection.corruption import Pixels, as_jpeg, rescaled
from ganzoo_plugins.detection.detector import drawn_images, scores
from ganzoo_plugins.detection.training import Settings, figures, split, train

ZOO = {
    "mnist5k": ("gan_fc", "dcgan", "wgan_gp_conv", "sngan", "r3gan", "began", "vaegan"),
    "shapes": ("aae", "acgan", "cgan_matching"),
}
CHANGES = {
    "as they are": lambda image: image,
    "JPEG 75": lambda image: as_jpeg(image, 75),
    "resized": lambda image: rescaled(image, 0.75),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=1000)
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--minutes", type=float, default=14, help="no detector is begun after so much CPU time")
    parser.add_argument("--data", choices=ZOO, nargs="+", default=list(ZOO))
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "detection")
    options = parser.parse_args()
    torch.set_num_threads(1)
    started, rows = time.process_time(), list[dict[str, Any]]()
    about = {"images": options.images, "steps": options.steps, "false_positive_rate": 0.05}
    for method in ("spectrum", "cnn"):
        for data in options.data:
            real = real_images(data, options.images)
            fakes = {key: drawn_images(f"zoo:{key}-{data}", options.images, seed=1) for key in ZOO[data]}
            # Leaving one out first: it is what the time is for, should there be too little.
            plan = [(f"all but {key}", [each for each in fakes if each != key], [key]) for key in fakes]
            plan += [(key, [key], list(fakes)) for key in fakes]
            for name, taught, tested in plan:
                if time.process_time() - started > 60 * options.minutes:
                    break
                settings = Settings(method, options.steps)
                trained = train(real, {key: fakes[key] for key in taught}, settings, quiet=True)
                held = {key: split(fakes[key], settings.seed)[2] for key in tested}
                for change in CHANGES if name not in fakes else ["as they are"]:
                    found = test(trained, split(real, settings.seed)[2], held, change)
                    row = {"data": data, "method": method, "trained_on": name, "change": change, "tested_on": found}
                    rows.append(row)
                    print(json.dumps(row), flush=True)
                options.out.parent.mkdir(parents=True, exist_ok=True)
                options.out.with_suffix(".json").write_text(json.dumps({**about, "rows": rows}, indent=1) + "\n")
    draw(options.out.with_suffix(".png"), rows)


def real_images(data: str, n: int) -> list[Pixels]:
    """Images of a data set, in color."""
    cls = load_registry().get("dataset", data).spec.load()
    dataset = cls(cls.Config())
    rows = torch.from_numpy(np.random.default_rng(0).permutation(len(dataset))[:n])
    images = dataset.batch(rows, torch.Generator().manual_seed(0))["x"].permute(0, 2, 3, 1).numpy()
    return list(images.repeat(3, axis=-1) if images.shape[-1] == 1 else images)


def test(trained: Any, real: Sequence[Pixels], held: dict[str, Sequence[Pixels]], change: str) -> dict[str, Any]:
    """Figures of each generator's held-out images beside the real ones, all of them changed alike."""

    def score(images: Sequence[Pixels]) -> Any:
        changed = [CHANGES[change](image) for image in images]
        return scores(lambda batch: trained.network(torch.from_numpy(batch)).numpy(), changed)

    beside = score(real)
    wrong = {"false_positives": float((beside > trained.threshold).mean())}
    return {key: figures(beside, score(images), trained.threshold) | wrong for key, images in held.items()}


def draw(path: Path, rows: Sequence[dict[str, Any]]) -> None:
    """A heat map of average precision for each data set and kind of detector."""
    panels = list(dict.fromkeys((row["method"], row["data"]) for row in rows))
    columns = len({data for _, data in panels})
    made, axes = figure(7 * columns, 4.6 * -(-len(panels) // columns), -(-len(panels) // columns), columns)
    for axis, (method, data) in zip(np.atleast_1d(axes).flatten(), panels, strict=False):
        own = [row for row in rows if (row["method"], row["data"]) == (method, data)]
        keys = ZOO[data]
        names = [*keys, *(f"all others, {change}" for change in CHANGES)]
        table = np.full((len(names), len(keys)), np.nan)
        for row in own:
            left = row["trained_on"] not in keys
            name = f"all others, {row['change']}" if left else row["trained_on"]
            for key, found in row["tested_on"].items():
                table[names.index(name), keys.index(key)] = found["average_precision"]
        axis.imshow(table, vmin=0.5, vmax=1, cmap="viridis", aspect="auto")
        for (line, column), value in np.ndenumerate(table):
            if np.isfinite(value):
                color = "white" if value < 0.8 else "black"
                axis.text(column, line, f"{value:.2f}", ha="center", va="center", color=color, fontsize=8)
        axis.set_xticks(range(len(keys)), keys, rotation=30, ha="right", fontsize=8)
        axis.set_yticks(range(len(names)), names, fontsize=8)
        axis.set(xlabel="tested on", ylabel="trained on")
        axis.set_title(f"Average precision, {method}, {data}", fontsize=10)
    save_figure(path, made)


if __name__ == "__main__":
    main()
