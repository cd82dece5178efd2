"""Registers the bundled metrics."""

from collections.abc import Iterable

from ganzoo import Spec, hookimpl


@hookimpl
def ganzoo_specs() -> Iterable[Spec]:
    """Return the specs of the metrics."""
    return [
        Spec(
            "metric",
            "modes",
            "Modes covered and the share of samples near one, for mixtures of Gaussians",
            "ganzoo_plugins.metrics.modes:Modes",
            "PacGAN: The power of two samples in generative adversarial networks, arXiv:1712.04086",
        ),
    ]
