"""Which parameters learn, and by which optimizer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from torch import Tensor

from ganzoo.errors import UserError
from ganzoo.gan.networks import Discriminator, layers
from ganzoo.gan.trainer import Phase, Trainer
from ganzoo_runtime.text import counted

__all__ = ["check_phase", "freeze_first"]


def freeze_first(trainer: Trainer, count: int) -> None:
    """Freeze the first layers of each discriminator, which are those nearest to the image (FreezeD, arXiv:2002.10964).

    Raises :class:`~ganzoo.UserError` if there is none, if nothing would be left to learn, and for one that grows.
    """
    discriminators = {name: each for name, each in trainer.networks.items() if isinstance(each, Discriminator)}
    if not discriminators or trainer.stages:
        what = "grows at the image's end" if discriminators else "has none"
        raise UserError(f"freeze_discriminator is for a discriminator's first layers, and this model {what}")
    for name, network in discriminators.items():
        known = list(layers(network))
        if count >= len(known):
            raise UserError(
                f"freeze_discriminator={count} leaves nothing of the {name} to learn, which has "
                f"{counted(len(known), 'layer')}: {', '.join(layer for layer, _ in known)}"
            )
        for _, layer in known[:count]:
            layer.requires_grad_(False)


def check_phase(phase: Phase, trainer: Trainer, trainable: Mapping[str, Sequence[Tensor]]) -> None:
    """Refuse a phase whose optimizer does not hold the parameters that it updates: ValueError, an author's mistake.

    Gradients that no optimizer applies and resets would add up over all steps. ``trainable`` are the parameters that
    learn by the name of their network.
    """
    optimizer = trainer.optimizers.get(phase.optimizer)
    if optimizer is None:
        raise ValueError(f"phase {phase.name!r} names the optimizer {phase.optimizer!r}, which does not exist")
    held = {parameter for group in optimizer.param_groups for parameter in group["params"]}
    for name in phase.updates:
        if name not in trainable:
            raise ValueError(f"phase {phase.name!r} updates {name!r}, and the networks are {', '.join(trainable)}")
        if not held.issuperset(trainable[name]):
            raise ValueError(f"phase {phase.name!r} updates {name!r}, but its optimizer does not hold all of it")
