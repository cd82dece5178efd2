"""Evaluates a model that draws 28x28 digits by a classifier that it never saw, beside as many real digits.

    python benchmarks/classifier.py --root MNIST_FOLDER          # once; its weights are in benchmarks/results
    python benchmarks/digits.py MODEL [--real MNIST_FOLDER] [--out benchmarks/results/digits.json]

MODEL is whatever ``ganzoo sample`` takes. "Confident" is the share of samples to whose top class the classifier gives
a probability above 0.9; "digits" is the share of each class among all samples. Real digits are the test part of MNIST,
on which nothing was trained.
"""

import argparse
import json
from pathlib import Path

import torch
from classifier import WEIGHTS, evaluate, load

import ganzoo

SAMPLES = 2000


def rounded(figures: dict) -> dict:
    return {
        key: [round(each, 4) for each in value] if isinstance(value, list) else round(value, 4)
        for key, value in figures.items()
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("--real", type=Path, help="a folder with MNIST as torchvision lays it out")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()

    classifier = load(WEIGHTS)
    sampler = ganzoo.load(options.model)
    low, high = sampler.metadata["signature"]["output"]["range"]
    samples = torch.from_numpy(sampler.sample(SAMPLES, seed=options.seed))
    model = sampler.metadata["model"]
    training = sampler.metadata["training"]
    report = {"model": model, "training": training, "samples": SAMPLES, "seed": options.seed}
    report["drawn"] = rounded(evaluate((samples - low) / (high - low), classifier))
    if options.real:
        from torchvision.datasets import MNIST

        images = MNIST(options.real, train=False).data[:SAMPLES, None] / 255
        report["real"] = rounded(evaluate(images, classifier))
    for name in ("drawn", "real"):
        if name in report:
            figures = report[name]
            print(
                f"{name:6} confident {figures['confident']:.1%}, each digit {min(figures['digits']):.1%} to "
                f"{max(figures['digits']):.1%}"
            )
    if options.out:
        options.out.write_text(json.dumps(report, indent=2) + "\n")


if __name__ == "__main__":
    main()
