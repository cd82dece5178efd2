"""The independent evaluator of the MNIST benchmarks: a small digit classifier.

It is trained once on the full MNIST training set and only ever *evaluates* what a
GAN draws; no GAN is trained with it. Train it (about three CPU minutes) with

    python benchmarks/classifier.py --root FOLDER_WITH_MNIST

where the folder is a ``torchvision.datasets.MNIST`` root. From other scripts:

    classifier = load("benchmarks/results/mnist_classifier.safetensors")
    figures = evaluate(images, classifier)   # images: float [N, 1, 28, 28] in [0, 1]
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

WEIGHTS = Path("benchmarks/results/mnist_classifier.safetensors")


class Classifier(nn.Module):
    """A small convolutional net: images in [0, 1], [N, 1, 28, 28] -> ten logits.

    ``features`` gives the 64 numbers before the last layer, for Fréchet
    distances between real and generated digits.
    """

    def __init__(self) -> None:
        super().__init__()

        def block(inputs: int, outputs: int, stride: int = 1) -> list[nn.Module]:
            conv = nn.Conv2d(inputs, outputs, 3, stride, padding=1, bias=False)
            return [conv, nn.BatchNorm2d(outputs), nn.ReLU(inplace=True)]

        self.body = nn.Sequential(
            *block(1, 16),
            *block(16, 32, stride=2),  # 14 x 14
            *block(32, 32),
            *block(32, 64, stride=2),  # 7 x 7
            *block(64, 64),
            nn.AvgPool2d(2),  # 3 x 3
            nn.Flatten(),
            nn.Dropout(0.3),
            nn.Linear(64 * 9, 64, bias=False),
            nn.BatchNorm1d(64),
            nn.ReLU(inplace=True),
        )
        self.head = nn.Sequential(nn.Dropout(0.3), nn.Linear(64, 10))

    def features(self, images: Tensor) -> Tensor:
        return self.body(images * 2 - 1)

    def forward(self, images: Tensor) -> Tensor:
        return self.head(self.features(images))


def load(path: str | Path = WEIGHTS) -> Classifier:
    """The trained classifier, ready to evaluate (evaluation mode, no gradients)."""
    classifier = Classifier()
    classifier.load_state_dict(load_file(str(path)))
    return classifier.eval().requires_grad_(False)


@torch.no_grad()
def probabilities(images: Tensor, classifier: Classifier, batch: int = 500) -> Tensor:
    """Class probabilities (plain softmax) of float images in [0, 1]: [N, 10]."""
    classifier.eval()
    return torch.cat([classifier(part).softmax(1) for part in images.split(batch)])


def evaluate(images: Tensor, classifier: Classifier) -> dict:
    """How digit-like and how varied float images in [0, 1], [N, 1, 28, 28], are.

    confident: share of images whose top class has a probability above 0.9
    digits: share of each digit 0..9 (by top class) among all images
    mean_top: mean probability of the top class
    """
    top, digit = probabilities(images, classifier).max(dim=1)
    shares = torch.bincount(digit, minlength=10).float() / len(images)
    return {
        "confident": (top > 0.9).float().mean().item(),
        "digits": [round(share, 4) for share in shares.tolist()],
        "mean_top": top.mean().item(),
    }


def accuracy(images: Tensor, labels: Tensor, classifier: Classifier) -> float:
    guess = probabilities(images, classifier).argmax(dim=1)
    return (guess == labels).float().mean().item()


def random_shift(images: Tensor, reach: int = 2) -> Tensor:
    """Each image moved by up to ``reach`` pixels both ways, zeros coming in."""
    count, _, height, width = images.shape
    padded = F.pad(images, [reach] * 4)
    top = torch.randint(0, 2 * reach + 1, (count, 1, 1)) + torch.arange(height)[:, None]
    left = torch.randint(0, 2 * reach + 1, (count, 1, 1)) + torch.arange(width)[None]
    return padded[torch.arange(count)[:, None, None], 0, top, left].unsqueeze(1)


def train(images: Tensor, labels: Tensor, epochs: int, batch: int = 100) -> Classifier:
    """Train on uint8 images [N, 28, 28]; prints one line per epoch."""
    classifier = Classifier().to(memory_format=torch.channels_last)
    steps = epochs * (len(images) // batch)
    optimizer = torch.optim.AdamW(classifier.parameters(), weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 0.005, total_steps=steps)
    for epoch in range(epochs):
        classifier.train()
        total = torch.zeros(())
        order = torch.randperm(len(images))
        for start in range(0, len(images) - batch + 1, batch):
            rows = order[start : start + batch]
            inputs = random_shift(images[rows].unsqueeze(1).float() / 255)
            loss = F.cross_entropy(classifier(inputs), labels[rows])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            total += loss.detach() * batch / len(images)
        print(f"epoch {epoch + 1}/{epochs}: training loss {total:.4f}", flush=True)
    return classifier


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--root", required=True, help="torchvision MNIST root folder")
    parser.add_argument("--out", type=Path, default=WEIGHTS, help="weights to write")
    parser.add_argument("--epochs", type=int, default=5)
    options = parser.parse_args()

    from torchvision.datasets import MNIST

    torch.manual_seed(0)
    learn = MNIST(options.root, train=True, download=False)
    test = MNIST(options.root, train=False, download=False)
    classifier = train(learn.data, learn.targets, options.epochs)

    images = test.data.unsqueeze(1).float() / 255
    options.out.parent.mkdir(parents=True, exist_ok=True)
    weights = {name: value.contiguous() for name, value in classifier.state_dict().items()}
    save_file(weights, str(options.out))
    print(f"test accuracy {100 * accuracy(images, test.targets, classifier):.2f}%")
    print("2,000 real test digits:", evaluate(images[:2000], classifier))
    print(f"{options.out}: {options.out.stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    main()
