"""The training loop: runs the phases of any GAN, and writes the run folder while it does."""

from __future__ import annotations

import copy
import math
import signal
import threading
import time
from collections.abc import Mapping
from contextlib import nullcontext
from pathlib import Path
from types import FrameType
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from ganzoo import checkpoint, pictures
from ganzoo.card import write_card
from ganzoo.config import Config, TrainSettings
from ganzoo.data import Dataset, Stream
from ganzoo.errors import Interrupted, TrainingError, UserError
from ganzoo.metrics import Metric
from ganzoo.networks import Network
from ganzoo.progress import Progress
from ganzoo.registry import Registry
from ganzoo.runs import Run
from ganzoo.sampling import draw_inputs, run_batched
from ganzoo.signature import Image
from ganzoo.trainer import Phase, Trainer

__all__ = ["Loop", "fit", "resolve_device"]


class Loop:
    """A GAN in training: :meth:`advance` runs one step, which is every phase once, as often as the phase says.

    For each run of a phase the loop draws fresh batches, freezes what the phase does not update, accumulates, clips
    and steps; after the step it updates the averaged networks. It holds all that a checkpoint holds.
    """

    def __init__(self, trainer: Trainer, dataset: Dataset, settings: TrainSettings) -> None:
        self.trainer = trainer
        self.settings = settings
        self.step = 0
        self.dataset = dataset
        self.stream = Stream(dataset, settings.batch_size, settings.seed)
        self.phases = list(trainer.phases())
        self.ema = {
            name: copy.deepcopy(trainer.networks[name]).eval().requires_grad_(False) for name in trainer.averaged
        }
        self.logs: dict[str, list[Tensor]] = {}
        self._trainable = {
            name: [parameter for parameter in network.parameters() if parameter.requires_grad]
            for name, network in trainer.networks.items()
        }
        self._focused: tuple[str, ...] | None = None
        self._averages = [_Average(self.ema[name], trainer.networks[name]) for name in trainer.averaged]
        for phase in self.phases:
            if phase.optimizer not in trainer.optimizers:
                raise ValueError(f"phase {phase.name!r} names the optimizer {phase.optimizer!r}, which does not exist")
        for optimizer in trainer.optimizers.values():
            for group in optimizer.param_groups:
                group.setdefault("initial_lr", group["lr"])

    def advance(self) -> None:
        """Run one training step."""
        self._set_learning_rates()
        for phase in self.phases:
            if self.step % phase.every == 0:
                for _ in range(phase.repeat):
                    self._run(phase)
        self.step += 1
        decay = min(self.settings.ema, (1 + self.step) / (10 + self.step))
        for average in self._averages:
            average.update(decay)

    def _run(self, phase: Phase) -> None:
        self._focus(phase.updates)
        optimizer = self.trainer.optimizers[phase.optimizer]
        parts = self.settings.accumulate
        for _ in range(parts):
            batch = self.trainer.prepare(next(self.stream))
            with self._autocast():
                results = phase.loss(batch)
                loss = results["loss"] if parts == 1 else results["loss"] / parts
            loss.backward()  # type: ignore[no-untyped-call]
            for key, value in results.items():
                self.logs.setdefault(f"{phase.name}/{key}", []).append(value.detach())
        if self.settings.clip_grad is not None:
            parameters = [parameter for name in phase.updates for parameter in self._trainable[name]]
            nn.utils.clip_grad_norm_(parameters, self.settings.clip_grad)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        if phase.after is not None:
            phase.after()

    def _focus(self, names: tuple[str, ...]) -> None:
        """Make the named networks trainable and freeze the others, unless that is so already."""
        if names != self._focused:
            for name, parameters in self._trainable.items():
                wanted = name in names
                for parameter in parameters:
                    parameter.requires_grad_(wanted)
            self._focused = names

    def _autocast(self) -> Any:
        if self.settings.precision == "fp32":
            return nullcontext()
        return torch.autocast(self.trainer.device.type, dtype=torch.bfloat16)

    def _set_learning_rates(self) -> None:
        match self.settings.lr_schedule:
            case "constant":
                factor = 1.0
            case "linear":
                factor = 1 - self.step / self.settings.steps
            case "cosine":
                factor = (1 + math.cos(math.pi * self.step / self.settings.steps)) / 2
        factor = min(factor, (self.step + 1) / max(self.settings.lr_warmup, 1))
        for optimizer in self.trainer.optimizers.values():
            for group in optimizer.param_groups:
                group["lr"] = group["initial_lr"] * factor

    def take_logs(self) -> dict[str, float]:
        """Return the means of what the phases logged since the last call."""
        means = {key: torch.stack(values).float().mean().item() for key, values in self.logs.items()}
        self.logs.clear()
        return means

    def exports(self) -> Mapping[str, Network]:
        """Return what can be sampled, with averaged weights."""
        return self.trainer.exports(self.ema)

    def save(self, folder: Path) -> Path:
        """Write a checkpoint into the folder of checkpoints and return its path."""
        state = {
            "optimizers": {name: optimizer.state_dict() for name, optimizer in self.trainer.optimizers.items()},
            "trainer": self.trainer.state_dict(),
            "random": checkpoint.random_state(),
            "position": self.stream.position,
        }
        return checkpoint.save(
            folder, self.step, self.trainer.networks, self.ema, state, self.settings.keep_checkpoints
        )

    def restore(self, path: Path) -> None:
        """Go back to exactly where a checkpoint was written; raises :class:`UserError` if it is of another training."""
        self.step, state = checkpoint.load_state(path)
        checkpoint.load_networks(path, self.trainer.networks)
        checkpoint.load_networks(path, self.ema, "ema")
        try:
            for name, optimizer in self.trainer.optimizers.items():
                optimizer.load_state_dict(state["optimizers"][name])
            self.trainer.load_state_dict(state["trainer"])
            self.stream.position = state["position"]
            checkpoint.restore_random_state(state["random"])
        except (KeyError, TypeError, ValueError, RuntimeError) as error:
            reason = " ".join(str(error).split())[:300]
            raise UserError(f"the checkpoint {path} does not fit this model: {reason}") from None

    def unsound(self) -> str:
        """Return the name of a loss or a network that is no longer finite, or nothing."""
        broken = [key for key, values in self.logs.items() if not torch.stack(values).isfinite().all()]
        for name, network in self.trainer.networks.items():
            if not all(parameter.isfinite().all() for parameter in network.parameters()):
                broken.append(f"the {name}")
        return broken[0] if broken else ""

    def start_workers(self) -> None:
        """Let worker processes read the data from here on, if it does not lie in memory."""
        self.stream = Stream(
            self.dataset, self.settings.batch_size, self.settings.seed, self.stream.position, self.settings.workers
        )


class _Average:
    """Keeps a network's exponential moving average up to date; buffers are copied."""

    def __init__(self, average: nn.Module, network: nn.Module) -> None:
        self.averages: list[Tensor] = list(average.parameters())
        self.parameters: list[Tensor] = list(network.parameters())
        self.copies = list(zip(average.buffers(), network.buffers(), strict=True))

    @torch.no_grad()
    def update(self, decay: float) -> None:
        torch._foreach_lerp_(self.averages, self.parameters, 1 - decay)
        for target, source in self.copies:
            target.copy_(source)


def fit(config: Config, run: Run, registry: Registry, dataset: Dataset | None = None, *, quiet: bool = False) -> None:
    """Train in a run folder, from its last checkpoint if it has one, to the config's last step.

    Writes metrics.jsonl, sample sheets, checkpoints, losses.png, progress.gif and README.md, and tells plugins. On
    SIGINT it finishes the step, writes a checkpoint and raises :class:`~ganzoo.Interrupted`; a loss that is no longer
    finite raises :class:`~ganzoo.TrainingError` and leaves the last checkpoint as it was.
    """
    settings = config.train
    if settings.threads is not None:
        torch.set_num_threads(settings.threads)
    device = resolve_device(settings.device)
    dataset = dataset if dataset is not None else config.build_dataset()
    checkpoint.seed_random(settings.seed)
    trainer = config.build_trainer(dataset.spec)
    trainer.to(device)
    loop = Loop(trainer, dataset, settings)
    if (run.checkpoints / "last").exists():
        loop.restore(checkpoint.latest(run.checkpoints))
    run.forget_after(loop.step)
    loop.start_workers()
    studio = _Studio(run, loop, dataset, config.build_metrics(dataset), registry)

    registry.notify("ganzoo_fit_start", run=run.path, config=config, trainer=trainer, step=loop.step)
    outcome: Literal["done", "interrupted", "failed"] = "failed"
    try:
        with _Interrupt() as interrupt, Progress(settings.steps, loop.step, quiet=quiet) as progress:
            if loop.step == 0:
                studio.draw()
            _train(loop, run, registry, studio, progress, interrupt)
        outcome = "interrupted" if interrupt.asked and loop.step < settings.steps else "done"
    finally:
        if outcome != "interrupted":
            studio.finish()
        if outcome != "failed":
            write_card(run, config, trainer, dataset.spec, loop.step)
        registry.notify("ganzoo_fit_end", run=run.path, step=loop.step, outcome=outcome)
    if outcome == "interrupted":
        raise Interrupted(f"stopped after step {loop.step}; go on with: ganzoo train --resume {run.path}")


def _train(
    loop: Loop, run: Run, registry: Registry, studio: _Studio, progress: Progress, interrupt: _Interrupt
) -> None:
    settings = loop.settings
    started, since = time.perf_counter(), loop.step
    while loop.step < settings.steps:
        loop.advance()
        progress.advance(loop.step)
        stop = interrupt.asked  # read once: a signal that comes later in this step stops the next one
        last = loop.step == settings.steps or stop
        if last or not (loop.step % settings.sample_every and loop.step % settings.checkpoint_every):
            _check(loop.unsound(), loop, run)  # before anything of it is kept
        metrics: dict[str, float] = {}
        if loop.step % settings.log_every == 0 or last:
            metrics = loop.take_logs()
            _check(next((key for key, value in metrics.items() if not math.isfinite(value)), ""), loop, run)
            now = time.perf_counter()
            images = (loop.step - since) * settings.batch_size * settings.accumulate
            metrics["images_per_second"] = images / max(now - started, 1e-9)
            progress.update(loop.step, metrics)
        if loop.step % settings.sample_every == 0 or loop.step == settings.steps:
            metrics |= studio.draw()
        if metrics:
            run.log(loop.step, metrics)
            registry.notify("ganzoo_log", run=run.path, step=loop.step, metrics=metrics)
            started, since = time.perf_counter(), loop.step
        if loop.step % settings.checkpoint_every == 0 or last:
            path = loop.save(run.checkpoints)
            registry.notify("ganzoo_checkpoint", run=run.path, step=loop.step, path=path)
        if stop:
            return


def _check(unsound: str, loop: Loop, run: Run) -> None:
    """Raise :class:`TrainingError` if something is no longer finite."""
    if unsound:
        kept = (run.checkpoints / "last").is_file()
        where = f"the last checkpoint in {run.checkpoints} is from before" if kept else "there is no checkpoint yet"
        raise TrainingError(
            f"{unsound} is no longer finite at step {loop.step}; lower the learning rate, or clip gradients "
            f"with --set clip_grad=1; {where}"
        )


class _Studio:
    """Draws what people look at: sample sheets from fixed latents, metrics on samples, the curves and the film."""

    def __init__(
        self, run: Run, loop: Loop, dataset: Dataset, metrics: Mapping[str, Metric], registry: Registry
    ) -> None:
        self.run, self.loop, self.metrics, self.registry = run, loop, metrics, registry
        self.signature = next(iter(loop.exports().values())).signature
        self.drawable = all(field.kind in ("latent", "label") for field in self.signature.inputs)
        self.real: NDArray[np.float32] | None = None
        if not isinstance(self.signature.output, Image) and self.drawable:
            shown = torch.arange(min(len(dataset), pictures.POINTS))
            self.real = dataset.batch(shown, torch.Generator().manual_seed(0))[dataset.spec.sample.name].numpy()

    def draw(self) -> dict[str, float]:
        """Draw a sheet and return the metrics of as many samples as each asks for."""
        if not self.drawable:
            return {}
        network = next(iter(self.loop.exports().values()))
        field, seed = self.signature.output, self.loop.settings.seed
        count = pictures.SHEET if isinstance(field, Image) else pictures.POINTS
        wanted = max([count, *(metric.config.samples for metric in self.metrics.values())])
        samples = run_batched(network, draw_inputs(self.signature, wanted, seed), 256)
        path = self.run.samples / f"{self.loop.step:06d}.png"
        pictures.save_sheet(path, samples[:count].numpy(), field, self.real)
        self.registry.notify("ganzoo_samples", run=self.run.path, step=self.loop.step, path=path)
        figures: dict[str, float] = {}
        for key, metric in self.metrics.items():
            judged = samples[: metric.config.samples]
            if isinstance(field, Image):
                low, high = field.range
                judged = (judged - low) * (255 / (high - low))
            figures |= {f"{key}/{name}": value for name, value in metric(judged).items()}
        return figures

    def finish(self) -> None:
        """Draw the curves and put the sheets together to a film."""
        pictures.save_curves(self.run.path / "losses.png", self.run.metrics())
        pictures.save_film(self.run.path / "progress.gif", sorted(self.run.samples.glob("*.png")))


class _Interrupt:
    """While entered, the first SIGINT is remembered in ``asked``; a second one interrupts at once."""

    def __init__(self) -> None:
        self.asked = False

    def __enter__(self) -> _Interrupt:
        self._main = threading.current_thread() is threading.main_thread()
        if self._main:
            self._before = signal.signal(signal.SIGINT, self._remember)
        return self

    def __exit__(self, *exc: object) -> None:
        if self._main:
            signal.signal(signal.SIGINT, self._before)

    def _remember(self, number: int, frame: FrameType | None) -> None:
        self.asked = True
        signal.signal(signal.SIGINT, self._before)


def resolve_device(name: str) -> torch.device:
    """Return the device of that name; ``"auto"`` is CUDA, else MPS, else the CPU.

    Raises :class:`UserError` for an unknown device or one that is not there.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    try:
        device = torch.device(name)
    except RuntimeError:
        raise UserError(f"unknown device {name!r}; use auto, cpu, cuda or mps") from None
    if device.type == "cuda" and (not torch.cuda.is_available() or (device.index or 0) >= torch.cuda.device_count()):
        raise UserError(f"there is no CUDA device {name!r} on this machine; use --device cpu, or auto")
    if device.type == "mps" and not torch.backends.mps.is_available():
        raise UserError("there is no MPS device on this machine; use --device cpu, or auto")
    if device.type not in ("cpu", "cuda", "mps"):
        raise UserError(f"unknown device {name!r}; use auto, cpu, cuda or mps")
    return device
