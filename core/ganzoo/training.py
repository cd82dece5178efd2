"""Training from the first step to the last, and the run folder that is written on the way."""

from __future__ import annotations

import math
import signal
import threading
import time
from collections.abc import Iterable, Mapping
from types import FrameType
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray

from ganzoo import checkpoint, pictures
from ganzoo.answers import EXAMPLES, answer, draw_answers, takes_images, to_data
from ganzoo.card import write_card
from ganzoo.config import Config
from ganzoo.data import Dataset
from ganzoo.devices import resolve_device
from ganzoo.errors import Interrupted, TrainingError
from ganzoo.loop import Loop
from ganzoo.metrics import Metric
from ganzoo.networks import Network
from ganzoo.progress import Progress
from ganzoo.registry import Registry
from ganzoo.runs import Run
from ganzoo.sampling import draw_inputs, run_batched
from ganzoo.signature import Attributes, Image, Label

__all__ = ["fit"]


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
    metrics = config.build_metrics(dataset)
    studio = _Studio(run, loop, dataset, metrics, registry)
    for metric in metrics.values():
        metric.prepare(quiet=quiet)

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
        for metric in metrics.values():
            metric.check(self.signature)
        self.drawable = not takes_images(next(iter(loop.exports().values())))
        self.real: NDArray[np.float32] | None = None
        if not isinstance(self.signature.output, Image) and self.drawable:
            shown = torch.arange(min(len(dataset), pictures.POINTS))
            self.real = dataset.batch(shown, torch.Generator().manual_seed(0))[dataset.spec.sample.name].numpy()

    def draw(self) -> dict[str, float]:
        """Draw sheets and return the metrics of as many samples as each asks for."""
        networks = self.loop.exports()
        figures = self._draw_samples(next(iter(networks.values()))) if self.drawable else {}
        for name, network in networks.items():
            if takes_images(network):
                figures |= self._draw_answers(name, network, networks.values())
        return figures

    def _draw_samples(self, network: Network) -> dict[str, float]:
        field, seed = self.signature.output, self.loop.settings.seed
        count = pictures.sheet_size(self.signature) if isinstance(field, Image) else pictures.POINTS
        wanted = max([count, *(metric.config.samples for metric in self.metrics.values())])
        inputs = draw_inputs(self.signature, wanted, seed)
        samples = run_batched(network, inputs, 256)
        path = self.run.samples / f"{self.loop.step:06d}.png"
        columns = pictures.sheet_columns(self.signature)
        pictures.save_sheet(path, samples[:count].numpy(), field, self.real, columns)
        self.registry.notify("ganzoo_samples", run=self.run.path, step=self.loop.step, path=path)
        figures: dict[str, float] = {}
        for key, metric in self.metrics.items():
            judged = samples[: metric.config.samples]
            told = {
                field.name: part[: len(judged)]
                for field, part in zip(self.signature.inputs, inputs, strict=True)
                if isinstance(field, Label | Attributes)
            }
            figures |= {f"{key}/{name}": value for name, value in metric(to_data(judged, field), told).items()}
        return figures

    def _draw_answers(self, name: str, network: Network, others: Iterable[Network]) -> dict[str, float]:
        """Draw a sheet of what a network makes of the data's images, and return the metrics of it.

        The sheet of the first network that a model exports has the step for a name, others also that of the network.
        """
        loop, field = self.loop, network.signature.output
        first = network.signature is self.signature
        path = self.run.samples / f"{loop.step:06d}{'' if first else f'-{name}'}.png"
        metrics = {} if self.drawable or not isinstance(field, Image) else self.metrics
        examples = loop.dataset.examples(max([EXAMPLES, *(metric.config.samples for metric in metrics.values())]))
        prepared = loop.trainer.prepare(examples)
        few = {key: part[:EXAMPLES] for key, part in prepared.items()}
        draw_answers(path, network, others, loop.dataset, few, loop.settings.seed)
        self.registry.notify("ganzoo_samples", run=self.run.path, step=loop.step, path=path)
        figures: dict[str, float] = {}
        if metrics:
            samples, inputs = answer(network, prepared, loop.settings.seed)
            told = {each.name: to_data(inputs[each.name], each) for each in network.signature.inputs}
            for key, metric in metrics.items():
                count = metric.config.samples
                part = {each: values[:count] for each, values in told.items()}
                found = metric(to_data(samples[:count], field), part)
                figures |= {f"{key}/{figure}" if first else f"{key}/{name}/{figure}": v for figure, v in found.items()}
        return figures

    def finish(self) -> None:
        """Draw the curves and put the sheets together to a film."""
        pictures.save_curves(self.run.path / "losses.png", self.run.metrics())
        sheets = [path for path in self.run.samples.glob("*.png") if path.stem.isdecimal()]
        pictures.save_film(self.run.path / "progress.gif", sorted(sheets))


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
