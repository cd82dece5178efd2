"""Warns of a training that has failed without an error: collapsed, saturated, or with exploding gradients."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from statistics import median

import torch
from torch import Tensor, nn

from ganzoo.data.dataset import Batch
from ganzoo.fields import Signature
from ganzoo.gan.adversarial import AdversarialTrainer
from ganzoo.plugin.isolation import isolated
from ganzoo.plugin.process_state import RANDOM
from ganzoo.training.loop import Loop

__all__ = ["SHOWN", "Watch"]

log = logging.getLogger("ganzoo")

SHOWN = 32
"""How many samples are looked at."""

_AFTER = 200  # steps in which nobody is warned: what has just begun draws much of a kind

_ADVICE: Mapping[str, str] = {
    "collapse": "the samples differ by {diversity:.1%} of what the data's do, whatever the latent: mode collapse; try "
    "--loss wgan_gp, --regularizer r1, or model.pack=2 (docs/why.md#mode-collapse)",
    "saturation": "the discriminator tells all generated samples from all real ones, and the generator's gradient is "
    "{gradient:.1g}, next to nothing: saturation; try --regularizer r1, a lower model.discriminator_lr, or another "
    "loss than minimax (docs/why.md#saturation-the-discriminator-wins)",
    "explosion": "the generator's gradient has grown to {gradient:.1g}, more than a thousand times what it was; try "
    "--set clip_grad=1, or a lower learning rate (docs/why.md)",
}


class Watch:
    """Looks at some of the samples that are drawn for a grid anyway, and warns of each failure once in a run.

    Three figures go to the log, of samples from the averaged weights:

    - ``watch/diversity``: the mean distance of two samples, as a share of that of two real ones;
    - ``watch/separation``: how often the discriminator scores a real sample above a generated one, from 0 to 1. Unlike
      the share of right signs, it has the same meaning for critics and all other losses;
    - ``watch/gradient``: the norm of the gradient of the generator's loss by the samples, which is all that the
      generator learns from.

    The discriminator is asked as it is in evaluation, and only the samples get a gradient: no state of the training,
    random numbers included, is changed by it.
    """

    def __init__(
        self,
        loop: Loop,
        signature: Signature,
        rows: Sequence[Mapping[str, float]],
        note: Callable[[str], None] = lambda sentence: None,
    ) -> None:
        self._loop, self._signature, self._note = loop, signature, note
        self._real: Batch | None = None
        self._blind = loop.divided  # the discriminator is no longer one process's to ask
        self._before: Mapping[str, float] = {}
        self._gradients: list[float] = []
        self._said: set[str] = set()
        for row in rows:  # of a run that is resumed: it has been warned of these
            found = {key: row[key] for key in row if key.startswith("watch/")}
            if found:
                self._said.update(self._failures(int(row["step"]), found))

    def look(self, samples: Tensor, inputs: Sequence[Tensor]) -> dict[str, float]:
        """Return the figures of samples as the network draws them, [N, ...], from these inputs; warn where due."""
        if self._blind:
            return {}
        named = {field.name: part[:SHOWN] for field, part in zip(self._signature.inputs, inputs, strict=True)}
        try:
            with isolated(RANDOM):
                found = self._measure(samples[:SHOWN], named)
        except Exception as error:  # a plugin's networks may take more than this knows of; nothing depends on it
            self._blind = True
            log.debug("the training is not watched: %s", error)
            return {}
        figures = {f"watch/{key}": value for key, value in found.items()}
        for failure in self._failures(self._loop.step, figures):
            if failure not in self._said:
                self._said.add(failure)
                sentence = _ADVICE[failure].format(**found)
                log.warning("step %s: %s", f"{self._loop.step:,}", sentence)
                self._note(sentence)
        return figures

    def _failures(self, step: int, figures: Mapping[str, float]) -> list[str]:
        """Return what is wrong by these figures and those of the look before; a single look may be chance."""
        both, failures = (self._before, figures), []
        if all(each.get("watch/diversity", 1.0) < 0.05 for each in both):
            failures.append("collapse")
        if (gradient := figures.get("watch/gradient")) is not None:
            usual = median(self._gradients) if self._gradients else gradient
            largest = max([gradient, *self._gradients])
            apart = all(each.get("watch/separation", 0.0) == 1 for each in both)
            if apart and all(each.get("watch/gradient", largest) < 1e-3 * largest for each in both):
                failures.append("saturation")
            if len(self._gradients) >= 3 and gradient > 1e3 * usual > 0:
                failures.append("explosion")
            self._gradients.append(gradient)
        self._before = figures
        return failures if step >= _AFTER else []

    def _measure(self, samples: Tensor, inputs: Mapping[str, Tensor]) -> dict[str, float]:
        trainer, dataset = self._loop.trainer, self._loop.dataset
        name = dataset.spec.sample.name
        if self._real is None:
            self._real = trainer.prepare(dataset.examples(SHOWN))
        real = self._real[name]
        if real.shape[1:] != samples.shape[1:] or not samples.is_floating_point():
            self._blind = True
            return {}
        found = {"diversity": _spread(samples) / max(_spread(real), 1e-12)}
        if isinstance(trainer, AdversarialTrainer):
            # As many of both as the discriminator scores together.
            count = min(len(real), len(samples)) // trainer.batch_multiple * trainer.batch_multiple
            fakes = {key: part[:count].to(trainer.device) for key, part in {**inputs, name: samples}.items()}
            reals = {key: part[:count] for key, part in self._real.items()}
            separation, gradient = _judged(trainer, reals, fakes, name)
            found |= {"separation": separation, "gradient": gradient}
        return found


def _spread(samples: Tensor) -> float:
    """Return the mean distance of two of the samples."""
    return torch.pdist(samples.flatten(1).float().cpu()).mean().item() if len(samples) > 1 else 0.0


def _judged(trainer: AdversarialTrainer, real: Batch, fakes: Batch, name: str) -> tuple[float, float]:
    """Return how well the discriminator tells both apart, and the norm of the generator's gradient by the samples."""
    with _evaluating(trainer.discriminator), torch.enable_grad():
        fake = fakes[name].detach().requires_grad_()
        fake_scores = trainer.score(trainer.packed(fake), trainer.condition(fakes))
        real_scores = trainer.score(trainer.packed(real[name]), trainer.condition(real)).detach()
        loss = trainer.loss.generator(fake_scores, real_scores if trainer.loss.needs_real else None)
        (gradient,) = torch.autograd.grad(loss, fake)
    ours, others = (scores.detach().reshape(len(scores), -1).mean(1) for scores in (real_scores, fake_scores))
    above = ours[:, None] - others
    return (above > 0).float().mean().item(), gradient.float().norm().item()


@contextmanager
def _evaluating(network: nn.Module) -> Iterator[None]:
    """Let the network be as in evaluation: batch norm and spectral norm keep their statistics."""
    training = {module: module.training for module in network.modules()}
    network.eval()
    try:
        yield
    finally:
        for module, was in training.items():
            module.training = was
