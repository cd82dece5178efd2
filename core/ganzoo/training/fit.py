"""Training from the first step to the last, and writing the run folder during it."""

from __future__ import annotations

import math
import sys
import time
from contextlib import nullcontext, suppress
from typing import Literal

import torch

from ganzoo.config.config import Config
from ganzoo.data.dataset import Dataset
from ganzoo.errors import Interrupted, TrainingError, UserError, is_out_of_memory
from ganzoo.plugin.isolation import isolated
from ganzoo.plugin.process_state import RANDOM
from ganzoo.plugin.registry import Registry
from ganzoo.runs import checkpoint
from ganzoo.runs.card import write_card
from ganzoo.runs.run import Run
from ganzoo.terminal import Progress, print
from ganzoo.training.best import LOWER, PLATEAU, Best
from ganzoo.training.determinism import determinism
from ganzoo.training.devices import resolve_device
from ganzoo.training.engine import SINGLE, Engine
from ganzoo.training.followers import Followers
from ganzoo.training.loop import Loop
from ganzoo.training.memory import peak, smaller
from ganzoo.training.process import alone, fast_process
from ganzoo.training.profile import profile as profile_training
from ganzoo.training.recovery import Diverged, lower_rates, rewind, take_scale
from ganzoo.training.sample_logger import SampleLogger
from ganzoo.training.signals import Signals
from ganzoo.training.sources import open_source
from ganzoo.training.state import spread

__all__ = ["fit"]


def fit(
    config: Config,
    run: Run,
    registry: Registry,
    dataset: Dataset | None = None,
    *,
    quiet: bool = False,
    from_step: int | None = None,
    profile: bool = False,
    engine: Engine = SINGLE,
) -> None:
    """Train in a run folder, from its last checkpoint if it has one, to the config's last step.

    Writes metrics.jsonl, sample grids, checkpoints, losses.png, progress.gif and README.md, and notifies plugins. If
    the run is at its last step already, only missing files are written. ``from_step`` goes back to an older checkpoint;
    later ones are deleted when the training has written its first new one. No other process can train in the folder at
    the same time, and no other thread in this process. With ``profile`` a training of the same settings is profiled
    first, see :func:`ganzoo.training.profile.profile`; it does not change this one.

    Of several processes each calls it, with an ``engine`` that connects it with the others; they share each batch, and
    the first one writes, draws and tells plugins.

    On SIGINT and SIGTERM it finishes the step, writes a checkpoint and raises :class:`~ganzoo.Interrupted`. A loss that
    is no longer finite and too little memory raise :class:`~ganzoo.TrainingError`, a full disk
    :class:`~ganzoo.UserError`; all leave the last checkpoint as it was. With the setting ``rewind`` a training that
    diverged goes on from there at lower learning rates.
    """
    with (
        alone(),
        run.locked() if engine.writes else nullcontext(),
        engine.watched(),
        determinism(config.train.deterministic),
        Signals() as signals,
        fast_process(),
    ):
        while True:
            try:
                _fit(config, run, registry, dataset, quiet or not engine.writes, from_step, profile, signals, engine)
                return
            except Diverged as error:
                diverged = error
            if not rewind(diverged, config.train, run, engine):
                raise diverged
            # The older checkpoint that it came from, unless it has written one since; frames of the error hold tensors.
            if from_step is not None and diverged.kept != run.checkpoints / f"step-{from_step:06d}":
                from_step = None
            profile, diverged.__traceback__ = False, None


def _fit(
    config: Config,
    run: Run,
    registry: Registry,
    dataset: Dataset | None,
    quiet: bool,
    from_step: int | None,
    profile: bool,
    signals: Signals,
    engine: Engine,
) -> None:
    settings, writes = config.train, engine.writes
    if settings.threads is not None:
        torch.set_num_threads(settings.threads)
    device = resolve_device(settings.device, None if engine.world == 1 else engine.local_rank)
    if device.type == "cuda" and engine.world > 1:
        torch.cuda.set_device(device)
    dataset = dataset if dataset is not None else config.build_dataset()
    if profile and writes:
        print("\n".join(profile_training(config, dataset, run.path).lines()), file=sys.stderr)
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    # Seeded right before the weights are drawn, on the CPU: the same seed gives the same weights on every device, and
    # whatever built the data set cannot change them.
    checkpoint.seed_random(settings.seed)
    trainer = config.build_trainer(dataset.spec)
    trainer.to(device)
    loop = Loop(trainer, dataset, settings, engine=engine)
    if settings.precision == "auto":  # of a config that was not rehearsed
        config = config.with_precision(loop.settings.precision)
        if writes:
            run.write_config(config, dataset.spec)
    if from_step is not None:
        loop.restore(checkpoint.find(run.checkpoints, from_step))
    elif (run.checkpoints / "last").exists():
        loop.restore(checkpoint.latest(run.checkpoints))
    elif settings.source is not None:
        with loop.whole():
            open_source(settings.source, registry).load_into(loop)
    spread(engine, trainer, loop.ema)
    if writes:
        run.forget_after(loop.step, later=from_step is not None)
    take_scale(loop, run)
    # Only now: earlier, batches would be read from position 0, which restore() has just changed.
    loop.start_stream()
    # A generator that the first process alone draws from would no longer be in the state of the others.
    with nullcontext() if engine.world == 1 else isolated(RANDOM):
        metrics = config.build_metrics(dataset) if writes else {}
        followers = Followers(registry, config.build_trackers()) if writes else Followers(None, {})
        sample_logger = SampleLogger(run, loop, dataset, metrics, followers)
        for metric in metrics.values():
            metric.prepare(quiet=quiet)
    best = Best(run, settings, metrics, loop.step)

    followers.notify("ganzoo_fit_start", run=run.path, config=config.to_dict(), trainer=trainer, step=loop.step)
    # "failed" until the last line of the block has run, so that ganzoo_fit_end is right whatever is raised.
    outcome: Literal["done", "interrupted", "failed"] = "failed"
    try:
        with Progress(settings.steps, loop.step, quiet=quiet) as progress:
            if loop.step == 0:
                figures = _draw(sample_logger, engine)
                if writes:  # the others compute none
                    best.check(figures)
            # The training was killed between its last checkpoint and its last grid.
            elif (
                loop.step == settings.steps
                and engine.largest(writes and not sample_logger.grid.is_file())
                and (figures := _draw(sample_logger, engine))
            ):
                run.log(loop.step, figures)
            number = 0
            if not engine.largest(best.ended):  # it may have been before this was resumed
                number = _train(loop, run, followers, sample_logger, progress, signals, best)
        stopped = number and loop.step < settings.steps
        if writes:
            if not stopped:
                sample_logger.finish()
            formats = [entry.spec.key for entry in registry.specs("format")]
            write_card(run, config, trainer, dataset.spec, loop.step, formats, str(best))
        if not quiet and best.step is not None:
            if best.ended:
                why, more = best.waited, f" --set stop_after={2 * best.since}"
                if best.behind:
                    why, more = f"{best.name} is worse than the median of the trials before", ""
                go_on = f"go on with: ganzoo train --resume {run.path}{more}"
                print(f"ended after step {loop.step:,}: {why}; {go_on}", file=sys.stderr)
            print(f"best: {best}, which is {run.path}@best", file=sys.stderr)
        outcome = "interrupted" if stopped else "done"
    except TrainingError:
        # The curves show what went wrong; that is what to say, even if the disk or the memory is full.
        if writes:
            with suppress(UserError, RuntimeError, MemoryError):
                sample_logger.finish()
        raise
    finally:
        followers.notify("ganzoo_fit_end", run=run.path, step=loop.step, outcome=outcome)
    # Raised last: an interrupted run has its checkpoint and its model card, and plugins know that it ended.
    if stopped:
        sentence = f"stopped after step {loop.step}; go on with: ganzoo train --resume {run.path}"
        interrupted = Interrupted(sentence, number)
        interrupted.said = not writes
        raise interrupted


def _train(
    loop: Loop,
    run: Run,
    followers: Followers,
    sample_logger: SampleLogger,
    progress: Progress,
    signals: Signals,
    best: Best,
) -> int:
    """Train to the last step, or to the end of the one in which a signal comes to any process; return its number.

    With ``stop_after`` it may be over earlier, at an evaluation. Raises :class:`Diverged` if something is no longer
    finite.
    """
    settings, engine = loop.settings, loop.engine
    started, since = time.perf_counter(), loop.step
    stale = run.later(loop.step)  # of a training that was killed after its last checkpoint, or that is given up
    # The order within a step: check that all is finite, draw samples, log, save the checkpoint. The checkpoint is last,
    # so that a run that is resumed from it has the lines and the grids of its step already, and never twice.
    while loop.step < settings.steps:
        _advance(loop, run)
        stop = engine.largest(signals.number)  # read once: a signal that comes later in this step stops the next one
        last = loop.step == settings.steps or stop > 0
        if last or not (loop.step % settings.sample_every and loop.step % settings.checkpoint_every):
            # Before anything of this step is saved: a checkpoint with NaN would replace the last usable one. Not in
            # every step, since reading the result makes the CPU wait for the GPU.
            _check(loop.nonfinite(), loop, run)
        metrics: dict[str, float] = {}
        verdict = 0
        if loop.step % settings.log_every == 0 or last:
            metrics = loop.take_logs()
            _check(next((key for key, value in metrics.items() if not math.isfinite(value)), ""), loop, run)
            now = time.perf_counter()
            samples = (loop.step - since) * settings.batch_size * settings.accumulate
            metrics["samples_per_second"] = samples / max(now - started, 1e-9)
            # On the CPU it is that of the process, whatever else is in there, and once is enough.
            if last or loop.trainer.device.type == "cuda":
                metrics |= peak(loop.trainer.device)
        progress.advance(loop.step, metrics)
        if loop.step % settings.sample_every == 0 or loop.step == settings.steps:
            figures = _draw(sample_logger, engine)
            metrics |= figures
            if settings.keep_best is not None:  # the first process knows it
                verdict = engine.largest(best.judge(loop.step, figures))
                if verdict == LOWER:
                    metrics |= lower_rates(loop, run, best.waited)
        if metrics:
            if engine.writes:
                run.log(loop.step, metrics)
                followers.notify("ganzoo_log", run=run.path, step=loop.step, metrics=metrics)
            # Restarted after the samples and the plugins, whose time is not that of training.
            started, since = time.perf_counter(), loop.step
        if loop.step % settings.checkpoint_every == 0 or last or verdict:
            path = loop.save(run.checkpoints, [each for each in stale if each not in sample_logger.drawn], best.step)
            stale = []
            # Only now, when the new checkpoint is on disk, are the old lines of metrics.jsonl given up for good.
            if engine.writes:
                run.settle()
                followers.notify("ganzoo_checkpoint", run=run.path, step=loop.step, path=path)
        if stop or verdict == PLATEAU:
            return stop
    return 0


def _draw(sample_logger: SampleLogger, engine: Engine) -> dict[str, float]:
    """Draw grids and compute metrics, which only the first process knows; random generators stay the same in all."""
    with nullcontext() if engine.world == 1 else isolated(RANDOM):
        return sample_logger.draw()


def _advance(loop: Loop, run: Run) -> None:
    """Run one step; raises :class:`TrainingError` if memory runs out."""
    try:
        loop.advance()
        return
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
    # Raised out here, since the error's frames hold the tensors that filled the memory.
    less = smaller(loop.settings, loop.trainer.batch_multiple)
    kept = (run.checkpoints / "last").is_file()
    go_on = f"--resume {run.path}" if kept else f"--config {run.path / 'config.toml'}"
    advice = f"use less with: ganzoo train {go_on} {less}" if less else "take a smaller model or smaller samples"
    raise TrainingError(f"out of memory in step {loop.step + 1} with batches of {loop.settings.batch_size}; {advice}")


def _check(nonfinite: str, loop: Loop, run: Run) -> None:
    """Raise :class:`Diverged` if something is no longer finite, in any process."""
    if loop.engine.largest(bool(nonfinite)):
        nonfinite = nonfinite or "a loss of another process"
        kept = (run.checkpoints / "last").is_file()
        where = f"the last checkpoint in {run.checkpoints} is from before" if kept else "there is no checkpoint yet"
        error = Diverged(
            f"{nonfinite} is no longer finite at step {loop.step}; lower the learning rate, or clip gradients "
            f"with --set clip_grad=1; {where}",
            nonfinite,
            loop.step,
            loop.kept,
        )
        error.said = not loop.engine.writes
        raise error
