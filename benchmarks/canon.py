"""Every image model at an equal CPU budget: digits evaluated by an independent classifier, shapes from pixels.

    python benchmarks/canon.py train MODEL ... --real MNIST_FOLDER [--data mnist|shapes] [--preset NAME] [--seed 0]
    python benchmarks/canon.py evaluate MODEL --real MNIST_FOLDER
    python benchmarks/canon.py table

``train`` is ``ganzoo train --plugin MODEL`` at its defaults, which are made for at most twenty minutes of one core (ten
of two); the CPU time is measured and reported. The evaluator (benchmarks/classifier.py) was trained on the full MNIST
training set and trains no GAN. Of 5,000 samples of the averaged generator, labels in equal parts:

    quality     share to whose top class the classifier gives a probability above 0.9
    diversity   exp of the entropy of the mean class distribution: how many classes are drawn, of 10
    IS          Inception score of the classifier's probabilities: exp(H(mean) - mean H)
    FID         Fréchet distance in the classifier's 64 features to the 10,000 MNIST test digits
    labels      share whose top class is the label that they were drawn for (conditional models); for categories that
                were found without labels, each stands for a class, in the assignment that gives the largest share

The reference is the same for 5,000 real digits: the training digits of mnist5k.

Drawn shapes are measured by ``Shapes.measure``, which knows no network: the share of samples that are recognized as a
shape at all, whose shape is the one that was asked for, and whose hue is (a sample that is not recognized is wrong).
With ``--set data.condition=attributes`` all factors are asked for, by vectors that were not trained on; then also the
share whose middle is within a twelfth of the side from where it was asked for, and whose radius is within a fifth.
"""

import argparse
import json
import time
from pathlib import Path

import numpy as np
import torch
from classifier import WEIGHTS, load
from scipy import linalg, optimize
from torch import Tensor

import ganzoo
from ganzoo import Dataset, Run, Signature, fit, load_config, load_registry
from ganzoo.images.grids import grid_columns, grid_size, save_grid
from ganzoo.inference.sampling import draw_inputs

RESULTS = Path("benchmarks/results/canon")
SAMPLES = 5000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(required=True)
    train = commands.add_parser("train")
    train.add_argument("models", nargs="*")
    train.add_argument("--real", type=Path, required=True, help="a folder with MNIST as torchvision lays it out")
    train.add_argument("--data", help="mnist5k, mnist or shapes; the model's own if left out")
    train.add_argument("--preset")
    train.add_argument("--seed", type=int, default=0)
    train.add_argument("--set", dest="sets", action="append", default=[], help="as for ganzoo train")
    train.add_argument("--runs", type=Path, default=Path("runs"))
    train.set_defaults(action=_train)
    evaluate = commands.add_parser("evaluate", help="evaluate a trained model: a run folder, an .onnx file or zoo:NAME")
    evaluate.add_argument("model")
    evaluate.add_argument("--real", type=Path, required=True, help="a folder with MNIST as torchvision lays it out")
    evaluate.set_defaults(action=_evaluate)
    table = commands.add_parser("table")
    table.set_defaults(action=_table)
    options = parser.parse_args()
    options.action(options)


def _train(options: argparse.Namespace) -> None:
    sets = [*options.sets, f"data.root={options.real}"] if options.data == "mnist" else options.sets
    for model in options.models:
        registry = load_registry()
        flags = {"seed": options.seed} | ({"data": {"name": options.data}} if options.data else {})
        config = load_config(registry, model, preset=options.preset, sets=sets, flags=flags)
        dataset = config.build_dataset()
        run = Run.create(options.runs, config, dataset.spec)
        cpu, wall = time.process_time(), time.perf_counter()
        fit(config, run, registry, dataset, quiet=True)
        spent = {
            "cpu_minutes": round((time.process_time() - cpu) / 60, 1),
            "minutes": round((time.perf_counter() - wall) / 60, 1),
            "threads": torch.get_num_threads(),
        }
        _evaluate_model(str(run.path), options.real, spent)


def _evaluate(options: argparse.Namespace) -> None:
    _evaluate_model(options.model, options.real, {})


def _evaluate_model(model: str, real: Path, spent: dict) -> None:
    sampler = ganzoo.load(model)
    metadata = sampler.metadata
    signature = Signature.from_json(metadata["signature"])
    low, high = signature.output.range
    shapes = metadata["data"]["name"] == "shapes"
    asked = {}
    if attributes := any(field.kind == "attributes" for field in signature.inputs):
        wanted = made_shapes("attributes", SAMPLES).factors
        asked["attributes"] = wanted["y"].numpy()
    images = (torch.from_numpy(sampler.sample(SAMPLES, seed=1, **asked)) - low) / (high - low)
    inputs = zip(signature.inputs, draw_inputs(signature, SAMPLES, 1), strict=True)
    labels = {field.name: part for field, part in inputs if field.kind == "label"}
    if shapes:
        labels = wanted if attributes else {"shape" if name == "y" else name: part for name, part in labels.items()}
    evaluator = evaluate_shapes if shapes else Evaluator(real)
    training = metadata["training"]
    row = {
        "model": metadata["model"]["key"],
        "data": "shapes_attributes" if attributes else metadata["data"]["name"],
        **{key: training[key] for key in ("loss", "seed", "step")},
        **spent,
        "samples": SAMPLES,
        "drawn": evaluator(images, labels),
    }
    if isinstance(evaluator, Evaluator):
        row["real"] = evaluator.reference()
    RESULTS.mkdir(parents=True, exist_ok=True)
    path = RESULTS / f"{row['model']}-{row['data']}-{row['seed']}.json"
    path.write_text(json.dumps(row, indent=2) + "\n")
    count, columns = grid_size(signature), grid_columns(signature)
    save_grid(path.with_suffix(".png"), sampler.sample(count, seed=0), signature.output, columns=columns)
    print(path, row["drawn"], spent, flush=True)


class Evaluator:
    """An independent classifier, and real digits to hold samples against."""

    def __init__(self, root: Path) -> None:
        from torchvision.datasets import MNIST

        self.classifier = load(WEIGHTS)
        self.real_moments = _moments(self._look(MNIST(root, train=False).data[:, None] / 255)[0])

    @torch.no_grad()
    def _look(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Return features [N, 64] and class probabilities [N, 10] of images in 0..1."""
        features = torch.cat([self.classifier.features(part) for part in images.split(500)])
        return features.double(), self.classifier.head(features).softmax(1).double()

    def __call__(self, images: Tensor, labels: dict[str, Tensor]) -> dict[str, float]:
        features, probabilities = self._look(images)
        marginal = torch.special.entr(probabilities.mean(0)).sum()
        conditional = torch.special.entr(probabilities).sum(1).mean()
        top, guess = probabilities.max(1)
        figures = {
            "quality": (top > 0.9).double().mean(),
            "diversity": marginal.exp(),
            "inception_score": (marginal - conditional).exp(),
            "fid": _frechet(self.real_moments, _moments(features)),
        }
        if "y" in labels:
            figures["label_accuracy"] = (guess == labels["y"]).double().mean()
        elif labels:
            (category,) = labels.values()
            pairs = torch.zeros(int(category.max()) + 1, probabilities.shape[1], dtype=torch.double)
            pairs.index_put_((category, guess), torch.ones(len(guess), dtype=torch.double), accumulate=True)
            found = optimize.linear_sum_assignment(pairs.numpy(), maximize=True)
            figures["label_accuracy"] = pairs[found].sum() / len(guess)
        return {name: round(float(value), 4) for name, value in figures.items()}

    def reference(self) -> dict[str, float]:
        config = load_config(load_registry(), "gan_fc", flags={"data": {"name": "mnist5k"}})
        tensors = config.build_dataset().tensors
        return self(tensors["x"] / 255, {"y": tensors["y"]})


def made_shapes(condition: str, size: int) -> Dataset:
    """Return shapes that no model is trained on."""
    sets = [f"data.size={size}", "data.sample_seed=1", f"data.condition={condition}"]
    return load_config(load_registry(), "gan_fc", sets=sets, flags={"data": {"name": "shapes"}}).build_dataset()


def evaluate_shapes(images: Tensor, asked: dict[str, Tensor]) -> dict[str, float]:
    """Return how many samples are a shape at all, and how many are what was asked for."""
    found = made_shapes("none", 1).measure((images * 255).round().to(torch.uint8))
    figures = {"recognized": found["shape"] >= 0}
    figures |= {name: found[name] == asked[name] for name in ("shape", "hue") if name in asked}
    if "size" in asked:
        off = torch.stack([found[name] - asked[name] for name in ("left", "top")])
        figures |= {"place": off.norm(dim=0) < 1 / 12, "size": (found["size"] / asked["size"] - 1).abs() < 0.2}
    return {name: round(hits.double().mean().item(), 4) for name, hits in figures.items()}


def _moments(features: Tensor) -> tuple[np.ndarray, np.ndarray]:
    return features.mean(0).numpy(), features.T.cov().numpy()


def _frechet(one: tuple[np.ndarray, np.ndarray], other: tuple[np.ndarray, np.ndarray]) -> float:
    (mean1, cov1), (mean2, cov2) = one, other
    root = linalg.sqrtm(cov1 @ cov2).real
    return float(((mean1 - mean2) ** 2).sum() + np.trace(cov1 + cov2 - 2 * root))


def _table(options: argparse.Namespace) -> None:
    rows = [json.loads(path.read_text()) for path in sorted(RESULTS.glob("*.json"))]
    drawn = [row for row in rows if row["data"].startswith("shapes")]
    rows = [row for row in rows if not row["data"].startswith("shapes")]
    print("| model | data | loss | steps | CPU minutes | quality | diversity | IS | FID | labels |")
    print("|---|---|---|---|---|---|---|---|---|---|")
    for row in rows:
        print(
            _line(f"`{row['model']}`", row["data"], row["loss"], row["step"], row.get("cpu_minutes", ""), row["drawn"])
        )
    if rows:
        print(_line("real digits", "mnist5k", "", "", "", rows[0]["real"]))
    print(
        "\n| model | data | loss | steps | CPU minutes | recognized | shape | hue |\n|---|---|---|---|---|---|---|---|"
    )
    for row in drawn:
        figures = " | ".join(f"{row['drawn'].get(name, float('nan')):.1%}" for name in ("recognized", "shape", "hue"))
        data, loss = row["data"].replace("_", ", "), row["loss"].rpartition("/")[2]
        print(f"| `{row['model']}` | {data} | {loss} | {row['step']} | {row.get('cpu_minutes')} | {figures} |")


def _line(model: str, data: str, loss: str, step: object, minutes: object, figures: dict[str, float]) -> str:
    label = figures.get("label_accuracy")
    loss = loss.rpartition("/")[2]
    return (
        f"| {model} | {data} | {loss} | {step} | {minutes} | {figures['quality']:.1%} | {figures['diversity']:.2f} | "
        f"{figures['inception_score']:.2f} | {figures['fid']:.2f} | {'' if label is None else f'{label:.1%}'} |"
    )


if __name__ == "__main__":
    main()
