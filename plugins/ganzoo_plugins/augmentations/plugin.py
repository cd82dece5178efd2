"""Registers the bundled augmentations."""

from collections.abc import Iterable

from ganzoo import Spec, hookimpl

_DIFFERENTIABLE = "Differentiable Augmentation for Data-Efficient GAN Training, arXiv:2006.10738"


@hookimpl
def ganzoo_specs() -> Iterable[Spec]:
    """Return the specs of the augmentations."""
    where = "ganzoo_plugins.augmentations.bundled"
    return [
        Spec("augmentation", "color", "Brightness, saturation and contrast", f"{where}:Color", _DIFFERENTIABLE),
        Spec("augmentation", "translation", "Moves each image, zeros come in", f"{where}:Translation", _DIFFERENTIABLE),
        Spec("augmentation", "cutout", "Hides a random rectangle", f"{where}:Cutout", _DIFFERENTIABLE),
    ]
