"""What truncation trades: precision and recall of a model's samples at several truncations, and a picture of both.

    python benchmarks/truncation.py MODEL [--at 0.25 0.5 1 1.5 2 3] [--samples 2500] [--out FOLDER]

MODEL is a run folder, an .onnx file or zoo:NAME, trained on a data set that needs no settings. The same latents are
drawn at each truncation, and at last without any, and compared with as many images of the data set by the metric
``prdc``. The claim is that with the truncation, recall never falls and precision never rises. FOLDER gets NAME.json and
NAME.png, where NAME is the model's.
"""

import argparse
import json
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch

import ganzoo
from ganzoo import Dataset, TrainedModel, load_registry
from ganzoo.files import write_atomic
from ganzoo_plugins.metrics.distances import PRDC


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("--at", type=float, nargs="+", default=[0.25, 0.5, 1.0, 1.5, 2.0, 3.0])
    parser.add_argument("--samples", type=int, default=2500, help="drawn at each truncation")
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/truncation"))
    options = parser.parse_args()
    model, name = ganzoo.load(options.model), Path(options.model.removeprefix("zoo:")).stem
    data = load_registry().get("dataset", model.metadata["data"]["name"]).spec.load()
    found = truncation(model, data(data.Config()), [*sorted(options.at), None], options.samples)
    options.out.mkdir(parents=True, exist_ok=True)
    write_atomic(options.out / f"{name}.json", json.dumps({"model": options.model, **found}, indent=1) + "\n")
    plot(options.out / f"{name}.png", f"Truncation: {name}", found)


def truncation(
    model: TrainedModel, dataset: Dataset, truncations: Sequence[float | None], samples: int
) -> dict[str, Any]:
    """Return precision and recall at each, those of real images, and whether the one falls and the other rises."""
    metric = PRDC(PRDC.Config(samples=samples), dataset)
    metric.prepare()

    def two(figures: dict[str, float]) -> dict[str, float]:
        return {name: figures[f"{metric.extractor.name}/{name}"] for name in ("precision", "recall")}

    rows: list[dict[str, Any]] = []
    for at in truncations:
        drawn = model.signature.output.decode(torch.from_numpy(model.sample(samples, seed=0, truncation=at)))
        rows.append({"truncation": at, **two(metric(drawn, {}))})
        print(f"{at}: precision {rows[-1]['precision']:.3f}, recall {rows[-1]['recall']:.3f}", flush=True)
    real = two(metric.reference())
    holds = {
        "precision falls": all(one["precision"] >= next_["precision"] for one, next_ in pairwise(rows)),
        "recall rises": all(one["recall"] <= next_["recall"] for one, next_ in pairwise(rows)),
    }
    print(f"real: precision {real['precision']:.3f}, recall {real['recall']:.3f}; {json.dumps(holds)}", flush=True)
    return {"samples": samples, "rows": rows, "real": real, **holds, "evaluator": metric.metadata()}


def plot(path: Path, title: str, found: dict[str, Any]) -> None:
    """Draw precision and recall over the truncation, beside those of real images."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(6, 4), layout="constrained")
    at = ["none" if row["truncation"] is None else f"{row['truncation']:g}" for row in found["rows"]]
    for color, key in (("C0", "precision"), ("C1", "recall")):
        axes.plot(at, [row[key] for row in found["rows"]], color, marker="o", label=key)
        axes.axhline(found["real"][key], color=color, linestyle=":", label=f"{key} of real images")
    axes.set(xlabel="truncation", ylabel="share of samples", ylim=(0, 1.02), title=title)
    axes.grid(alpha=0.3)
    axes.legend()
    figure.savefig(path, dpi=110)
    plt.close(figure)


if __name__ == "__main__":
    main()
