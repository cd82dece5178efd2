"""Training a detector, choosing its threshold, and measuring it, each on images of its own."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn.functional import binary_cross_entropy_with_logits

from ganzoo import Network, UserError, load_registry
from ganzoo.fields.drawing import caption, figure
from ganzoo.images.plots import save_figure
from ganzoo.terminal import Progress
from ganzoo_plugins.detection.corruption import Pixels, augmented
from ganzoo_plugins.detection.detector import scores
from ganzoo_plugins.detection.networks import Residual, Spectrum
from ganzoo_runtime.text import counted

__all__ = ["Settings", "Trained", "split", "threshold_of", "train"]

Method = Literal["cnn", "spectrum"]
Floats = NDArray[np.float64]

_PARTS = (0.6, 0.2, 0.2)  # what is trained on, what the threshold is chosen on, what is measured
_FEWEST = 20  # images of a source: of fewer, hardly anything is known


@dataclass(frozen=True)
class Settings:
    """How a detector is trained."""

    method: Method = "cnn"
    steps: int = 600
    """Batches of the CNN, half real and half generated."""

    false_positive_rate: float = 0.05
    """The share of real images that the threshold calls generated."""

    batch: int = 64
    crop: int = 128
    """The side of training crops, or of the smallest image."""

    seed: int = 0


@dataclass(frozen=True)
class Trained:
    """A trained detector and what is known about it."""

    network: Network
    settings: Settings
    threshold: float
    real: Floats
    """The logits of real images that were neither trained on nor calibrated with."""

    fakes: Mapping[str, Floats] = field(default_factory=dict)
    """The same of each source of generated ones."""

    def report(self) -> dict[str, Any]:
        """Return the figures: of each source, beside the same real images, and of all together."""
        every = np.concatenate(list(self.fakes.values()))
        return {
            **asdict(self.settings),
            "threshold": self.threshold,
            "measured_false_positive_rate": float((self.real > self.threshold).mean()),
            "real_images": len(self.real),
            "all": figures(self.real, every, self.threshold),
            "sources": {name: figures(self.real, found, self.threshold) for name, found in self.fakes.items()},
        }

    def export(self, path: Path, report: Mapping[str, Any]) -> None:
        """Write the network to an .onnx file with its signature, threshold and figures."""
        writer = load_registry().get("format", "onnx").spec.load()()
        model = {"key": f"detector_{self.settings.method}", "plugin": "torch-ganzoo", "version": _version()}
        writer.export(self.network.cpu(), path, {"model": model, "network": "detector", "detector": report})

    def plot(self, path: Path) -> None:
        """Draw the receiver operating characteristic of each source, and where the threshold lies, into a .png."""
        from sklearn.metrics import roc_curve

        made, axes = figure(6, 5.4)
        for index, (name, found) in enumerate(self.fakes.items()):
            truth = np.r_[np.zeros(len(self.real)), np.ones(len(found))]
            false, true, _ = roc_curve(truth, np.r_[self.real, found])
            precision = figures(self.real, found, self.threshold)["average_precision"]
            axes.plot(false, true, color=f"C{index % 10}", label=caption(f"{name}: AP {precision:.3f}"))
            at = (self.real > self.threshold).mean(), (found > self.threshold).mean()
            axes.plot(*at, "o", color=f"C{index % 10}")
        axes.plot([0, 1], [0, 1], "0.7", linestyle=":", label="guessing")
        axes.set(xlabel="real images called generated", ylabel="generated images found", xlim=(-0.01, 1.01))
        axes.set_ylim(-0.01, 1.01)
        axes.set_title(
            f"ROC of the {self.settings.method} detector on held-out images; dots: its threshold", fontsize=10
        )
        axes.legend(fontsize=8, loc="lower right")
        axes.grid(alpha=0.3)
        save_figure(path, made)


def figures(real: Floats, fake: Floats, threshold: float) -> dict[str, float]:
    """Return how well scores tell generated from real.

    ``average_precision`` needs no threshold. At the threshold are ``accuracy``, the mean of both classes' shares, and
    ``found``, the share of generated images that are called so; ``accuracy_at_half`` is at a probability of a half.
    """
    from sklearn.metrics import average_precision_score

    truth = np.r_[np.zeros(len(real)), np.ones(len(fake))]

    def accuracy(at: float) -> float:
        return float(((real <= at).mean() + (fake > at).mean()) / 2)

    return {
        "images": len(fake),
        "average_precision": float(average_precision_score(truth, np.r_[real, fake])),
        "accuracy": accuracy(threshold),
        "found": float((fake > threshold).mean()),
        "accuracy_at_half": accuracy(0.0),
    }


def threshold_of(real: Floats, rate: float) -> float:
    """Return the least of these scores of real images that at most a share ``rate`` of them is above."""
    return float(np.sort(real)[::-1][int(rate * len(real))])


def split(images: Sequence[Pixels], seed: int) -> list[list[Pixels]]:
    """Return images in three parts at random: 60% to train on, 20% to calibrate with, 20% to measure with."""
    order = np.random.default_rng(seed).permutation(len(images))
    ends = np.cumsum([round(share * len(images)) for share in _PARTS[:-1]])
    return [[images[index] for index in part] for part in np.split(order, ends)]


def train(
    real: Sequence[Pixels], fakes: Mapping[str, Sequence[Pixels]], settings: Settings, *, quiet: bool = False
) -> Trained:
    """Train a detector on images, uint8 [H, W, 3], real ones and generated ones by their source.

    Raises :class:`UserError` for fewer than 20 images of a source.
    """
    for name, images in {"the real images": real, **fakes}.items():
        if len(images) < _FEWEST:
            raise UserError(f"{name}: {counted(len(images), 'image')}, and a detector takes at least {_FEWEST}")
    parts, parts_of = split(real, settings.seed), {name: split(each, settings.seed) for name, each in fakes.items()}
    generated = [image for part in parts_of.values() for image in part[0]]
    side = min(settings.crop, *(min(image.shape[:2]) for image in (*parts[0], *generated)))
    fit = _fit_residual if settings.method == "cnn" else _fit_spectrum
    with torch.random.fork_rng(devices=[]), torch.enable_grad():
        torch.manual_seed(settings.seed)
        network = fit(parts[0], generated, side, settings, quiet).eval().requires_grad_(False)
    device = next(network.parameters()).device

    def call(batch: NDArray[np.float32]) -> NDArray[np.float32]:
        return network(torch.from_numpy(batch).to(device)).cpu().numpy()

    threshold = threshold_of(scores(call, parts[1]), settings.false_positive_rate)
    measured = {name: scores(call, part[2]) for name, part in parts_of.items()}
    return Trained(network, settings, threshold, scores(call, parts[2]), measured)


def _fit_residual(
    real: Sequence[Pixels], fake: Sequence[Pixels], side: int, settings: Settings, quiet: bool
) -> Network:
    """Train the CNN with Adam; the paper lowers the rate when it learns no more, here it falls to 0 along a cosine."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    network, random = Residual(side).to(device), np.random.default_rng(settings.seed)
    optimizer = torch.optim.Adam(network.parameters(), lr=2e-3)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, settings.steps)
    half, started = settings.batch // 2, time.perf_counter()
    truth = torch.cat([torch.zeros(half, 1), torch.ones(half, 1)]).to(device)
    with Progress(settings.steps, 0, quiet=quiet) as progress:
        for step in range(1, settings.steps + 1):
            chosen = [images[index] for images in (real, fake) for index in random.integers(len(images), size=half)]
            loss = binary_cross_entropy_with_logits(network(_batch(chosen, random, side).to(device)), truth)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            figures = {}
            if step % 50 == 0 or step == settings.steps:
                pace = step * settings.batch / (time.perf_counter() - started)
                figures = {"samples_per_second": pace, "detector/loss": loss.item()}
            progress.advance(step, figures)
    return network


def _fit_spectrum(
    real: Sequence[Pixels], fake: Sequence[Pixels], side: int, settings: Settings, quiet: bool
) -> Network:
    """Fit the logistic regression to as many features of real as of generated images."""
    from sklearn.linear_model import LogisticRegression

    network, random = Spectrum(side), np.random.default_rng(settings.seed)
    with torch.no_grad():
        found = [
            torch.cat(
                [
                    network.features(_batch(images[start : start + settings.batch], random, side))
                    for start in range(0, len(images), settings.batch)
                ]
            )
            for images in (real, fake)
        ]
        features = torch.cat(found)
        network.center.copy_(features.mean(dim=0))
        # A feature that hardly varies, such as the power of the mean, would be rounding alone, enlarged.
        network.spread.copy_(features.std(dim=0).clamp(min=0.05))
        scaled = ((features - network.center) / network.spread).double().numpy()
        truth = np.repeat([0, 1], [len(each) for each in found])
        fitted = LogisticRegression(max_iter=1000, class_weight="balanced").fit(scaled, truth)
        network.head.weight.copy_(torch.from_numpy(fitted.coef_))
        network.head.bias.copy_(torch.from_numpy(fitted.intercept_))
    return network


def _batch(images: Sequence[Pixels], random: np.random.Generator, side: int) -> torch.Tensor:
    crops = np.stack([augmented(image, random, side) for image in images])
    return torch.from_numpy(crops.transpose(0, 3, 1, 2).astype(np.float32))


def _version() -> str:
    from ganzoo import __version__

    return __version__
