"""Training from the first step to the last, and writing the run folder during it."""

from __future__ import annotations

import logging
import math
import signal
import threading
import time
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from types import FrameType
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray

from ganzoo.config.config import Config
from ganzoo.data.dataset import Dataset
from ganzoo.errors import Interrupted, TrainingError, UserError
from ganzoo.fields import Attributes, Image, Label
from ganzoo.gan.metrics import Metric
from ganzoo.gan.networks import Network
from ganzoo.images import animation, grids, plots
from ganzoo.inference.outputs import EXAMPLES, compute_outputs, draw_outputs, takes_images, to_data
from ganzoo.inference.sampling import draw_inputs, run_batched
from ganzoo.plugin.registry import Registry
from ganzoo.runs import checkpoint
from ganzoo.runs.card import write_card
from ganzoo.runs.run import Run
from ganzoo.terminal import Progress
from ganzoo.training.devices import resolve_device
from ganzoo.training.loop import Loop

__all__ = ["fit"]

log = logging.getLogger("ganzoo")


def fit(
    config: Config,
    run: Run,
    registry: Registry,
    dataset: Dataset | None = None,
    *,
    quiet: bool = False,
    from_step: int | None = None,
) -> None:
    """Train in a run folder, from its last checkpoint if it has one, to the config's last step.

    Writes metrics.jsonl, sample grids, checkpoints, losses.png, progress.gif and README.md, and notifies plugins. If
    the run is at its last step already, only missing files are written. ``from_step`` goes back to an older checkpoint;
    later ones are deleted when the training has written its first new one. No other process can train in the folder at
    the same time.

    On SIGINT and SIGTERM it finishes the step, writes a checkpoint and raises :class:`~ganzoo.Interrupted`. A loss that
    is no longer finite raises :class:`~ganzoo.TrainingError`, a full disk :class:`~ganzoo.UserError`; both leave the
    last checkpoint as it was.
    """
    with run.locked(), _Signals() as signals:
        _fit(config, run, registry, dataset, quiet, from_step, signals)


def _fit(
    config: Config,
    run: Run,
    registry: Registry,
    dataset: Dataset | None,
    quiet: bool,
    from_step: int | None,
    signals: _Signals,
) -> None:
    settings = config.train
    if settings.threads is not None:
        torch.set_num_threads(settings.threads)
    device = resolve_device(settings.device)
    dataset = dataset if dataset is not None else config.build_dataset()
    # Seeded right before the weights are drawn, on the CPU: the same seed gives the same weights on every device, and
    # whatever built the data set cannot change them.
    checkpoint.seed_random(settings.seed)
    trainer = config.build_trainer(dataset.spec)
    trainer.to(device)
    loop = Loop(trainer, dataset, settings)
    if from_step is not None:
        loop.restore(checkpoint.find(run.checkpoints, from_step))
    elif (run.checkpoints / "last").exists():
        loop.restore(checkpoint.latest(run.checkpoints))
    run.forget_after(loop.step, later=from_step is not None)
    # Workers start only now: earlier they would read batches from position 0, which restore() has just changed.
    loop.start_workers()
    metrics = config.build_metrics(dataset)
    sample_logger = _SampleLogger(run, loop, dataset, metrics, registry)
    for metric in metrics.values():
        metric.prepare(quiet=quiet)

    registry.notify("ganzoo_fit_start", run=run.path, config=config.to_dict(), trainer=trainer, step=loop.step)
    # "failed" until the last line of the block has run, so that ganzoo_fit_end is right whatever is raised.
    outcome: Literal["done", "interrupted", "failed"] = "failed"
    try:
        with Progress(settings.steps, loop.step, quiet=quiet) as progress:
            if loop.step == 0:
                sample_logger.draw()
            # The training was killed between its last checkpoint and its last grid.
            elif loop.step == settings.steps and not sample_logger.grid.is_file() and (figures := sample_logger.draw()):
                run.log(loop.step, figures)
            _train(loop, run, registry, sample_logger, progress, signals)
        stopped = signals.number and loop.step < settings.steps
        if not stopped:
            sample_logger.finish()
        formats = [entry.spec.key for entry in registry.specs("format")]
        write_card(run, config, trainer, dataset.spec, loop.step, formats)
        outcome = "interrupted" if stopped else "done"
    except TrainingError:
        with suppress(UserError):  # the curves show what went wrong; that is what to say, even if the disk is full
            sample_logger.finish()
        raise
    finally:
        registry.notify("ganzoo_fit_end", run=run.path, step=loop.step, outcome=outcome)
    # Raised last: an interrupted run has its checkpoint and its model card, and plugins know that it ended.
    if stopped:
        sentence = f"stopped after step {loop.step}; go on with: ganzoo train --resume {run.path}"
        raise Interrupted(sentence, signals.number)


def _train(
    loop: Loop, run: Run, registry: Registry, sample_logger: _SampleLogger, progress: Progress, signals: _Signals
) -> None:
    settings = loop.settings
    started, since = time.perf_counter(), loop.step
    stale = run.later(loop.step)  # of a training that was killed after its last checkpoint, or that is given up
    # The order within a step: check that all is finite, draw samples, log, save the checkpoint. The checkpoint is last,
    # so that a run that is resumed from it has the lines and the grids of its step already, and never twice.
    while loop.step < settings.steps:
        loop.advance()
        progress.advance(loop.step)
        stop = bool(signals.number)  # read once: a signal that comes later in this step stops the next one
        last = loop.step == settings.steps or stop
        if last or not (loop.step % settings.sample_every and loop.step % settings.checkpoint_every):
            # Before anything of this step is saved: a checkpoint with NaN would replace the last usable one. Not in
            # every step, since reading the result makes the CPU wait for the GPU.
            _check(loop.nonfinite(), loop, run)
        metrics: dict[str, float] = {}
        if loop.step % settings.log_every == 0 or last:
            metrics = loop.take_logs()
            _check(next((key for key, value in metrics.items() if not math.isfinite(value)), ""), loop, run)
            now = time.perf_counter()
            images = (loop.step - since) * settings.batch_size * settings.accumulate
            metrics["images_per_second"] = images / max(now - started, 1e-9)
            progress.update(loop.step, metrics)
        if loop.step % settings.sample_every == 0 or loop.step == settings.steps:
            metrics |= sample_logger.draw()
        if metrics:
            run.log(loop.step, metrics)
            registry.notify("ganzoo_log", run=run.path, step=loop.step, metrics=metrics)
            # Restarted after the samples and the plugins, whose time is not that of training.
            started, since = time.perf_counter(), loop.step
        if loop.step % settings.checkpoint_every == 0 or last:
            path = loop.save(run.checkpoints, [each for each in stale if each not in sample_logger.drawn])
            stale = []
            # Only now, when the new checkpoint is on disk, are the old lines of metrics.jsonl given up for good.
            run.settle()
            registry.notify("ganzoo_checkpoint", run=run.path, step=loop.step, path=path)
        if stop:
            return


def _check(nonfinite: str, loop: Loop, run: Run) -> None:
    """Raise :class:`TrainingError` if something is no longer finite."""
    if nonfinite:
        kept = (run.checkpoints / "last").is_file()
        where = f"the last checkpoint in {run.checkpoints} is from before" if kept else "there is no checkpoint yet"
        raise TrainingError(
            f"{nonfinite} is no longer finite at step {loop.step}; lower the learning rate, or clip gradients "
            f"with --set clip_grad=1; {where}"
        )


class _SampleLogger:
    """Draws sample grids from fixed latents, the loss curves and the animation, and computes metrics on samples."""

    def __init__(
        self, run: Run, loop: Loop, dataset: Dataset, metrics: Mapping[str, Metric], registry: Registry
    ) -> None:
        self.run, self.loop, self.metrics, self.registry = run, loop, metrics, registry
        self.warned: set[str] = set()
        self.signature = next(iter(loop.exports().values())).signature
        for metric in metrics.values():
            metric.check(self.signature)
        self.drawable = not takes_images(next(iter(loop.exports().values())))
        self.drawn: set[Path] = set()
        self.real: NDArray[np.float32] | None = None
        if not isinstance(self.signature.output, Image) and self.drawable:
            shown = torch.arange(min(len(dataset), plots.POINTS))
            self.real = dataset.batch(shown, torch.Generator().manual_seed(0))[dataset.spec.sample.name].numpy()

    @property
    def grid(self) -> Path:
        """The file of the first network's samples after this step."""
        return self.run.samples / f"{self.loop.step:06d}.png"

    def draw(self) -> dict[str, float]:
        """Draw grids and return the metrics of as many samples as each asks for."""
        networks = self.loop.exports()
        figures = self._draw_samples(next(iter(networks.values()))) if self.drawable else {}
        for name, network in networks.items():
            if takes_images(network):
                figures |= self._draw_outputs(name, network, networks.values())
        if figures:
            for sentence in (each for metric in self.metrics.values() for each in metric.warnings()):
                if sentence not in self.warned:
                    log.warning("%s", sentence)
                    self.warned.add(sentence)
        return figures

    def _draw_samples(self, network: Network) -> dict[str, float]:
        field, seed = self.signature.output, self.loop.settings.seed
        count = grids.grid_size(self.signature) if isinstance(field, Image) else plots.POINTS
        # One draw serves the grid and all metrics: each takes its first samples. The seed is fixed, so that the grids
        # of different steps show the same latents.
        wanted = max([count, *(metric.config.samples for metric in self.metrics.values())])
        inputs = draw_inputs(self.signature, wanted, seed)
        samples = run_batched(network, inputs, 256)
        columns = grids.grid_columns(self.signature)
        grids.save_grid(self.grid, samples[:count].numpy(), field, self.real, columns)
        self._notify(self.grid)
        figures: dict[str, float] = {}
        for key, metric in self.metrics.items():
            shown = samples[: metric.config.samples]
            condition = {
                field.name: part[: len(shown)]
                for field, part in zip(self.signature.inputs, inputs, strict=True)
                if isinstance(field, Label | Attributes)
            }
            figures |= {f"{key}/{name}": value for name, value in metric(to_data(shown, field), condition).items()}
        return figures

    def _draw_outputs(self, name: str, network: Network, others: Iterable[Network]) -> dict[str, float]:
        """Draw a grid of a network's outputs for the data's images, and return the metrics of them.

        The file of the first network that a model exports has the step for a name, others also that of the network.
        """
        loop, field = self.loop, network.signature.output
        first = network.signature is self.signature
        path = self.grid if first else self.grid.with_stem(f"{self.grid.stem}-{name}")
        metrics = {} if self.drawable or not isinstance(field, Image) else self.metrics
        examples = loop.dataset.examples(max([EXAMPLES, *(metric.config.samples for metric in metrics.values())]))
        prepared = loop.trainer.prepare(examples)
        few = {key: part[:EXAMPLES] for key, part in prepared.items()}
        draw_outputs(path, network, others, loop.dataset, few, loop.settings.seed)
        self._notify(path)
        figures: dict[str, float] = {}
        if metrics:
            samples, inputs = compute_outputs(network, prepared, loop.settings.seed)
            condition = {each.name: to_data(inputs[each.name], each) for each in network.signature.inputs}
            for key, metric in metrics.items():
                count = metric.config.samples
                part = {each: values[:count] for each, values in condition.items()}
                found = metric(to_data(samples[:count], field), part)
                figures |= {f"{key}/{figure}" if first else f"{key}/{name}/{figure}": v for figure, v in found.items()}
        return figures

    def _notify(self, path: Path) -> None:
        self.drawn.add(path)
        self.registry.notify("ganzoo_samples", run=self.run.path, step=self.loop.step, path=path)

    def finish(self) -> None:
        """Draw the curves, and join the grids to an animation."""
        plots.save_curves(self.run.path / "losses.png", self.run.metrics())
        animation.save_progress(self.run.path / "progress.gif", self.run.grids())


class _Signals:
    """While entered, remembers the first SIGINT or SIGTERM as ``number``; a second one ends the process at once."""

    def __init__(self) -> None:
        self.number = 0
        self._before: dict[int, Any] = {}

    def __enter__(self) -> _Signals:
        # Python allows handlers to be set in the main thread only; in other threads a training cannot be interrupted.
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                self._before[number] = signal.signal(number, self._remember)
        return self

    def __exit__(self, *exc: object) -> None:
        for number, before in self._before.items():
            signal.signal(number, signal.SIG_DFL if before is None else before)  # None: a handler that is not Python's
        self._before.clear()

    def _remember(self, number: int, frame: FrameType | None) -> None:
        self.number = number
        # With the former handlers back, a second Ctrl-C works even if the current step hangs.
        self.__exit__()
