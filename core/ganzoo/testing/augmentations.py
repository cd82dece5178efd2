"""Checks of augmentations."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import cast

import torch
from torch import Tensor

from ganzoo.gan.augmentation import Augmentation, AugmentationConfig
from ganzoo.plugin.registry import Entry
from ganzoo.testing.general import build_settings
from ganzoo.testing.results import Check, Fault
from ganzoo.training.tape import Uncapturable, Watch

__all__ = ["checks"]

RANGES = ((-1.0, 1.0), (0.0, 1.0))
SHAPES = ((8, 1, 8, 8), (8, 3, 12, 16), (8, 4, 16, 16), (1, 3, 8, 8))
"""Shapes of images: gray, with colors and not square, with alpha, a single one."""

TRIES = 20
"""Random draws in which something is to be seen."""


def checks(entry: Entry, sets: Sequence[str]) -> Iterator[Check]:
    """Yield the checks of an augmentation."""

    def build(pixel_range: tuple[float, float] = RANGES[0]) -> Augmentation:
        settings = cast(AugmentationConfig, build_settings(entry, sets))
        return cast(Augmentation, settings.make(pixel_range))

    yield Check("images", lambda: images([build(each) for each in RANGES]), vital=True)
    yield Check("input", lambda: keeps_its_input(build()))
    yield Check("gradients", lambda: gradients(build()))
    yield Check("random", lambda: random(build()))
    yield Check("seed", lambda: seeded(build(), build()), vital=True)
    yield Check("each alone", lambda: alone(build()))
    yield Check("probability", lambda: chance(build()))
    yield Check("capture", lambda: captured(build()))


def _draw(shape: Sequence[int], pixel_range: tuple[float, float] = RANGES[0]) -> Tensor:
    low, high = pixel_range
    rng = torch.Generator().manual_seed(5)
    return torch.rand(*shape, generator=rng) * (high - low) + low


def images(augmentations: Sequence[Augmentation]) -> None:
    """Images of any size, channels and range give finite float32 images of the same shape."""
    for augmentation in augmentations:
        for shape in SHAPES:
            x = _draw(shape, augmentation.pixel_range)
            changed = augmentation(x)
            if not isinstance(changed, Tensor):
                raise Fault(f"it returns a {type(changed).__name__}, not a tensor")
            if changed.shape != x.shape or changed.dtype != x.dtype:
                raise Fault(f"it returns {changed.dtype} {list(changed.shape)} for {x.dtype} {list(shape)}")
            if not bool(changed.isfinite().all()):
                raise Fault(f"it returns values that are not finite, for images {list(shape)}")


def keeps_its_input(augmentation: Augmentation) -> None:
    """The images that it is given stay as they are: the loss looks at them too."""
    for shape in SHAPES:
        x = _draw(shape)
        kept = x.clone()
        augmentation(x)
        if not torch.equal(x, kept):
            raise Fault("it changes its input in place")


def gradients(augmentation: Augmentation) -> None:
    """Gradients pass through to the images, since the generator learns through it."""
    for shape in SHAPES:
        total = torch.zeros(tuple(shape))
        for _ in range(TRIES):
            x = _draw(shape).requires_grad_()
            changed = augmentation(x)
            if not changed.requires_grad:
                raise Fault("no gradient passes through it; the generator could not learn")
            weights = torch.rand(changed.shape)
            (gradient,) = torch.autograd.grad((changed * weights).sum(), x, allow_unused=True)
            if gradient is None or not bool(gradient.isfinite().all()):
                raise Fault("the gradient at its images is missing or not finite")
            total += gradient.abs()
        if not bool(total.flatten(1).any(dim=1).all()):
            raise Fault(f"the gradient at some image is always zero, for images {list(shape)}")


def random(augmentation: Augmentation) -> None:
    """Equal images of a batch are not all changed alike."""
    one = _draw((1, 3, 16, 16))
    for _ in range(TRIES):
        changed = augmentation(one.repeat(8, 1, 1, 1))
        if not torch.equal(changed, changed[:1].expand_as(changed)):
            return
    raise Fault("it changes equal images of a batch all alike; each image is changed in its own random way")


def seeded(augmentation: Augmentation, other: Augmentation) -> None:
    """The same random state of torch gives the same images, whatever it was used for before."""
    x = _draw((8, 3, 16, 16))
    torch.manual_seed(3)
    first = augmentation(x)
    augmentation(x)
    for made in (augmentation, other):
        torch.manual_seed(3)
        if not torch.equal(made(x), first):
            raise Fault(
                "the same random state gives other images; draw from torch's default generator and keep nothing "
                "between calls, or a resumed training would differ"
            )


def alone(augmentation: Augmentation) -> None:
    """What becomes of an image does not depend on the others of the batch."""
    x = _draw((8, 3, 16, 16))
    other = x.clone()
    other[1:] = other[1:].flip(0) * 0.5
    torch.manual_seed(3)
    first = augmentation(x)[0]
    torch.manual_seed(3)
    if not torch.allclose(augmentation(other)[0], first, rtol=1e-5, atol=1e-5):
        raise Fault("an image becomes another beside other images; nothing may pass between the images of a batch")


def chance(augmentation: Augmentation) -> None:
    """With probability 0 images stay as they are; a tensor says the same as a number."""
    x = _draw((8, 3, 16, 16))
    if not torch.equal(augmentation.apply(x, 0.0), x):
        raise Fault("images are changed although the probability is 0")
    found = []
    for probability in (0.5, torch.tensor(0.5)):
        torch.manual_seed(3)
        found.append(augmentation.apply(x, probability))
    if not torch.equal(*found):
        raise Fault("a probability that is a tensor gives other images than the same number")


def captured(augmentation: Augmentation) -> str | None:
    """Says whether phases with it would not be captured as CUDA graphs; they are slower, not wrong."""
    x = _draw((8, 3, 16, 16))
    try:
        with Watch(torch.device("cpu")):
            augmentation(x)
    except Uncapturable as error:
        return f"phases would run without a CUDA graph: it {error}"
    return None
