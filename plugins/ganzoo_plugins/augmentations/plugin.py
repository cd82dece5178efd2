"""Registers the bundled augmentations."""

from collections.abc import Iterable

from ganzoo import Spec, hookimpl

_ADAPTIVE = "Training Generative Adversarial Networks with Limited Data, arXiv:2006.06676"
_DIFFERENTIABLE = "Differentiable Augmentation for Data-Efficient GAN Training, arXiv:2006.10738"


@hookimpl
def ganzoo_specs() -> Iterable[Spec]:
    """Return the specs of the augmentations."""
    where = "ganzoo_plugins.augmentations.bundled"
    return [
        Spec(
            "augmentation",
            "ada",
            "Mirrors, turns, moves, scales and recolors; take model.augment.target=0.6 with it",
            "ganzoo_plugins.augmentations.adaptive:Ada",
            _ADAPTIVE,
        ),
        Spec("augmentation", "color", "Brightness, saturation and contrast", f"{where}:Color", _DIFFERENTIABLE),
        Spec("augmentation", "translation", "Moves each image, zeros come in", f"{where}:Translation", _DIFFERENTIABLE),
        Spec("augmentation", "cutout", "Hides a random rectangle", f"{where}:Cutout", _DIFFERENTIABLE),
    ]
