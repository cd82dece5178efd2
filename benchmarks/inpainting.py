"""Holes in images that were never trained on, filled by a model and by two simple ways.

    python benchmarks/inpainting.py MODEL --real FOLDER_WITH_MNIST

MODEL is a run or a file of ``inpaint`` or ``inpaint_z``, trained on mnist5k or on shapes. 1,000 images, MNIST test
digits or shapes of another seed, each with a rectangular hole of a quarter to half of its sides. Beside the model: the
hole filled with the mean of its surroundings (of the pixels around it, by channel), and with the pixels of the training
image that is nearest, by L1, in what can be seen. L1 is the mean difference in the hole, as a share of the range;
"recognized" is the share in which the evaluator (benchmarks/classifier.py for digits, ``Shapes.measure`` for shapes)
sees the class of the whole image; for the whole images themselves it is the ceiling. Of a model with a latent, "apart"
is the mean L1 in the hole between two fillings of the same hole; of 16 fillings the three that differ most are chosen
(a pair, then the one that is farthest from its nearer one), and "three_apart" is the share of holes in which each two
of the three are at least 0.25 apart. A second grid shows the three in the 16 holes where they differ most.
"""

import argparse
import json
from pathlib import Path

import numpy as np
import torch
from classifier import WEIGHTS, load
from torch import Tensor

import ganzoo
from ganzoo import Signature, load_config, load_registry
from ganzoo.images.grids import save_comparison
from ganzoo.inference.sampling import draw_inputs

RESULTS = Path("benchmarks/results/inpainting")
COUNT = 1000
FILLINGS = 16
SHOWN = 4  # fillings in the grid of the first images
APART = 0.25  # L1 in the hole from which two fillings are called different


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("--real", type=Path, required=True, help="a folder with MNIST as torchvision lays it out")
    options = parser.parse_args()
    sampler = ganzoo.load(options.model)
    key, data = sampler.metadata["model"]["key"], sampler.metadata["data"]["name"]
    train, x, labels, recognized = _digits(options.real) if data == "mnist5k" else _shapes()
    signature = Signature.from_json(sampler.metadata["signature"])
    image = signature.inputs[0]
    low, high = image.range
    rows = []
    drawn = [
        draw_inputs(signature, COUNT, seed, given={image.name: x * (high - low) + low}) for seed in range(FILLINGS)
    ]
    mask = drawn[0][1]
    fillings = []
    for inputs in drawn:
        inputs[1] = mask  # the same holes, other latents
        filled = np.concatenate(
            [
                sampler(*(part.numpy() for part in parts))
                for parts in zip(*(part.split(250) for part in inputs), strict=True)
            ]
        )
        fillings.append((torch.from_numpy(filled) - low) / (high - low))
    candidates = {
        "whole images": x,
        "mean of the surroundings": x * (1 - mask) + _surroundings(x, mask) * mask,
        "nearest training image": x * (1 - mask) + _nearest(x, mask, train) * mask,
        key: fillings[0],
    }
    for name, images in candidates.items():
        rows.append({"filled by": name, "l1": _hole(images - x, mask), "recognized": recognized(images, labels)})
    document = {"model": key, "data": data, "training": sampler.metadata["training"], "images": COUNT, "rows": rows}
    several = len(signature.inputs) > 2
    if several:
        document["apart"] = _hole(fillings[0] - fillings[1], mask)
        chosen, apart = _three(torch.stack(fillings, dim=1), mask)
        document["three_apart"] = (apart >= APART).double().mean().item()
    RESULTS.mkdir(parents=True, exist_ok=True)
    path = RESULTS / f"{key}-{data}.json"
    path.write_text(json.dumps(document, indent=2) + "\n")
    holes = torch.where(mask > 0, 1.0, x)
    _grid(path.with_suffix(".png"), [part[:32] for part in (holes, *fillings[: SHOWN if several else 1], x)])
    if several:
        most = apart.argsort(descending=True)[:16]
        _grid(path.with_name(f"{path.stem}-three.png"), [holes[most], *chosen[most].unbind(1), x[most]])
    print(json.dumps(document, indent=2))


def _digits(root: Path):
    from torchvision.datasets import MNIST

    test = MNIST(root, train=False)
    rows = torch.randperm(len(test), generator=torch.Generator().manual_seed(0))[:COUNT]
    classifier = load(WEIGHTS)

    @torch.no_grad()
    def recognized(images: Tensor, labels: Tensor) -> float:
        guess = classifier.head(classifier.features(images)).argmax(1)
        return (guess == labels).double().mean().item()

    train = load_config(load_registry(), "gan_fc", flags={"data": {"name": "mnist5k"}}).build_dataset().tensors["x"]
    return train / 255, test.data[rows, None] / 255, test.targets[rows], recognized


def _shapes():
    registry = load_registry()

    def images(seed: int, size: int):
        data = {"name": "shapes", "sample_seed": seed, "size": size}
        return load_config(registry, "gan_fc", flags={"data": data}).build_dataset()

    held_out = images(1, COUNT)

    def recognized(images: Tensor, labels: Tensor) -> float:
        return (held_out.measure((images * 255).round().byte())["shape"] == labels).double().mean().item()

    def pixels(dataset) -> Tensor:
        return dataset.batch(torch.arange(len(dataset)), torch.Generator())["x"] / 255

    return pixels(images(0, 10_000)), pixels(held_out), held_out.factors["shape"], recognized


def _hole(difference: Tensor, mask: Tensor) -> float:
    return (difference.abs().mean(1, keepdim=True) * mask).sum().item() / mask.sum().item()


def _three(fillings: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    """Return of fillings [N, F, C, H, W] the three that differ most, [N, 3, C, H, W], and the least L1 of two, [N]."""
    inside = (fillings * mask[:, None]).flatten(2)
    distance = torch.cdist(inside, inside, p=1) / (mask.flatten(1).sum(1) * fillings.shape[2])[:, None, None]
    count = fillings.shape[1]
    first, second = (pair := distance.flatten(1).argmax(1)) // count, pair % count
    row = torch.arange(len(fillings))
    third = torch.minimum(distance[row, first], distance[row, second]).argmax(1)
    least = torch.stack([distance[row, first, second], distance[row, first, third], distance[row, second, third]])
    return torch.stack([fillings[row, index] for index in (first, second, third)], dim=1), least.amin(0)


def _grid(path: Path, columns: list[Tensor]) -> None:
    save_comparison(path, [(part * 255).round().byte().permute(0, 2, 3, 1).numpy() for part in columns])


def _surroundings(x: Tensor, mask: Tensor) -> Tensor:
    """Return the mean of the pixels that touch the hole, by channel, [N, C, 1, 1]."""
    around = torch.nn.functional.max_pool2d(mask, 3, stride=1, padding=1) - mask
    return (x * around).sum((2, 3), keepdim=True) / around.sum((2, 3), keepdim=True)


def _nearest(x: Tensor, mask: Tensor, train: Tensor) -> Tensor:
    found = []
    for image, hole in zip(x, mask, strict=True):
        distance = ((train - image).abs() * (1 - hole)).sum((1, 2, 3))
        found.append(train[distance.argmin()])
    return torch.stack(found)


if __name__ == "__main__":
    main()
