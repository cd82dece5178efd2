"""Images that were never trained on, to their latents and back.

    python benchmarks/encoders.py MODEL --real FOLDER_WITH_MNIST

MODEL is a run with a generator and an encoder, or its generator.onnx with encoder.onnx beside it, trained on mnist5k or
on shapes. Of 1,000 images x, MNIST test digits or shapes of another seed, and G(E(x)):

    L1        mean difference, as a share of the range
    label     digits: the classifier (benchmarks/classifier.py) sees the same class in both
    shape, hue, place, size   shapes, measured from the pixels: the same shape, the same of six hues, the middle within
              a twelfth of the side, the radius within a fifth; "all" is how many have shape, hue and place right
    latent    for latents z: the correlation of E(G(z)) and z

A conditional generator is given the labels of x.
"""

import argparse
import json
from pathlib import Path

import numpy as np
import torch
from inpainting import COUNT, _digits
from torch import Tensor

import ganzoo
from ganzoo import Signature, load_config, load_registry
from ganzoo.images.grids import save_comparison
from ganzoo.inference.sampling import draw_inputs

RESULTS = Path("benchmarks/results/encoders")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("--real", type=Path, required=True, help="a folder with MNIST as torchvision lays it out")
    options = parser.parse_args()
    generator, encoder = (ganzoo.load(options.model, network=name) for name in ("generator", "encoder"))
    key, data = generator.metadata["model"]["key"], generator.metadata["data"]["name"]
    signature = Signature.from_json(generator.metadata["signature"])
    latent, image = signature.inputs[0], signature.output
    low, high = image.range
    x, labels, evaluate = _held_out(data, options.real)

    def draw(z: np.ndarray) -> Tensor:
        condition = [labels[field.name].numpy() for field in signature.inputs[1:]]
        drawn = _apply(generator, [z, *condition])
        return (torch.from_numpy(drawn) - low) / (high - low)

    back = draw(_apply(encoder, [(x * (high - low) + low).numpy()]))
    figures = {"l1": (back - x).abs().mean().item(), **evaluate(back)}
    z = draw_inputs(Signature((latent,), image), COUNT, 1)[0].numpy()
    again = _apply(encoder, [(draw(z) * (high - low) + low).numpy()])
    figures["latent"] = float(np.corrcoef(z.ravel(), again.ravel())[0, 1])
    document = {
        "model": key,
        "data": data,
        "training": generator.metadata["training"],
        "images": COUNT,
        **{name: round(value, 4) for name, value in figures.items()},
    }
    RESULTS.mkdir(parents=True, exist_ok=True)
    path = RESULTS / f"{key}-{data}.json"
    path.write_text(json.dumps(document, indent=2) + "\n")
    shown = [(part[:32] * 255).round().clamp(0, 255).byte().permute(0, 2, 3, 1).numpy() for part in (x, back)]
    save_comparison(path.with_suffix(".png"), shown)
    print(json.dumps(document, indent=2))


def _apply(network, inputs: list[np.ndarray]) -> np.ndarray:
    parts = (range(start, min(start + 250, len(inputs[0]))) for start in range(0, len(inputs[0]), 250))
    return np.concatenate([network(*(part[list(rows)] for part in inputs)) for rows in parts])


def _held_out(data: str, real: Path):
    if data == "mnist5k":
        _, x, y, digits = _digits(real)
        return x, {"y": y}, lambda back: {"label": digits(back, y)}
    settings = {"name": "shapes", "sample_seed": 1, "size": COUNT}
    dataset = load_config(load_registry(), "gan_fc", flags={"data": settings}).build_dataset()
    batch = dataset.batch(torch.arange(COUNT), torch.Generator())
    truth = dataset.factors

    def evaluate(back: Tensor) -> dict[str, float]:
        found = dataset.measure((back * 255).round().clamp(0, 255).byte())
        near = [(found[name] - truth[name]).abs() for name in ("left", "top")]
        right = {
            "shape": found["shape"] == truth["shape"],
            "hue": found["hue"] == truth["hue"],
            "place": (near[0].square() + near[1].square()).sqrt() < 1 / 12,
            "size": (found["size"] / truth["size"] - 1).abs() < 0.2,
        }
        right["all"] = right["shape"] & right["hue"] & right["place"]
        return {name: hits.double().mean().item() for name, hits in right.items()}

    return batch["x"] / 255, {name: part for name, part in batch.items() if name != "x"}, evaluate


if __name__ == "__main__":
    main()
