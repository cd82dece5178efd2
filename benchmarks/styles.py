"""What styles are good for, on a style-based generator of shapes: truncation in W, and directions in W beside Z.

    python benchmarks/styles.py MODEL [--out FOLDER] [--psi 0.3 0.5 0.7 0.85 1] [--seeds 3] [--method difference|svm]

MODEL is a run folder, an .onnx file or zoo:NAME, trained on ``shapes``. FOLDER gets styles.json and truncation.png.

Truncation: precision and recall at each psi, as ``truncation.py`` takes them. Of as many pairs as ``--samples`` the
metric ``path_length`` is taken in W and in Z.

Directions: ``Shapes.measure`` reads the factors off the pixels of ``--labeled`` samples. To each factor a direction is
fitted in W and, from the same samples, in Z. Other latents are moved along it, equally far to either side, in ``STEPS``
steps up to ``REACH`` standard deviations. Both directions are then compared where they move the wanted factor equally,
by ``MOVED`` of its spread, or as far as both reach if that is less: ``others`` says how far the other factors are moved
there, in units of their own spread. A spread is the mean distance of two samples; so that of the shape is how often it
changes. A latent counts where the shape is recognized at both ends; ``lost`` is the share where it is not. The hue is a
circle: its directions are for its cosine and its sine, which are not each other's others. The claim is that the mean
of the others is less in W, over all ``--seeds``.
"""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from directions import OTHERS, distance, mean, measure
from numpy.typing import NDArray
from truncation import plot, truncation

import ganzoo
from ganzoo import Image, TrainedModel, UserError
from ganzoo.files import write_atomic
from ganzoo_plugins.datasets.shapes import Shapes
from ganzoo_plugins.latent.directions import fit, held_out
from ganzoo_plugins.latent.editing import Editor
from ganzoo_plugins.metrics.path_length import PathLength

FITTED = ("size", "hue_cos", "hue_sin")
STEPS, REACH = 8, 3.0
MOVED = 1.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("--psi", type=float, nargs="+", default=[0.3, 0.5, 0.7, 0.85, 1.0])
    parser.add_argument("--samples", type=int, default=2500, help="drawn at each psi")
    parser.add_argument("--labeled", type=int, default=4000, help="samples that a direction is fitted to")
    parser.add_argument("--latents", type=int, default=500, help="moved along each direction")
    parser.add_argument("--method", choices=["difference", "svm"], default="difference")
    parser.add_argument("--seeds", type=int, default=3, help="how often directions are fitted, to other samples")
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/styles"))
    options = parser.parse_args()
    model = ganzoo.load(options.model)
    options.out.mkdir(parents=True, exist_ok=True)
    found: dict[str, Any] = {"model": options.model, "training": model.metadata.get("training", {})}
    output = model.signature.output
    if not isinstance(output, Image):
        raise UserError(f"{model} draws no images")
    dataset = Shapes(Shapes.Config(image_size=output.height))
    found["truncation"] = truncation(model, dataset, sorted(options.psi), options.samples)
    plot(options.out / "truncation.png", f"Truncation in W: {Path(options.model).name}", found["truncation"])
    found["path length"] = path_lengths(model, dataset, options.samples)
    rows = [row for seed in range(options.seeds) for row in directions(model, seed, options)]
    found["directions"] = {"method": options.method, "rows": rows, "others": summary(rows)}
    write_atomic(options.out / "styles.json", json.dumps(found, indent=1) + "\n")


def path_lengths(model: TrainedModel, dataset: Shapes, n: int) -> dict[str, float]:
    """Return the perceptual path lengths in W and in Z, named by the extractor."""
    found: dict[str, float] = {}
    for space in ("w", "z"):
        found |= PathLength(PathLength.Config.model_validate({"samples": n, "space": space}), dataset).probe(model, 0)
    print("path length: " + ", ".join(f"{name} {value:.4g}" for name, value in found.items()), flush=True)
    return found


def directions(model: TrainedModel, seed: int, options: argparse.Namespace) -> list[dict[str, Any]]:
    """Return of each factor what its directions in W and in Z move, where they move the factor itself equally."""
    asked = {"seed": seed, "truncation": 1.0, "label": None, "attributes": None}
    latent = next(field.name for field in model.signature.inputs if field.kind == "latent")
    editors = {"w": Editor(model, asked, "w"), "z": Editor(model, asked, latent)}
    known, fresh = range(options.labeled), range(options.labeled, options.labeled + options.latents)
    drawn = {space: editor.latents([*known, *fresh]) for space, editor in editors.items()}
    factors = measure(editors["w"], drawn["w"][: len(known)], np.array(known))
    spreads = {name: mean(distance(name, values, np.roll(values, 1))) for name, values in factors.items()}
    rows = []
    for name in FITTED:
        there = np.isfinite(factors[name])
        row: dict[str, Any] = {"factor": name, "seed": seed}
        ways = {}
        for space, editor in editors.items():
            points = editor.vectors(drawn[space][: len(known)])
            fitted = points[there], factors[name][there], options.method
            vector, row[space] = fit(*fitted), {"correlation": held_out(*fitted)}
            step = vector * (points @ vector).std()
            if space == "z":
                step = step.reshape(editor.field.shape)
            ways[space] = way(editor, name, drawn[space][len(known) :], np.array(fresh), step, spreads)
        row["moved"] = min(MOVED, *(max(each["moved"] for each in steps) for steps in ways.values()))
        for space, steps in ways.items():
            row[space] |= at(steps, row["moved"])
        rows.append(row)
        show(row)
    return rows


def way(
    editor: Editor,
    name: str,
    latents: NDArray[np.float32],
    numbers: NDArray[Any],
    step: NDArray[np.float64],
    spreads: dict[str, float],
) -> list[dict[str, float]]:
    """Return, for each distance along a direction, how far the factor and the others are moved from end to end."""
    found = [{"deviations": 0.0, "moved": 0.0, "lost": 0.0, **dict.fromkeys(_others(name), 0.0)}]
    for reach in np.linspace(0, REACH, STEPS + 1)[1:]:
        low, high = (measure(editor, (latents + sign * reach * step).astype(np.float32), numbers) for sign in (-1, 1))
        seen = np.isfinite(low["shape"]) & np.isfinite(high["shape"]) & np.isfinite(high[name] - low[name])
        apart = {other: distance(other, low[other], high[other])[seen] for other in _others(name)}
        moved = {other: mean(values) / (spreads[other] or np.inf) for other, values in apart.items()}
        wanted = mean((high[name] - low[name])[seen]) / (spreads[name] or np.inf)
        found.append({"deviations": float(reach), "moved": wanted, "lost": 1 - float(seen.mean()), **moved})
    return found


def at(steps: Sequence[dict[str, float]], moved: float) -> dict[str, Any]:
    """Return the figures, between two steps, where the factor is first moved so far; none if it is not moved at all."""
    later = next((index for index, each in enumerate(steps) if index and each["moved"] >= moved), None)
    if moved <= 0 or later is None:
        return {"others": {}, "mean": float("nan")}
    one, other = steps[later - 1], steps[later]
    share = (moved - one["moved"]) / (other["moved"] - one["moved"])
    here = {key: float((1 - share) * one[key] + share * other[key]) for key in one}
    others = {key: here[key] for key in OTHERS if key in here}
    return {
        "deviations": here["deviations"],
        "lost": here["lost"],
        "others": others,
        "mean": mean(np.array([*others.values()])),
    }


def summary(rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Return of each factor the mean over seeds of how far the others are moved, and how often less in W than in Z."""
    found: dict[str, Any] = {}
    for name in FITTED:
        pairs = [(row["w"]["mean"], row["z"]["mean"]) for row in rows if row["factor"] == name]
        w, z = (mean(np.array(column)) for column in zip(*pairs, strict=True))
        found[name] = {"w": w, "z": z, "less in w": sum(one < other for one, other in pairs), "of": len(pairs)}
        print(f"{name:8} others: w {w:.3f}, z {z:.3f}; less in w in {found[name]['less in w']} of {len(pairs)} seeds")
    return found


def show(row: dict[str, Any]) -> None:
    """Print the figures of a factor, a line each for W and Z."""
    for space in ("w", "z"):
        found = row[space]
        others = ", ".join(f"{other} {value:.2f}" for other, value in found["others"].items())
        print(
            f"{row['factor']:8} seed {row['seed']}  {space}: moved {row['moved']:.2f}, others {found['mean']:.3f} "
            f"({others}); correlation {found['correlation']:.2f}, lost {found.get('lost', 1):.1%}",
            flush=True,
        )


def _others(name: str) -> list[str]:
    return [other for other in OTHERS if other != name.partition("_")[0]]


if __name__ == "__main__":
    main()
