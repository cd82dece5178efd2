"""Directions fitted on drawn shapes, scored by an evaluator that reads the factors off the pixels.

    python benchmarks/directions.py MODEL [--method difference|svm] [--plain] [--out FILE.json]

MODEL is a generator of shapes: a run folder, an .onnx file or zoo:NAME. Half of the samples are labeled by
``Shapes.measure`` and a direction is fitted to each factor, by default without its share in the others; the other half
are moved along each direction over its range, in ``STEPS`` steps, and measured again. Of every direction:

    monotone    share of latents whose factor never falls by more than ``NOISE`` along the way; a way on which the
                shape is lost somewhere counts as not monotone
    moved       how far the factor comes from one end to the other
    others      the same for each other factor, relative to ``moved``

Distances are in units of a factor's spread, the mean distance between two samples; so that of the shape is how often it
changes. The hue is a circle: its directions are for its cosine and its sine, which are not each other's others.
A direction passes that is monotone for 95 % of latents and moves every other factor less than a quarter as much.
"""

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

import ganzoo
from ganzoo.files import write_atomic
from ganzoo_plugins.datasets.shapes import Shapes
from ganzoo_plugins.latent.directions import describe, fit, held_out, project_out
from ganzoo_plugins.latent.editing import Editor

FITTED = ("size", "left", "top", "hue_cos", "hue_sin")
OTHERS = ("size", "left", "top", "hue", "rotation", "shape")
STEPS = 9
NOISE = 0.05  # of a factor's spread
MONOTONE, ASIDE = 0.95, 0.25
KNOWN = 0.2  # correlation from which a factor's direction is more than chance, and taken out of the others
Factors = dict[str, NDArray[np.float64]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("--samples", type=int, default=4000, help="labeled for the fit")
    parser.add_argument("--latents", type=int, default=500, help="moved along each direction")
    parser.add_argument("--method", choices=["difference", "svm"], default="difference")
    parser.add_argument("--plain", action="store_true", help="do not take the others' share out of a direction")
    parser.add_argument("--reach", type=float, help="strengths to either side; the fitted ones if left out")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, help="a JSON file for the figures")
    options = parser.parse_args()
    asked = {"seed": options.seed, "truncation": 1.0, "label": None, "attributes": None}
    editor = Editor(ganzoo.load(options.model), asked)
    known = editor.latents(range(options.samples))
    factors = measure(editor, known, np.arange(options.samples))
    spreads = {name: mean(distance(name, values, np.roll(values, 1))) for name, values in factors.items()}
    plain, correlations = {}, {}
    for name, values in (factors | kinds(factors)).items():
        there = np.isfinite(values)
        if name not in ("hue", "rotation", "shape") and np.ptp(values[there]) > 0:
            plain[name] = fit(known[there], values[there], options.method)
            correlations[name] = held_out(known[there], values[there], options.method)
    fresh = editor.latents(range(options.samples, options.samples + options.latents))
    numbers = np.arange(options.samples, options.samples + options.latents)
    results = {}
    for name in FITTED:
        vector = plain[name]
        if not options.plain:
            vector = project_out(
                vector, [other for key, other in plain.items() if key != name and correlations[key] > KNOWN]
            )
        low, high = describe(editor.field, vector, options.method)["range"]
        if options.reach is not None:
            low, high = -options.reach, options.reach
        step = vector.reshape(editor.field.shape).astype(np.float32)
        strengths = np.linspace(low, high, STEPS, dtype=np.float32)
        way = [measure(editor, fresh + strength * step, numbers) for strength in strengths]
        results[name] = {"correlation": correlations[name], "range": [low, high], **score(name, way, spreads)}
        show(name, results[name])
    lost = 1 - float(np.isfinite(factors["size"]).mean())
    print(f"{lost:.1%} of samples are not recognized; spreads: {json.dumps(spreads)}", file=sys.stderr)
    if options.out is not None:
        document = {"model": options.model, "method": options.method, "conditional": not options.plain}
        document |= {"samples": options.samples, "latents": options.latents, "lost": lost, "directions": results}
        write_atomic(options.out, json.dumps(document, indent=1) + "\n")


def measure(editor: Editor, latents: NDArray[np.float32], numbers: NDArray[Any]) -> Factors:
    """Return the factors of what latents, [N, ...], give, [N] each; not-a-number for what is not recognized."""
    measure = Shapes(Shapes.Config(image_size=max(16, editor.output.height), size=1, condition="none")).measure
    parts = []
    for start in range(0, len(latents), 500):
        images = editor.draw(latents[start : start + 500], numbers[start : start + 500])
        measured = measure(torch.from_numpy(np.ascontiguousarray(images.transpose(0, 3, 1, 2))))
        parts.append({name: values.double().numpy() for name, values in measured.items()})
    found = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    found["shape"] = np.where(found["shape"] < 0, np.nan, found["shape"])
    turn = 2 * np.pi * found["hue_turn"]
    points = np.array([np.nan, 0, 4, 3, 5, 0])[np.nan_to_num(found["shape"], nan=-1).astype(int) + 1]
    rotation = np.where(points > 0, found["rotation"] * points, np.nan)  # round shapes have none
    return {name: found[name] for name in ("size", "left", "top", "shape")} | {
        "hue": found["hue_turn"],
        "hue_cos": np.cos(turn),
        "hue_sin": np.sin(turn),
        "rotation": rotation,
        "rotation_cos": np.cos(2 * np.pi * rotation),
        "rotation_sin": np.sin(2 * np.pi * rotation),
    }


def kinds(factors: Factors) -> Factors:
    """Return for each shape whether a sample is of it, 0 or 1, or not-a-number."""
    shape = factors["shape"]
    return {f"shape_{kind}": np.where(np.isnan(shape), np.nan, shape == kind) for kind in np.unique(shape[shape >= 0])}


def distance(name: str, a: NDArray[np.float64], b: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return how far values of a factor are apart; not-a-number where one of them is."""
    apart = np.abs(a - b)
    if name == "shape":
        return np.where(np.isnan(apart), np.nan, apart > 0)
    return np.minimum(apart % 1, 1 - apart % 1) if name in ("hue", "rotation") else apart


def mean(values: NDArray[np.float64]) -> float:
    """Return the mean of what is a number; 0 where nothing is."""
    there = values[np.isfinite(values)]
    return float(there.mean()) if there.size else 0.0


def score(name: str, way: list[Factors], spreads: dict[str, float]) -> dict[str, Any]:
    """Evaluator one direction by the factors, [N] each, at every step along it."""
    values = np.stack([step[name] for step in way], axis=1) / (spreads[name] or np.inf)
    never_falls = (np.diff(values, axis=1) > -NOISE).all(axis=1)  # false where anything is not a number
    moved = mean(values[:, -1] - values[:, 0])
    own = name.partition("_")[0]
    others = {
        other: mean(distance(other, way[0][other], way[-1][other])) / (spreads[other] * abs(moved) or np.inf)
        for other in OTHERS
        if other != own
    }
    monotone = float(never_falls.mean())
    passes = monotone >= MONOTONE and all(aside < ASIDE for aside in others.values())
    return {"monotone": monotone, "moved": moved, "others": others, "passes": passes}


def show(name: str, result: dict[str, Any]) -> None:
    others = ", ".join(f"{other} {aside:.2f}" for other, aside in result["others"].items())
    verdict = "passes" if result["passes"] else "fails"
    print(
        f"{name:8} {verdict}: correlation {result['correlation']:.2f}, monotone {result['monotone']:.1%}, "
        f"moved {result['moved']:.2f}; others: {others}"
    )


if __name__ == "__main__":
    main()
