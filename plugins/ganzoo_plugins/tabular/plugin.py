"""Registers the GANs of tables."""

from collections.abc import Iterable

from ganzoo import Spec, hookimpl


@hookimpl
def ganzoo_specs() -> Iterable[Spec]:
    """Return the specs of the GANs of tables."""
    return [
        Spec(
            "model",
            "ctgan",
            "Rows of a table: numbers of several modes, rare categories, missing values; drawn by category if asked",
            "ganzoo_plugins.tabular.ctgan:CTGAN",
            "Modeling Tabular Data using Conditional GAN, arXiv:1907.00503",
        ),
    ]
