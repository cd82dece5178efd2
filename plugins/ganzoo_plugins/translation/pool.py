"""Images that are kept: earlier ones for the discriminators, and what one phase leaves to the next."""

import torch
from torch import Tensor

from ganzoo import own_rows, whole_batch

__all__ = ["ImagePool", "Relay"]


class ImagePool:
    """Replaces about half of the generated images that a discriminator sees by earlier ones.

    (Learning from Simulated and Unsupervised Images through Adversarial Training, arXiv:1612.07828, section 2.3.) As in
    CycleGAN's code, a kept image stays until it is shown; a new one then takes its place. Until there are ``size`` of
    them, new ones are kept and shown unchanged. All is decided in tensors, on the device of the images.
    """

    def __init__(self, size: int, shape: tuple[int, ...]) -> None:
        self.size = size
        self._kept = torch.zeros(size, *shape)
        self._count = torch.zeros((), dtype=torch.int64)

    @property
    def images(self) -> Tensor:
        """The images that are kept, [up to ``size``, *shape]."""
        return self._kept[: int(self._count)]

    def restore(self, images: Tensor) -> None:
        """Take back the images of a checkpoint; raises ValueError if there are too many."""
        if len(images) > self.size:
            raise ValueError(f"a pool of {self.size} images holds {len(images)}")
        self._kept[: len(images)] = images
        self._count.fill_(len(images))

    @torch.no_grad()
    def __call__(self, images: Tensor) -> Tensor:
        """Return as many images [N, ...]: each the new one, or an earlier one whose place the new one takes."""
        if not self.size:
            return images
        # A discriminator that sees only the newest images forgets earlier mistakes of the generator, and the two can
        # oscillate.
        self._kept, self._count = self._kept.to(images), self._count.to(images.device)
        # The pool of all processes is one, and each image has its own numbers, wherever it is computed.
        drawn = whole_batch(torch.rand(2 * len(images), device=images.device).view(2, -1).T)
        images = whole_batch(images)
        count, order = len(images), torch.arange(len(images), device=images.device)
        chance, place = drawn.T
        filling = self._count + order < self.size
        put = filling | (chance < 0.5)
        place = torch.where(filling, self._count + order, (place * self.size).long())
        # As if one image came after the other: what is shown of a place is what the last one before has put there.
        earlier = (place[:, None] == place) & put & (order[:, None] > order)
        source = torch.where(earlier, order, -1).amax(1)
        old = torch.where(_over(source >= 0, images), images[source.clamp_min(0)], self._kept[place])
        shown = images.clone().copy_(torch.where(_over(put & ~filling, images), old, images))
        last = torch.where((place == torch.arange(self.size, device=images.device)[:, None]) & put, order, -1).amax(1)
        self._kept.copy_(torch.where(_over(last >= 0, images), images[last.clamp_min(0)], self._kept))
        self._count.add_(count).clamp_max_(self.size)
        return own_rows(shown)


class Relay:
    """Hands tensors by name from one phase to another, in the same memory each time.

    What is put several times before it is taken, as for accumulated batches, is taken in the same order. That must be
    as often in each step.
    """

    def __init__(self) -> None:
        self._slots: list[dict[str, Tensor]] = []
        self._put = self._taken = 0
        self._taking = False

    def put(self, tensors: dict[str, Tensor]) -> None:
        """Copy tensors for the other phase."""
        if not self._taking:  # in the first step slots are made
            self._slots.append({name: tensor.detach().clone() for name, tensor in tensors.items()})
            return
        for name, slot in self._slots[self._put].items():
            slot.copy_(tensors[name].detach())
        self._put = (self._put + 1) % len(self._slots)

    def take(self) -> dict[str, Tensor]:
        """Return what was put first of what was not taken; until the next step it stays as it is."""
        self._taking = True
        slot = self._slots[self._taken]
        self._taken = (self._taken + 1) % len(self._slots)
        return slot


def _over(chosen: Tensor, images: Tensor) -> Tensor:
    """Return [N] as [N, 1, ...], to choose among images."""
    return chosen.view(-1, *[1] * (images.dim() - 1))
