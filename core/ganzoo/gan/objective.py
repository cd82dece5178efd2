"""The objective of one discriminator: its adversarial loss and its regularizers."""

from collections.abc import Callable, Mapping

from torch import Tensor, nn

from ganzoo.data.dataset import Batch
from ganzoo.errors import UserError
from ganzoo.gan.losses import Bound, GeneratorRegularizer, Loss, Regularizer, Score
from ganzoo.gan.precision import full_precision, widened
from ganzoo.gan.second_derivatives import FastSecondDerivatives
from ganzoo.gan.trainer import Phase
from ganzoo.gan.whole_batch import whole_batch

__all__ = ["DiscriminatorObjective", "lazy_phase"]

Pair = Callable[[Batch], tuple[Score, Tensor, Tensor]]
"""Turns a batch into three things: the discriminator as a function of samples alone, real samples, generated ones."""


class DiscriminatorObjective:
    """What a discriminator minimizes: a loss and the penalties of its regularizers.

    A trainer has one for each discriminator; they may share loss and regularizers. ``network`` is the discriminator's
    name among the trainer's networks, ``optimizer`` that of its optimizer. Samples are given as they are before
    ``augment`` changes them at random, which is by default not at all. Raises :class:`~ganzoo.UserError` if there
    is no loss, or if it or a regularizer makes no sense for the discriminator.
    """

    def __init__(
        self,
        discriminator: nn.Module,
        loss: Loss | None,
        regularizers: Mapping[str, Regularizer | GeneratorRegularizer],
        *,
        network: str = "discriminator",
        optimizer: str = "discriminator",
        augment: Callable[[Tensor], Tensor] = lambda samples: samples,
    ) -> None:
        if loss is None:
            raise UserError("this model is trained with an adversarial loss; name one with --loss")
        self.discriminator, self.loss, self.network, self.optimizer = discriminator, loss, network, optimizer
        self.augment = augment
        self.penalties: dict[str, Regularizer] = {}
        loss.check(discriminator)
        for key, penalty in regularizers.items():
            if isinstance(penalty, GeneratorRegularizer):
                raise UserError(
                    f"{key} is a penalty on generators that draw from latents alone; leave it out with --without {key}"
                )
            penalty.check(discriminator)
            self.penalties[key] = penalty

    def discriminator_loss(
        self, real_scores: Tensor, fake_scores: Tensor, score: Score, real: Tensor, fake: Tensor
    ) -> dict[str, Tensor]:
        """Return the discriminator's loss for these scores with the penalties that are due in every step.

        ``score`` is the discriminator as a function of samples like ``real`` and ``fake``, which have no gradient.
        """
        loss = self.loss.discriminator(real_scores, fake_scores)
        # Detached, so that what the loss keeps between steps (BEGAN's k) cannot hold the graph of this step in memory.
        real_scores, fake_scores = real_scores.detach(), fake_scores.detach()
        after = self.loss.after(whole_batch(real_scores), whole_batch(fake_scores))
        logs = {"real": real_scores.mean(), "fake": fake_scores.mean(), **after}
        # A regularizer with an interval above 1 has a phase of its own; adding it here too would count it twice.
        for key, regularizer in self.penalties.items():
            if regularizer.config.interval == 1:
                penalty = self._penalty(regularizer, score, real, fake)
                if penalty is not None:
                    loss = loss + regularizer.config.weight * penalty
                    logs[key] = penalty.detach()
        return {"loss": loss, **logs}

    def project(self) -> None:
        """Change the weights as the regularizers say; to be called after each step of the discriminator."""
        for regularizer in self.penalties.values():
            regularizer.project(self.discriminator)

    def phases(
        self, pair: Pair, *, repeat: int | None = None, loss: Callable[[Batch], Mapping[str, Tensor]] | None = None
    ) -> list[Phase]:
        """Return the discriminator's phases: its step, and the penalties that are applied every few steps.

        A step minimizes ``loss``, or, if left out, the loss on the pair with the penalties that are due in every step.
        ``repeat`` is how often it runs; left out, what the loss's paper takes.
        """

        def step(batch: Batch) -> Mapping[str, Tensor]:
            score, real, fake = pair(batch)
            scores = score(self.augment(real)), score(self.augment(fake))
            return self.discriminator_loss(*scores, score, real, fake)

        repeat = repeat or self.loss.critic_steps
        return [
            Phase(self.network, loss or step, (self.network,), self.optimizer, repeat=repeat, after=self.project),
            *self.lazy_phases(pair),
        ]

    def lazy_phases(self, pair: Pair, prefix: str = "") -> list[Phase]:
        """Return the phases of the penalties that are applied every few steps."""
        phases = []
        for key, regularizer in self.penalties.items():
            if regularizer.config.interval > 1:
                value = self._penalty_of(regularizer, pair)
                phases.append(lazy_phase(prefix + key, regularizer, self.network, self.optimizer, value, self.project))
        return phases

    def _penalty(self, regularizer: Regularizer, score: Score, real: Tensor, fake: Tensor) -> Tensor | None:
        """Return the penalty, in float32 whatever the precision of the training."""
        # Gradient penalties are derivatives of derivatives, and 8 bits of bfloat16 lose them; so the discriminator's
        # passes inside of the penalty run in float32 too.
        real, fake = widened(real), widened(fake)
        with full_precision(real.device), FastSecondDerivatives():
            if regularizer.before_augmentation:
                bound = Bound(self.discriminator, lambda samples: score(self.augment(samples)))
                return regularizer.penalty(bound, real, fake)
            return regularizer.penalty(Bound(self.discriminator, score), self.augment(real), self.augment(fake))

    def _penalty_of(self, regularizer: Regularizer, pair: Pair) -> Callable[[Batch], Tensor | None]:
        return lambda batch: self._penalty(regularizer, *pair(batch))


def lazy_phase(
    name: str,
    regularizer: Regularizer | GeneratorRegularizer,
    network: str,
    optimizer: str,
    penalty: Callable[[Batch], Tensor | None],
    after: Callable[[], None] | None = None,
) -> Phase:
    """Return the phase of a lazy regularizer, which runs only every ``interval`` steps."""
    # Lazy regularization (StyleGAN2, arXiv:1912.04958, appendix B): k times the weight at every k-th step gives the
    # same average gradient. It runs as a step of its own, so a penalty of None would leave nothing to minimize.
    scale, interval = regularizer.config.weight * regularizer.config.interval, regularizer.config.interval

    def loss(batch: Batch) -> dict[str, Tensor]:
        value = penalty(batch)
        if value is None:
            raise UserError(f"{name} has no penalty, so it takes no interval; leave it at 1")
        return {"loss": scale * value, "penalty": value.detach()}

    return Phase(name, loss, updates=(network,), optimizer=optimizer, every=interval, after=after)
