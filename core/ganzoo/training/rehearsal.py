"""A trial of everything that a training needs, before a run folder is made, so that a mistake leaves no folder.

``ganzoo train`` rehearses a new run, a resumed run and a dry run alike, so all three refuse the same mistakes.
"""

from __future__ import annotations

import sys

import torch

from ganzoo.config.config import Config
from ganzoo.data.dataset import Dataset, DataSpec
from ganzoo.errors import GanzooError, UserError, is_out_of_memory, place, sentence
from ganzoo.fields import Signature
from ganzoo.gan.trainer import Phase, Trainer
from ganzoo.runs import checkpoint
from ganzoo.terminal import print
from ganzoo.training.best import refuse_unknown
from ganzoo.training.determinism import determinism
from ganzoo.training.devices import resolve_device
from ganzoo.training.engine import SINGLE
from ganzoo.training.loop import Loop
from ganzoo.training.memory import smaller
from ganzoo.training.sharding import AsIfDivided
from ganzoo.training.sources import Weights

__all__ = ["rehearse"]


def rehearse(config: Config, dataset: Dataset, weights: Weights | None = None, *, quiet: bool = False) -> Config:
    """Build everything that the training needs, and compute the gradients of every phase on a few samples.

    ``weights`` are what a fine-tuning starts from; what of them fits is reported on stderr unless ``quiet``. Returns
    the config with what the model derives from the data, with the precision that ``"auto"`` stands for here, so that a
    run keeps it wherever it is resumed, and without the metrics that the user has not named and that cannot be computed
    here; they are reported on stderr unless ``quiet``. Raises :class:`UserError` for anything else that would end the
    training in its first step.
    What was built is discarded; torch's random state is seeded again, as at the start of a training.
    """
    device = resolve_device(config.train.device)
    if config.train.capture is True and device.type != "cuda":
        raise UserError(f"capture=true is for CUDA, and this training is on {device}; take capture=auto")
    if not isinstance(getattr(dataset, "spec", None), DataSpec):
        raise UserError(
            f"{type(dataset).__name__} sets no spec: a data set has one, a ganzoo.DataSpec, once it is made"
        )
    config.build_trackers()
    checkpoint.seed_random(config.train.seed)
    try:
        trainer = config.build_trainer(dataset.spec)
        size = _least(config, trainer)
        _refuse_batch(dataset, size)
        trainer.to(device)
        settings = config.train.model_copy(update={"batch_size": size, "accumulate": 1, "capture": False})
        engine = AsIfDivided(trainer) if config.train.shard else SINGLE
        loop = Loop(trainer, dataset, settings, engine=engine)
    except (MemoryError, RuntimeError) as error:
        if isinstance(error, GanzooError) or not is_out_of_memory(error):
            raise
        raise UserError(f"out of memory before the first step; take a smaller {config.model.key}") from None
    if weights is not None:
        for line in weights.load_into(loop):
            if not quiet:
                print(line, file=sys.stderr)
    elif config.train.freeze_discriminator and config.train.source is None:
        raise UserError("freeze_discriminator keeps layers as a source has them: give one with --from, or freeze none")
    for step in sorted({0, config.train.steps // 2, config.train.steps - 1}):
        loop.rate_factor(step)
    unfit = _unfit(config, dataset, next(iter(loop.exports().values())).signature)
    fault = _try(loop, config)
    if not fault and loop.grow(config.train.steps - 1):  # at its largest, where memory runs out if it does
        fault = _try(loop, config)
    if fault:
        raise UserError(f"{config.model.key} cannot be trained with these settings on {dataset.spec.name}: {fault}")
    for key, reason in unfit.items():
        if not quiet:
            print(f"{key} is left out: {reason}", file=sys.stderr)
    config = config.suited(dataset.spec).without_metrics(unfit.keys())
    refuse_unknown(config)
    return config.with_precision(loop.settings.precision)


def _refuse_batch(dataset: Dataset, size: int) -> None:
    """Raise :class:`UserError` for a data set that does not give batches as its spec says."""
    try:
        batch = dataset.batch(torch.arange(size) % len(dataset), torch.Generator().manual_seed(0))
    except GanzooError:
        raise
    except Exception as error:
        raise UserError(f"the data set {dataset.spec.name} gives no batch: {sentence(error)}{place(error)}") from error
    if fault := dataset.spec.fault(batch, size):
        raise UserError(f"a batch of the data set {dataset.spec.name} {fault}")


def _least(config: Config, trainer: Trainer) -> int:
    """Return the size of the smallest batch that fails where the config's batch would: two groups scored together."""
    size, multiple = config.train.batch_size, trainer.batch_multiple
    if size % multiple:
        raise UserError(
            f"{config.model.key} scores {multiple} samples together here, so that batch_size is a multiple of that, "
            f"not {size}; take --set batch_size={max(size // multiple, 1) * multiple}"
        )
    # Not one group, unless the config asks for it: batch norm refuses statistics of a single sample.
    return min(size, 2 * multiple)


def _unfit(config: Config, dataset: Dataset, signature: Signature) -> dict[str, str]:
    """Return why metrics that were added by default do not fit; raises UserError for one that the user named."""
    unfit: dict[str, str] = {}
    for key, choice in config.metrics.items():
        try:
            choice.build(dataset).check(signature)
        except UserError as error:
            if key not in config.brought:
                raise UserError(f"the metric {key} does not fit: {error} (--without {key} leaves it out)") from None
            unfit[key] = str(error)
    return unfit


def _try(loop: Loop, config: Config) -> str:
    """Compute every phase's gradients once; return what is wrong, or nothing."""
    try:
        with determinism(loop.settings.deterministic):
            for phase in loop.phases:
                loop.differentiate(phase)
                nonfinite = loop.nonfinite() or _nonfinite_gradient(loop, phase)
                if nonfinite:
                    return f"{nonfinite} is not finite from the start"
                loop.trainer.optimizers[phase.optimizer].zero_grad(set_to_none=True)
    except GanzooError:
        raise
    except (RuntimeError, ValueError, MemoryError) as error:  # what torch says of shapes, types, memory
        if is_out_of_memory(error):
            size = loop.settings.batch_size
            less = smaller(config.train, loop.trainer.batch_multiple) if size == config.train.batch_size else ""
            return f"out of memory with {size} samples at a time; take {less or 'a smaller model or smaller samples'}"
        return " ".join(str(error).split())[:300]
    return ""


def _nonfinite_gradient(loop: Loop, phase: Phase) -> str:
    parameters = [each for name in phase.updates for each in loop.trainer.networks[name].parameters()]
    gradients = [each.grad for each in parameters if each.grad is not None]
    return "" if all(gradient.isfinite().all() for gradient in gradients) else f"the gradient of {phase.name}"
