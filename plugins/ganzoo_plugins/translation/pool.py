"""A pool of earlier images for the discriminator."""

import torch
from torch import Tensor

__all__ = ["ImagePool"]


class ImagePool:
    """Replaces about half of the generated images that a discriminator sees by earlier ones.

    (Learning from Simulated and Unsupervised Images through Adversarial Training, arXiv:1612.07828, section 2.3.) As in
    CycleGAN's code, a kept image stays until it is shown; a new one then takes its place. ``images`` is [up to
    ``size``, *shape].
    """

    def __init__(self, size: int, shape: tuple[int, ...]) -> None:
        self.size = size
        self.images = torch.empty(0, *shape)

    def restore(self, images: Tensor) -> None:
        """Take back the images of a checkpoint; raises ValueError if there are too many."""
        if len(images) > self.size:
            raise ValueError(f"a pool of {self.size} images holds {len(images)}")
        self.images = images

    @torch.no_grad()
    def __call__(self, images: Tensor) -> Tensor:
        """Return as many images [N, ...]: each the new one, or an earlier one whose place the new one takes."""
        if not self.size:
            return images
        self.images = self.images.to(images.device) if len(self.images) else images[:0]
        # A discriminator that sees only the newest images forgets earlier mistakes of the generator, and the two can
        # oscillate. The random numbers are drawn at once on the CPU: no wait for a GPU, the same draws on any device.
        shown = images.clone()
        chances, places = torch.rand(2, len(images))
        for index, image in enumerate(images):
            # Until the pool is full, new images are kept and shown unchanged.
            if len(self.images) < self.size:
                self.images = torch.cat([self.images, image[None]])
            elif chances[index] < 0.5:
                place = int(places[index] * self.size)
                shown[index] = self.images[place]
                self.images[place] = image
        return shown
